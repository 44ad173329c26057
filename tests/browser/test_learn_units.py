"""The course's chapter on what a unit looks for."""

import json
import re
from typing import Any

import pytest
from httpx import Client
from playwright.sync_api import Page, Route, expect

from app.routes.page import STATIC
from tests.browser.conftest import PIXELS, OpenPage, figure
from tests.conftest import MODELS

INDEX: dict[str, Any] = json.loads((MODELS / "tutorial" / "units" / "units.json").read_text())
LAYERS = {layer["layer"]: layer["units"] for layer in INDEX["layers"]}


def test_each_unit_has_its_pictures_and_the_sample_is_measured(course: Page, client: Client) -> None:
    units = figure(course, "units")
    rows = units.locator("tbody tr")
    expect(rows).to_have_count(len(LAYERS["conv1"]))
    first = LAYERS["conv1"][0]
    expect(rows.first.get_by_role("img")).to_have_count(7)
    made = rows.first.get_by_role("img").first
    expect(made).to_have_attribute("aria-label", re.compile("^made, "))
    best = first["examples"][0]
    expect(rows.first.get_by_role("img").nth(1)).to_have_attribute("aria-label", re.compile(f"^{best['label']}, "))
    units.get_by_role("radio", name="ship", exact=True).check()
    picture = (STATIC / "pictures" / "ship.png").read_bytes()
    query = {"model": "tutorial", "layer": "conv1", "channels": first["unit"]}
    answer = client.post("/feature-maps", params=query, files={"image": picture}).json()
    most = answer["layers"][0]["maps"][0]["maximum"]
    expect(rows.first.locator("td").last).to_have_text(f"{float(f'{most:.3g}'):g}")
    expect(units.locator(".figure__sum").last).to_contain_text("the ship excites unit")


def test_only_what_a_unit_saw_is_shown_on_request(course: Page) -> None:
    units = figure(course, "units")
    picture = units.locator("tbody tr").first.get_by_role("img").nth(1)
    expect(picture).to_be_visible()
    whole = len({tuple(pixel) for pixel in chunks(picture.evaluate(PIXELS))})
    units.get_by_role("radio", name="only what the unit saw").check()
    crop = {tuple(pixel) for pixel in chunks(picture.evaluate(PIXELS))}
    assert len(crop) <= 9 < whole  # conv1 sees 3 x 3 pixels


def chunks(values: list[int]) -> list[list[int]]:
    return [values[i : i + 4] for i in range(0, len(values), 4)]


def test_the_last_layers_units_go_by_their_labels(course: Page) -> None:
    units = figure(course, "units")
    units.get_by_role("radio", name="logits").check()
    rows = units.locator("tbody tr")
    expect(rows.first.locator("th")).to_have_text("airplane")
    expect(rows).to_have_count(10)
    expect(units.get_by_role("radio", name="only what the unit saw")).to_be_hidden()
    expect(units.locator(".figure__sum").last).to_contain_text(re.compile(r"the cat excites \w+ most"))


def test_another_network_has_other_layers_and_a_link_keeps_them(course: Page, open_page: OpenPage) -> None:
    units = figure(course, "units")
    units.get_by_role("radio", name="fast").check()
    units.get_by_role("radio", name="group3_conv1").check()
    expect(units.locator("tbody tr")).to_have_count(12)
    course.get_by_role("button", name="Copy a link").click()
    expect(course.get_by_text("Copied.")).to_be_visible()
    again = figure(open_page(str(course.evaluate("navigator.clipboard.readText()"))), "units")
    expect(again.get_by_role("radio", name="group3_conv1")).to_be_checked()


def test_a_network_without_units_says_so_and_a_wrong_link_is_ignored(open_page: OpenPage, url: str) -> None:
    def without(route: Route) -> None:
        route.fulfill(json=route.fetch().json() | {"units": None})

    page = open_page("about:blank")
    page.route("**/models/fast", without)
    page.goto(url + 'learn#units={"model":"fast","layer":"conv99","crop":"?"}')
    units = figure(page, "units")
    expect(units.get_by_text("The command “convoscope units fast” does it.")).to_be_visible()
    units.get_by_role("radio", name="tutorial").check()
    expect(units.locator("tbody tr")).to_have_count(len(LAYERS["conv1"]))
    expect(units.get_by_role("radio", name="conv1")).to_be_checked()


@pytest.mark.console("Failed to load resource", "net::ERR_FAILED")
def test_a_service_that_dies_in_the_middle_is_said_and_asked_again(course: Page) -> None:
    units = figure(course, "units")
    expect(units.locator("tbody tr")).to_have_count(len(LAYERS["conv1"]))
    course.route("**/files/units/**", lambda route: route.abort())
    units.get_by_role("radio", name="conv2").check()
    expect(units.get_by_role("alert")).to_contain_text("does not answer")
    course.unroute("**/files/units/**")
    units.get_by_role("button", name="Try again").click()
    expect(units.locator("tbody tr")).to_have_count(len(LAYERS["conv2"]))
    expect(units.get_by_role("alert")).to_be_hidden()
