"""Another network's answer to the same picture."""

from httpx import Client
from playwright.sync_api import Page, expect

from tests.browser.conftest import ready
from tests.conftest import PICTURES


def test_another_network_is_asked_beside_when_the_visitor_comes_to_it(page: Page, client: Client) -> None:
    ready(page)
    view = page.locator("#compare-view")
    expect(view.get_by_role("radio")).to_have_count(2)
    assert view.locator("tbody tr").count() == 0  # nothing is asked for what is not looked at
    view.scroll_into_view_if_needed()
    expect(view.locator("tbody tr")).to_have_count(10)
    view.get_by_role("radio", name="fast").check()
    expect(view.locator("thead th")).to_have_text(["accurate", "label", "fast"])
    picture = (PICTURES.parents[1] / "app/static/pictures/cat.png").read_bytes()
    for place, model in ((0, "accurate"), (1, "fast")):
        said = client.post("/predict", params={"model": model}, files={"image": picture}).json()["predictions"][0]
        title = f"{model}: {said['label']} {100 * said['probability']:.1f} %"
        expect(view.get_by_role("heading", level=3).nth(place)).to_have_text(title)
        expect(view.get_by_label(f"Heat map of what speaks for {said['label']} in {model}")).to_be_visible()
        expect(view.locator("tbody tr").first.locator(f".duel__side--{place} .mono")).to_have_text(
            title.split("cat ")[1]
        )
    page.locator("#predict-view").get_by_role("radio", name="fast").check()
    expect(view.locator("thead th").first).to_have_text("fast")
    expect(view.get_by_role("radio", name="fast")).to_have_count(0)


def test_the_keyboard_chooses_the_other_network(page: Page) -> None:
    ready(page)
    view = page.locator("#compare-view")
    view.scroll_into_view_if_needed()
    expect(view.locator("tbody tr")).to_have_count(10)
    expect(view.get_by_role("radio", name="tutorial")).to_be_checked()
    view.get_by_role("radio", name="tutorial").focus()
    page.keyboard.press("ArrowLeft")
    expect(view.get_by_role("radio", name="fast")).to_be_checked()
    expect(view.get_by_role("radio", name="fast")).to_be_focused()
    expect(view.locator("thead th")).to_have_text(["accurate", "label", "fast"])
    expect(view.locator("p[aria-live]")).to_contain_text("Both say cat")
    page.keyboard.press("Shift+Tab")
    expect(view.get_by_role("radio", name="fast")).not_to_be_focused()
