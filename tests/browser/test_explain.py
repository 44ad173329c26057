"""The heat map of what speaks for a label."""

import numpy as np
import pytest
from httpx import Client
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import FROG, PIXELS, WIDTHS, OpenPage, choose, ready


@pytest.mark.essential
@WIDTHS
def test_why_shows_a_map_for_any_label_clicked(open_page: OpenPage, url: str, client: Client, width: int) -> None:
    page = open_page(url, width)
    choose(page)
    view, heat = page.locator("#explain-view"), page.locator(".explain__heat")
    before = heat.evaluate(PIXELS)
    page.locator(".bars .choice").nth(3).click()
    label = page.locator(".bar__label").nth(3).inner_text()
    expect(page.get_by_label(f"Heat map of what speaks for {label}")).to_be_visible()
    assert heat.evaluate(PIXELS) != before
    page.get_by_role("radio", name="Occlusion").check()
    expect(view.locator(".explain__words")).to_contain_text("No single part matters much")
    query = {"method": "occlusion", "label": label}
    answer = client.post("/explain", params=query, files={"image": FROG.read_bytes()}).json()
    most = np.unravel_index(np.argmax(answer["heatmap"]), answer["shape"])
    shown = np.array(heat.evaluate(PIXELS)).reshape(*answer["shape"], 4)
    assert max(shown[most][:3]) < 0x99  # dark: hiding a patch hardly changes how probable this label is
    page.get_by_label("opacity").fill("25")
    assert heat.evaluate("canvas => canvas.style.opacity") == "0.25"


def test_a_label_is_explained_until_another_picture_is_shown(page: Page) -> None:
    ready(page)
    page.locator(".bars .choice").nth(3).click()
    label = page.locator(".bar__label").nth(3).inner_text()
    expect(page.get_by_label(f"Heat map of what speaks for {label}")).to_be_visible()
    choose(page)
    likeliest = page.locator(".bar__label").first.inner_text()
    expect(page.get_by_label(f"Heat map of what speaks for {likeliest}")).to_be_visible()
    expect(page.locator(".bars input:checked")).to_have_value(likeliest)


@pytest.mark.parametrize(
    ("drop", "said", "glows"),
    [
        (0.001, "No single part matters much: hiding the hottest, top right, still leaves 98.9 %", False),
        (0.5, "Hiding its most telling part, top right, leaves 49.0 %", True),
        (None, "Nothing in the picture speaks for it", False),
    ],
)
def test_a_map_glows_only_where_hiding_a_part_changes_the_answer(
    page: Page, drop: float | None, said: str, glows: bool
) -> None:
    def answer(route: Route) -> None:
        hottest = None if drop is None else [0.75, 0, 1, 0.25]
        one = {"heatmap": [[1.0]], "shape": [1, 1], "probability": 0.99, "drop": drop, "hottest": hottest}
        route.fulfill(json=route.fetch().json() | one)

    ready(page)
    page.route("**/explain?*method=cam*", answer)
    page.get_by_role("radio", name="Class activation").check()
    expect(page.locator(".explain__words")).to_contain_text(said)
    red, green, blue, _ = page.locator(".explain__heat").evaluate(PIXELS)
    assert (max(red, green, blue) >= 0xFD) == glows
