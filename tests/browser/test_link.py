"""A link, a reload and the address restore the views."""

import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, choose, copied, ready, received
from tests.conftest import until


@pytest.mark.essential
def test_the_link_restores_every_view(page: Page, open_page: OpenPage) -> None:
    choose(page)
    page.locator("#predict-view").get_by_role("radio", name="tutorial").check()
    page.locator(".bars .choice").nth(2).click()
    page.get_by_role("radio", name="Occlusion").check()
    page.locator("input[name=layer][value=conv2]").check()
    page.get_by_role("radio", name="Map 9", exact=True).check()
    page.get_by_role("application").press("ArrowDown")
    expect(page.locator(".explain__words")).to_contain_text("hiding the hottest")
    expect(page.locator(".detail h3")).to_have_text("Map 9 of conv2")
    ready(page, "frog.png")
    link = copied(page.locator("#predict-view"), "link")
    seen = [".verdict", ".explain__words", ".layer__how", ".detail h3", ".detail__value"]
    before = [page.locator(place).inner_text() for place in seen]
    other = open_page(link)
    ready(other, "frog-32.png")
    for place, text in zip(seen, before, strict=True):
        expect(other.locator(place)).to_have_text(text)
    assert np.array_equal(received(other), received(page))


def test_a_link_that_was_cut_or_made_up_still_opens_the_page(open_page: OpenPage, url: str) -> None:
    numbers = '{"input":[[1]],"mask":{"values":[[1]]},"at":[0,0],"source":"sound","options":{"stride":1},"pool":7}'
    wrong = '&picture={"sample":"unicorn"}&layers={"layer":"nope","at":7}&explain={"label":1,"opacity":"x"}&predict={"m'
    page = open_page(f"{url}#convolve={numbers}{wrong}")
    ready(page)
    expect(page.locator(".cv-sum")).to_have_text("1·1 = 1")


@pytest.mark.parametrize("grid", ["[[true]]", "[[1],[2,3]]", "[[{}]]", f"[{[0] * 1000}]"])
def test_a_link_with_what_is_no_grid_opens_the_tutorials_example(open_page: OpenPage, url: str, grid: str) -> None:
    for numbers in (f'"input":{grid},"mask":{{"values":[[1]]}}', f'"input":[[1]],"mask":{{"values":{grid}}}'):
        page = open_page(f'{url}#convolve={{{numbers},"at":[0,0]}}')
        ready(page)
        expect(page.locator(".cv-sum")).to_contain_text("= 52")


def test_a_link_pasted_into_the_open_page_restores_its_view_and_a_place_on_the_page_is_none(page: Page) -> None:
    choose(page)
    steps = page.evaluate("history.length")
    page.get_by_role("link", name="Layers").click()
    expect(page.locator("#layers")).to_be_focused()
    assert page.evaluate("history.length") == steps  # so that Back leaves the page, and nothing loads it again
    expect(page).to_have_url(re.compile("/$"))
    ready(page, "frog.png")
    page.evaluate("location.hash = 'layers'")
    expect(page).to_have_url(re.compile("/$"))
    page.evaluate("""location.hash = 'picture={"sample":"ship"}'""")
    ready(page, "ship.png")


def test_a_reload_restores_the_views_and_the_address_stays_short(page: Page) -> None:
    ready(page)
    page.get_by_role("radio", name="ship", exact=True).check()
    ready(page, "ship.png")
    until(lambda: page.evaluate("history.state?.views?.picture?.sample === 'ship'"))
    assert "#" not in page.url
    page.reload()
    ready(page, "ship.png")
