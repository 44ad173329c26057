"""The page as a whole: its size, its style, the keyboard, and what it says while it waits and where it fails."""

import re
import signal
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from httpx import Client
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import FROG, WIDTHS, OpenPage, choose, ready, settle
from tests.server.test_run import serving

WATCH_SHIFTS = """() => {
  window.shifts = [];
  new PerformanceObserver((list) => window.shifts.push(...list.getEntries().filter((e) => !e.hadRecentInput).map(
    (e) => [e.value, e.sources.map((s) => s.node?.outerHTML?.slice(0, 80) ?? s.node?.textContent)])))
    .observe({ type: "layout-shift", buffered: true });
}"""


def test_the_answers_before_are_marked_until_the_next_are_there(page: Page) -> None:
    ready(page)
    held: list[Route] = []
    page.route(re.compile("/predict"), lambda route: held.append(route))
    with page.expect_request(re.compile("/predict")):
        page.get_by_role("radio", name="ship", exact=True).check()
    view = page.locator("#predict-view")
    expect(view).to_have_class("stale")
    words = "e => getComputedStyle(e, '::before').content"
    assert view.evaluate(words) == '"Still the previous answer"'
    held[0].continue_()
    expect(view).not_to_have_class("stale")
    expect(page.locator("#explain-view")).not_to_have_class("stale")
    assert view.evaluate(words) == "none"


def test_a_long_name_widens_no_small_screen(open_page: OpenPage, url: str, tmp_path: Path) -> None:
    page = open_page(url, 320)
    path = tmp_path / f"{'long' * 40}.png"
    path.write_bytes(FROG.read_bytes())
    choose(page, path)
    page.locator("#convolve-view").get_by_role("radio", name="The picture").check()
    expect(page.locator("#convolve-view")).to_contain_text(path.name)
    page.locator("#predict-view").get_by_role("button", name="curl").click()
    page.evaluate("document.body.style.overflowX = 'visible'")  # and not cut off, which would hide what is too wide
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.console("net::ERR_CONNECTION")
def test_focus_is_not_lost_with_what_had_it(page: Page) -> None:
    ready(page)
    camera = page.get_by_role("button", name="Use the camera")
    camera.press("Enter")
    page.get_by_role("button", name="Cancel").press("Enter")
    expect(camera).to_be_focused()
    page.route("**/explain?*", lambda route: route.abort("connectionrefused"))
    page.get_by_role("radio", name="Occlusion").check()
    view = page.locator("#explain-view")
    again = view.get_by_role("button", name="Try again")
    with page.expect_request("**/explain?*"):
        again.press("Enter")
    expect(view).to_have_attribute("aria-busy", "false")  # or the request that waits would be let through
    expect(again).to_be_focused()
    page.unroute("**/explain?*")
    again.press("Enter")
    expect(view).to_be_focused()
    expect(page.locator(".explain__words")).to_contain_text("hiding the hottest")


# Whichever way the connection goes first.
@pytest.mark.console("net::ERR_CONNECTION", "net::ERR_EMPTY_RESPONSE", "net::ERR_SOCKET_NOT_CONNECTED")
def test_a_service_that_dies_while_asked_is_told_in_words(open_page: OpenPage) -> None:
    with serving() as (process, url):
        page = open_page(url)
        ready(page)
        process.send_signal(signal.SIGSTOP)
        with page.expect_request("**/explain*"):
            page.get_by_role("radio", name="Occlusion").check()
        process.kill()
        error = page.locator("#explain-view").get_by_role("alert")
        expect(error).to_contain_text("The service does not answer")
        expect(error.get_by_role("button", name="Try again")).to_be_visible()
        page.get_by_role("radio", name="ship", exact=True).check()
        expect(page.locator("#picture-view").get_by_role("alert")).to_contain_text("The service does not answer")
        page.get_by_label("Mask: row 1 column 1").fill("3")
        expect(page.locator("#convolve-view")).to_contain_text("The service does not answer")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_axe_finds_nothing_and_nothing_is_too_wide(open_page: OpenPage, url: str, width: int, scheme: Any) -> None:
    page = open_page(url, width)
    page.emulate_media(color_scheme=scheme)
    choose(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    violations = Axe().run(page, options={"rules": {"target-size": {"enabled": True}}}).response["violations"]
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in violations] == []


@WIDTHS
def test_nothing_shifts_while_the_page_fills(open_page: OpenPage, url: str, width: int) -> None:
    page = open_page(url, width)
    page.evaluate(WATCH_SHIFTS)
    ready(page)
    expect(page.locator(".kernel__numbers td")).not_to_have_count(0)
    expect(page.locator(".cv-sum")).to_contain_text("= 52")
    settle(page)
    shifts = page.evaluate("window.shifts")
    assert sum(value for value, _ in shifts) < 0.01, shifts


@pytest.mark.essential
def test_the_first_view_is_light_and_all_ours(page: Page, url: str) -> None:
    ready(page)
    loaded = page.evaluate("performance.getEntriesByType('resource').map((e) => [e.name, e.transferSize])")
    assert all(name.startswith((url, "blob:", "data:")) for name, _ in loaded)
    static = [(name, size) for name, size in loaded if "/static/" in name and "/pictures/" not in name]
    assert len(static) > 10
    assert (
        sum(size for _, size in static) + page.evaluate("performance.getEntriesByType('navigation')[0].transferSize")
        < 150_000
    )


def test_nothing_is_asked_for_before_the_first_answer_that_it_does_not_need(page: Page, url: str) -> None:
    ready(page)
    entries = "performance.getEntriesByType('resource').sort((a, b) => a.startTime - b.startTime).map((e) => e.name)"
    asked = [name.removeprefix(url).split("?")[0] for name in page.evaluate(entries)]
    before = asked[: asked.index("predict")]
    preloaded = page.locator("link[rel=modulepreload]").evaluate_all("links => links.map(l => l.getAttribute('href'))")
    needed = {
        *preloaded,
        "static/style.css",
        "static/js/main.js",
        "models",
        "static/pictures/cat.png",
        "static/icon.svg",
    }
    assert needed - {"static/icon.svg"} <= set(before) <= needed
    assert "explain" in asked[len(before) :]


def test_no_view_is_seen_without_its_style(page: Page) -> None:
    held: list[Route] = []
    page.route("**/convolve.css", lambda route: held.append(route))
    with page.expect_request("**/convolve.css"):
        page.reload()
    page.evaluate("import('/static/js/rest.js').then(() => {})")  # all that the views need but their style
    settle(page)
    expect(page.locator("#convolve-view")).to_be_empty()
    held[0].continue_()
    expect(page.locator(".cv")).to_have_css("display", "grid")


@pytest.mark.essential
@pytest.mark.console("Content Security Policy")
def test_the_page_allows_no_inline_script(client: Client, page: Page) -> None:
    policy = client.get("/", headers={"Accept": "text/html"}).headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    ready(page)
    append = "document.body.append(Object.assign(document.createElement('script'), "
    page.evaluate(append + "{textContent: 'window.inline = true'}))")
    assert page.evaluate("window.inline") is None
    page.evaluate(append + "{src: '/static/js/numbers.js', type: 'module', onload: () => (window.ours = true)}))")
    page.wait_for_function("window.ours")


def test_the_keyboard_alone_reaches_and_works_every_view(page: Page) -> None:
    ready(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the answer")).to_be_focused()
    reached: set[str] = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('section')?.id ?? ''"))
    assert {"picture", "predict", "explain", "layers", "convolve", "code"} <= reached
    page.locator("input[name=model]:checked").focus()
    for model in ("fast", "tutorial"):
        page.keyboard.press("ArrowRight")
        expect(page.locator("input[name=model]:checked")).to_have_value(model)
    expect(page.locator("input[name=layer][value=conv1]")).to_be_attached()
    page.locator("input[name=layer]:checked").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".layer__facts h3")).to_contain_text("dropout1")
    page.locator("input[name=order]:checked").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("input[name=order]:checked")).to_have_value("channel")
    page.locator("input[name=channel][value='0']").check()
    expect(page.locator(".detail h3")).to_have_text("Map 0 of dropout1")
    page.locator("input[name=channel]:checked").focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(page.locator(".detail h3")).to_have_text("Map 2 of dropout1")


def test_one_scale_of_type_and_room_for_text_twice_as_large(open_page: OpenPage, url: str) -> None:
    page = open_page(url, 1280)
    ready(page)
    sizes = "[...document.querySelectorAll('body *')].map((e) => getComputedStyle(e).fontSize)"
    assert set(page.evaluate(sizes)) <= {"14px", "16px", "20px", "26px", "36px"}
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    page.evaluate("document.body.style.overflowX = 'visible'")  # and not cut off, which would hide what is too wide
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_on_paper_and_without_motion(page: Page) -> None:
    ready(page)
    page.emulate_media(media="print", color_scheme="dark", reduced_motion="reduce")
    for gone in ("nav", ".copies", "#code", "#convolve", ".samples"):
        expect(page.locator(gone).first).to_be_hidden()
    for kept in (".verdict", ".explain__heat", ".bars", "#card-view", ".maps"):
        expect(page.locator(kept)).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 39)"  # dark ink, whatever the mode
    page.emulate_media(media="screen")
    assert page.locator(".cv-outline").first.evaluate("e => getComputedStyle(e).transitionDuration") == "0s"
