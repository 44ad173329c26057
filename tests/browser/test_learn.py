"""The course, chapter by chapter, in a real browser on the real service."""

import json
import re
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import OpenPage, figure

MINUS = "\N{MINUS SIGN}"

FIGURES = [
    *("signal", "slide", "stack", "strides", "pooling", "draw", "descent", "neuron", "field", "softmax", "film"),
    *("units", "breaks", "own"),
]


def test_the_signal_rises_where_the_difference_is_positive(course: Page) -> None:
    signal = figure(course, "signal")
    total = signal.locator(".figure__sum")
    expect(total).to_have_text(f"0·({MINUS}1) + 1·0 + 1·1 = 1")
    for _ in range(3):
        signal.get_by_role("button", name="Next output").click()
    expect(total).to_have_text(f"2·({MINUS}1) + 4·0 + 7·1 = 5")
    signal.get_by_text("No: correlation").click()
    expect(total).to_have_text(f"2·1 + 4·0 + 7·({MINUS}1) = {MINUS}5")


def test_the_slide_shows_how_52_comes_about_and_follows_what_is_typed(course: Page) -> None:
    slide = figure(course, "slide")
    total = slide.locator(".figure__sum")
    expect(total).to_have_text("5·2 + 4·4 + 2·8 + 1·10 = 52")
    expect(slide.get_by_label("The output so far").locator(".learn-now")).to_have_text("52")
    slide.get_by_role("button", name="Next output").click()
    expect(slide.get_by_label("The output so far").locator(".learn-now")).to_have_text("112")
    slide.get_by_label("Input of the slide: row 1 column 1").fill("3")
    expect(total).to_contain_text("5·3")


def test_three_slices_make_one_sum(course: Page) -> None:
    stack = figure(course, "stack")
    expect(stack.locator(".figure__sum")).to_have_text(f"2 + 2 + ({MINUS}2) = 2")
    stack.get_by_role("button", name="Back one output").click()
    expect(stack.get_by_label("The output so far").locator(".learn-now")).to_have_count(1)
    expect(stack.locator(".row .small")).to_have_text("output 9 of 9")


@pytest.mark.parametrize(("padding", "sizes"), [("same", [5, 3, 2]), ("valid", [3, 2, 1]), ("full", [7, 4, 3])])
def test_sizes_at_three_strides_are_those_of_the_formula(course: Page, padding: str, sizes: list[int]) -> None:
    strides = figure(course, "strides")
    strides.get_by_text(padding, exact=True).click()
    for stride, size in enumerate(sizes, start=1):
        expect(strides.get_by_role("table", name=f"Output at stride {stride}").locator("tr")).to_have_count(size)
    assert re.findall(r"\+ 1 = (\d+)", " ".join(strides.locator("p.mono").all_inner_texts())) == [str(s) for s in sizes]


def test_pooling_says_what_a_shift_changes(course: Page) -> None:
    pooling = figure(course, "pooling")
    expect(pooling.get_by_role("table", name="The maxima").locator("tr")).to_have_count(3)
    pooling.get_by_role("button", name="Move the map").click()
    maxima = pooling.get_by_role("table", name="The maxima").locator(".learn-now")
    averages = pooling.get_by_role("table", name="The averages").locator(".learn-now")
    said = pooling.locator(".figure__sum")
    expect(said).to_contain_text("After the move, 0 of 9 maxima and 8 of 9 averages")
    expect(averages).to_have_count(8)
    expect(maxima).to_have_count(0)
    pooling.get_by_role("button", name="Move the map").click()
    expect(said).to_contain_text("After the move, 9 of 9 maxima")
    expect(maxima).to_have_count(9)


def test_a_mask_drawn_by_hand_changes_the_picture(course: Page) -> None:
    draw = figure(course, "draw")
    after = draw.get_by_alt_text("The cat under the mask")
    expect(after).to_be_visible()
    before = after.get_attribute("src")
    draw.get_by_role("button", name="identity").click()
    expect(after).not_to_have_attribute("src", before or "")
    draw.get_by_label("Mask drawn by hand: row 1 column 1").fill("1")
    expect(draw.get_by_label("Mask drawn by hand: row 1 column 1")).to_have_value("1")


def test_gradient_descent_finds_the_unknown_mask(course: Page) -> None:
    descent = figure(course, "descent")
    expect(descent.locator(".figure__sum")).to_contain_text("After 0 steps")
    descent.get_by_role("button", name="Run").click()
    expect(descent.get_by_role("button", name="Run")).to_be_visible(timeout=60_000)
    found = [
        float(text.replace(MINUS, "-")) for text in descent.get_by_label("Our mask").locator("td").all_inner_texts()
    ]
    descent.get_by_role("button", name="Show it").click()
    secret = descent.get_by_label("The unknown mask").locator("td").all_inner_texts()
    assert found == pytest.approx([float(text.replace(MINUS, "-")) for text in secret], abs=0.05)


def test_steps_that_are_too_large_are_said_to_be(course: Page) -> None:
    descent = figure(course, "descent")
    expect(descent.locator(".figure__sum")).to_contain_text("After 0 steps")
    descent.get_by_label("Size of a step").fill("0.5")
    descent.get_by_role("button", name="Run").click()
    expect(descent.locator(".figure__sum")).to_contain_text("the steps are too large")


def test_a_neurons_sum_is_what_the_networks_own_map_says(course: Page) -> None:
    neuron = figure(course, "neuron")
    total = neuron.locator(".figure__sum")
    expect(total).to_contain_text("through ReLU")
    said = [total.inner_text()]
    neuron.get_by_label("Filter", exact=True).fill("18")
    neuron.get_by_label("Filter", exact=True).press("Enter")
    expect(total).not_to_have_text(said[0])
    said.append(total.inner_text())
    for words in said:
        found = re.search(r"through ReLU (\S+)\. The network.s own map says (\S+)\.", words)
        assert found is not None
        assert float(found[1]) == pytest.approx(float(found[2]), abs=2e-3)


def test_the_receptive_field_grows_from_layer_to_layer(course: Page) -> None:
    field = figure(course, "field")
    about = field.locator(".figure__sum")
    seen = []
    expect(about).to_contain_text("Each value sees")
    for _ in range(4):
        seen.append(int(re.search(r"sees (\d+)", about.inner_text())[1]))  # type: ignore[index]
        words = about.inner_text()
        field.get_by_label("Layer", exact=True).press("ArrowRight")
        if len(seen) < 4:
            expect(about).not_to_have_text(words)
    assert seen == [1, 3, 5, 6]


def test_a_temperature_changes_the_shares_and_not_their_order(course: Page) -> None:
    softmax = figure(course, "softmax")
    rows = softmax.locator("tbody tr")
    expect(rows).to_have_count(10)
    before = softmax.locator("tbody th").all_inner_texts()
    first = softmax.locator("tbody tr").first.locator("td").nth(3)
    share = float(first.inner_text().strip("<> %"))
    softmax.get_by_label("Temperature T").fill("20")
    expect(softmax.locator("output")).to_have_text("4")
    assert softmax.locator("tbody th").all_inner_texts() == before
    assert float(first.inner_text().strip("<> %")) < share


def test_every_network_is_asked_about_the_disturbed_picture(course: Page) -> None:
    breaks = figure(course, "breaks")
    expect(breaks.locator("tbody tr")).to_have_count(3)
    expect(breaks.locator(".chart path")).to_have_count(6)
    breaks.get_by_text("contrast", exact=True).click()
    breaks.get_by_label("Strength").fill("100")
    expect(breaks.get_by_text("contrast of 10 %")).to_be_visible()
    expect(breaks.get_by_role("img", name="The cat, contrast of 10 %")).to_be_visible()


def test_a_link_restores_what_was_set(course: Page, open_page: OpenPage) -> None:
    figure(course, "strides").get_by_text("full", exact=True).click()
    figure(course, "draw").get_by_role("radio", name="ship").check()
    course.get_by_role("button", name="Copy a link").click()
    expect(course.get_by_text("Copied.")).to_be_visible()
    again = open_page(str(course.evaluate("navigator.clipboard.readText()")))
    expect(figure(again, "strides").get_by_role("radio", name="full")).to_be_checked()
    expect(figure(again, "draw").get_by_role("radio", name="ship")).to_be_checked()


@pytest.mark.console("Failed to load resource", "net::ERR_FAILED")
def test_a_dead_service_is_said_in_its_place_and_tried_again(course: Page) -> None:
    slide = figure(course, "slide")
    expect(slide.locator(".figure__sum")).to_contain_text("52")
    course.route("**/convolve", lambda route: route.abort())
    slide.get_by_label("Input of the slide: row 1 column 1").fill("3")
    expect(slide.get_by_role("alert")).to_contain_text("does not answer")
    course.unroute("**/convolve")
    slide.get_by_role("button", name="Try again").click()
    expect(slide.locator(".figure__sum")).to_contain_text("5·3")


def test_a_link_of_another_version_restores_nothing_and_breaks_nothing(open_page: OpenPage, url: str) -> None:
    page = open_page(url + 'learn#slide={"input":"x"}&strides={"n":99}&breaks={"way":"toString"}&sample="whale"')
    expect(figure(page, "slide").locator(".figure__sum")).to_contain_text("52")
    expect(figure(page, "strides").get_by_role("table", name="Output at stride 1").locator("tr")).to_have_count(5)
    expect(figure(page, "breaks").locator("tbody tr")).to_have_count(3)


def test_without_scripts_the_text_remains(course: Page, url: str) -> None:
    browser = course.context.browser
    assert browser is not None
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url + "learn")
    expect(page.get_by_role("heading", level=2)).to_have_count(10)
    expect(page.get_by_text("Take a row of numbers")).to_be_visible()
    assert "The figures need JavaScript" in page.content()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_the_course_has_no_accessibility_problem(
    open_page: OpenPage, url: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    page = open_page(url + "learn", width)
    page.emulate_media(color_scheme=scheme)
    for name in FIGURES:
        expect(figure(page, name).locator(":scope > *").first).to_be_attached()
    expect(page.locator("main [aria-busy=true]")).to_have_count(0)
    expect(figure(page, "units").locator("canvas").first).to_be_visible()
    expect(figure(page, "film").locator(".chart").first).to_be_visible()
    expect(figure(page, "breaks").locator(".chart").first).to_be_visible()
    problems = Axe().run(page).response["violations"]
    assert problems == [], json.dumps(problems, indent=1)


def test_nothing_is_wider_than_a_phone_and_every_figure_has_a_name(open_page: OpenPage, url: str) -> None:
    page = open_page(url + "learn", width=360)
    for name in FIGURES:
        expect(figure(page, name)).to_have_attribute("aria-label", re.compile(".+"))
        expect(figure(page, name).locator(":scope > *").first).to_be_attached()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_what_is_loaded_for_the_first_view_is_small(open_page: OpenPage, url: str) -> None:
    page = open_page("about:blank")
    sizes: list[int] = []

    def count(route: Route) -> None:
        answer = route.fetch()
        sizes.append(int(answer.headers.get("content-length", 0)) or len(answer.body()))
        route.fulfill(response=answer)

    page.route("**/*", count)
    page.goto(url + "learn")
    expect(figure(page, "signal").locator(".figure__sum")).to_contain_text("=")
    assert sum(sizes) < 150_000
