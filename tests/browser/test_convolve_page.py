"""The convolve view of the page, in Chromium against the real service."""

import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from httpx import Client
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import FROG, choose, copied, let_through, ready
from tests.conftest import until

WIDTHS = [360, 1440]
EXAMPLE = "5·2 + 4·4 + 2·8 + 1·10 = 52"
PIXELS = """async image => {
  await image.decode().catch(() => {});  // it was replaced
  if (!image.naturalWidth) return [0, 0, []];
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return [canvas.height, canvas.width, Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data)];
}"""

WATCH_STEPS = """() => {
  window.steps = new Map();  // the milliseconds of each interval that runs
  const [set, clear] = [setInterval, clearInterval];
  window.setInterval = (step, milliseconds) => {
    const id = set(step, milliseconds);
    window.steps.set(id, milliseconds);
    return id;
  };
  window.clearInterval = (id) => {
    window.steps.delete(id);
    clear(id);
  };
}"""


@pytest.fixture
def view(page: Page) -> Locator:
    view = page.locator("#convolve-view")
    ready(page)
    expect(page.locator(".kernel__numbers td")).not_to_have_count(0)  # nothing above moves any more
    expect(total(view)).to_have_text(EXAMPLE)
    return view


def total(view: Locator) -> Locator:
    return view.locator(".cv-sum")


def output(view: Locator) -> Locator:
    return view.get_by_role("grid", name="Output")


def numbers(table: Locator) -> list[list[str]]:
    rows: list[list[str]] = table.evaluate("t => [...t.rows].map(r => [...r.cells].map(c => c.innerText.trim()))")
    return rows


def use_picture(page: Page, view: Locator) -> None:
    choose(page)
    view.get_by_role("radio", name="The picture").check()


def same_pixels(image: Locator, png: bytes) -> bool:
    height, width, data = image.evaluate(PIXELS)
    shown = np.array(data, np.uint8).reshape(height, width, 4)
    expected: NDArray[np.uint8] = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
    return np.array_equal(shown, expected)


@pytest.mark.essential
def test_one_click_gives_the_tutorials_example(view: Locator) -> None:
    view.get_by_label("Input: row 2 column 2").fill("99")
    view.get_by_label("Stride").first.fill("2")
    expect(total(view)).not_to_contain_text("= 52")
    view.get_by_role("button", name="Worked example: 52").click()
    expect(total(view)).to_have_text(EXAMPLE)
    assert numbers(output(view)) == [["52", "112", "108"], ["168", "330", "288"], ["268", "472", "372"]]
    assert numbers(view.get_by_role("table", name="Mask, as it slides"))[0] == ["9", "8", "7"]


def test_the_flip_is_two_steps(view: Locator) -> None:
    flip = view.get_by_role("region", name="The flip")
    expected = [["3", "2", "1"], ["9", "8", "7"]]
    for top in expected:
        flip.get_by_role("button", name="Step").click()
        assert numbers(flip.get_by_role("table"))[0] == top
    view.get_by_role("radio", name="Correlation").check()
    expect(flip).to_contain_text("Correlation does not flip")


def test_stepping_moves_the_window_and_the_sum(view: Locator) -> None:
    outline = view.locator(".cv-outline").first
    before = outline.evaluate("o => o.style.left")
    view.get_by_role("button", name="Next").click()
    expect(total(view)).to_contain_text("= 112")
    assert outline.evaluate("o => o.style.left") != before
    view.get_by_role("button", name="Previous").click()
    expect(total(view)).to_contain_text("= 52")
    view.get_by_role("button", name="Play", exact=True).click()
    expect(total(view)).to_contain_text("= 372")
    expect(view.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_pointing_and_dragging_select(view: Locator, page: Page) -> None:
    output(view).get_by_text("330").hover()
    expect(total(view)).to_contain_text("= 330")
    box = view.locator(".cv-surface--drag").first.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + box["height"] - 4, steps=4)
    page.mouse.up()
    expect(total(view)).to_contain_text("= 372")


def test_the_keyboard_alone_is_enough(view: Locator, page: Page) -> None:
    view.get_by_label("Mask: row 1 column 1").focus()
    page.keyboard.press("ArrowRight")
    expect(view.get_by_label("Mask: row 1 column 2")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.type("0")
    expect(total(view)).to_have_text("4·4 + 2·8 + 1·10 = 42")
    view.get_by_role("gridcell", name="42").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(output(view).locator("[aria-selected=true]")).to_be_focused()
    expect(total(view)).to_contain_text("= 280")


@pytest.mark.essential
def test_a_named_mask_on_the_picture(view: Locator, page: Page, client: Client) -> None:
    use_picture(page, view)
    view.get_by_label("Which mask").select_option("sobel_x")
    expect(view).to_contain_text("Convolution will flip it first")
    view.get_by_role("button", name="Use correlation").click()
    view.get_by_label("Numbers become pixels by").select_option("absolute")
    expect(view).to_contain_text(re.compile(r"did not fit"))
    options = {"mask": "sobel_x", "operation": "correlation", "display": "absolute"}
    files, data = {"image": FROG.read_bytes()}, {"options": json.dumps(options)}
    png = client.post("/convolve", files=files, data=data, headers={"Accept": "image/png"}).content
    image = view.get_by_alt_text("The output as a picture")
    until(lambda: same_pixels(image, png))


def test_the_sum_of_each_channel_of_the_picture(view: Locator, page: Page) -> None:
    use_picture(page, view)
    expect(view.locator(".cv-position")).to_have_text("row 1 of 32, column 1 of 32")
    expect(total(view)).not_to_have_text(EXAMPLE)
    before = total(view).inner_text()
    view.get_by_role("radio", name="Blue").check()
    expect(total(view)).not_to_have_text(before)
    expect(view.locator(".cv-position")).to_have_text("row 1 of 32, column 1 of 32")


def test_an_even_mask_and_a_stride(view: Locator) -> None:
    view.get_by_role("button", name="Remove a row: mask").click()
    view.get_by_role("button", name="Remove a column: mask").click()
    slid = view.get_by_role("table", name="Mask, as it slides")
    expect(slid.get_by_role("cell")).to_have_text(["5", "4", "2", "1"])
    expect(view).to_contain_text("Padding: 0 above, 1 below, 0 left, 1 right.")
    view.get_by_label("Stride").first.fill("2")
    expect(view).to_contain_text("Output: 2 rows, 2 columns.")


def test_pooling(view: Locator) -> None:
    view.get_by_role("radio", name="Pool").check()
    expect(total(view)).to_have_text("largest of 2, 4, 8, 10 = 10")
    view.get_by_label("Take").select_option("average")
    view.locator("#cv-pool-padding").select_option("same")
    expect(total(view)).to_have_text("mean of 2, 4, 8, 10 = 6")
    expect(view).to_contain_text("Output: 2 rows, 2 columns.")


def test_a_transparent_picture_lies_on_white_as_for_the_service(view: Locator, page: Page, tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (200, 0, 0, 0)).save(tmp_path / "clear.png")
    choose(page, tmp_path / "clear.png")
    view.get_by_role("radio", name="The picture").check()
    view.get_by_role("radio", name="Pool").check()
    expect(total(view)).to_have_text("largest of 255, 255, 255, 255 = 255")


def test_a_picture_that_is_too_large_leaves_nothing_of_what_was_shown_before(
    view: Locator, page: Page, tmp_path: Path
) -> None:
    Image.new("RGB", (300, 200)).save(tmp_path / "large.png")
    page.get_by_label("Choose a picture").set_input_files(tmp_path / "large.png")
    view.get_by_role("radio", name="The picture").check()
    expect(view).to_contain_text("The picture is too large to write its sums out.")
    expect(view).to_contain_text("Of a picture of 300 \N{MULTIPLICATION SIGN} 200 pixels.")
    expect(output(view)).to_be_hidden()
    view.get_by_role("button", name="Make it smaller: 64 pixels").click()
    expect(view.locator(".cv-position")).to_have_text("row 1 of 43, column 1 of 64")


@pytest.mark.console("status of 422")
def test_after_a_refusal_what_is_shown_goes_on_being_explained(view: Locator) -> None:
    view.get_by_label("Stride").first.fill("0")
    expect(view).to_contain_text("the last result that could be computed")
    output(view).get_by_text("330").hover()
    expect(total(view)).to_contain_text("= 330")


def test_a_tap_chooses_an_output(view: Locator, page: Page) -> None:
    box = view.locator(".cv-surface--drag").first
    box.dispatch_event("click", {"clientX": 0, "clientY": 0})
    expect(view.locator(".cv-position")).to_have_text("row 1 of 3, column 1 of 3")
    place = box.bounding_box()
    assert place
    box.dispatch_event("click", {"clientX": place["x"] + place["width"], "clientY": place["y"] + place["height"]})
    expect(view.locator(".cv-position")).to_have_text("row 3 of 3, column 3 of 3")


@pytest.mark.console("net::ERR_CONNECTION")
def test_a_service_that_is_back_is_asked_again(view: Locator, page: Page) -> None:
    page.route("**/convolve", lambda route: route.abort("connectionrefused"))
    view.get_by_label("Input: row 1 column 1").fill("3")
    alert = view.get_by_role("alert").filter(has_text="The service does not answer")
    expect(alert).to_be_visible()
    page.unroute("**/convolve")
    alert.get_by_role("button", name="Try again").click()
    expect(total(view)).to_contain_text("5·3")
    expect(alert).to_be_hidden()
    assert view.evaluate("view => view.contains(document.activeElement)")


def test_missing_values_that_leave_no_weight_are_said_to(view: Locator) -> None:
    for _ in range(2):
        view.get_by_role("button", name="Remove a row: mask").click()
        view.get_by_role("button", name="Remove a column: mask").click()
    view.get_by_label("Missing values").select_option("ignore")
    view.get_by_label("Input: row 1 column 1").fill("")
    expect(total(view)).to_have_text("1·missing = missing")
    expect(view).to_contain_text("The weights of what is present add up to 0")


def test_a_missing_cell(view: Locator) -> None:
    view.get_by_label("Input: row 1 column 1").fill("")
    expect(total(view)).to_have_text("5·missing + 4·4 + 2·8 + 1·10 = missing")
    assert numbers(output(view))[2][2] == "372"
    view.get_by_label("Missing values").select_option("zero")
    expect(total(view)).to_contain_text("= 42")


@pytest.mark.console("status of 422")
@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        ("Stride", "0", "stride is 0; expected 1 or more"),
        ("Padding on each side", "-1", "padding is -1; expected 0 or more"),
        ("Mask: row 1 column 2", "x", "/mask/0/1 is 'x'; expected a number or null"),
    ],
)
def test_a_refusal_is_said_beside_its_field(view: Locator, label: str, value: str, words: str) -> None:
    view.locator("#cv-convolve-padding").select_option("number")
    field = view.get_by_label(label).first
    field.fill(value)
    alert = view.get_by_role("alert").filter(has_text=words)
    expect(alert).to_be_visible()
    assert alert.count() == 1
    field.fill("1")
    expect(alert).to_be_hidden()


@pytest.mark.console("status of 422")
def test_a_refusal_about_a_picture_is_said_beside_its_field(view: Locator, page: Page) -> None:
    use_picture(page, view)
    view.get_by_label("Stride").first.fill("0")
    expect(view.locator("#cv-convolve-stride ~ .error")).to_have_text("stride is 0; expected 1 or more")
    expect(view).to_contain_text("the last result that could be computed")


def test_the_code_keeps_to_an_output_that_is_there(view: Locator, page: Page, tmp_path: Path) -> None:
    output(view).get_by_text("372").hover()
    expect(total(view)).to_contain_text("= 372")
    view.get_by_role("button", name="Remove a row: input").click()
    expect(view.locator(".cv-position")).to_have_text("row 2 of 2, column 3 of 3")
    done = subprocess.run(["sh", "-c", copied(view, "curl")], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(done.stdout)["trace"]["at"] == [1, 2]


def test_a_trace_that_comes_late_is_not_shown_over_a_newer_result(view: Locator, page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route) if "trace" in (route.request.post_data or "") else route.continue_()

    page.route("**/convolve", hold)
    with page.expect_request(lambda request: "trace" in (request.post_data or "")):
        view.get_by_role("button", name="Next").click()
    view.get_by_role("radio", name="Pool").check()
    expect(total(view)).to_contain_text("largest of")
    let_through(held[0])
    expect(total(view)).to_contain_text("largest of")


def test_a_result_is_announced_and_what_has_not_changed_is_not(view: Locator, page: Page) -> None:
    caption = view.get_by_role("region", name="The flip").locator("[aria-live]")
    caption.evaluate("e => new MutationObserver(() => (window.said = true)).observe(e, { childList: true })")
    view.get_by_label("Input: row 1 column 1").fill("\N{MINUS SIGN}3")
    expect(total(view)).to_have_text("5·(\N{MINUS SIGN}3) + 4·4 + 2·8 + 1·10 = 27")
    expect(page.locator("#announcer")).to_contain_text("Output row 1, column 1: 5·(\N{MINUS SIGN}3)")
    assert page.evaluate("window.said") is None


def test_making_a_picture_smaller_passes_the_focus_on(view: Locator, page: Page, tmp_path: Path) -> None:
    Image.new("RGB", (300, 200)).save(tmp_path / "large.png")
    page.get_by_label("Choose a picture").set_input_files(tmp_path / "large.png")
    view.get_by_role("radio", name="The picture").check()
    view.get_by_role("button", name="Make it smaller: 64 pixels").press("Enter")
    expect(view.get_by_role("link", name="Save the smaller picture")).to_be_focused()


@pytest.mark.essential
def test_the_copied_curl_gives_the_same(view: Locator, page: Page, tmp_path: Path) -> None:
    done = subprocess.run(["sh", "-c", copied(view, "curl")], cwd=tmp_path, capture_output=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["output"] == [[52, 112, 108], [168, 330, 288], [268, 472, 372]]
    assert answer["trace"]["sum"] == 52


def test_the_link_restores_the_view(view: Locator, page: Page) -> None:
    view.get_by_label("Mask: row 2 column 2").fill("0")
    view.get_by_label("Dilation").fill("2")
    view.get_by_role("button", name="Next").click()
    expect(view.locator(".cv-position")).to_contain_text("column 2")
    expect(total(view)).to_have_text("2·16 = 32")
    address = copied(view, "link")
    page.goto("about:blank")
    page.goto(address)
    expect(total(view)).to_have_text("2·16 = 32")
    expect(view.get_by_label("Dilation")).to_have_value("2")
    expect(view.locator(".cv-position")).to_have_text("row 1 of 3, column 2 of 3")


def test_the_link_restores_a_picture_as_the_input(view: Locator, page: Page) -> None:
    view.get_by_role("radio", name="The picture").check()
    expect(view.locator(".cv-position")).to_have_text("row 1 of 32, column 1 of 32")
    address = copied(view, "link")
    page.goto("about:blank")
    page.goto(address)
    expect(view.get_by_role("radio", name="The picture")).to_be_checked()
    expect(view.locator(".cv-position")).to_have_text("row 1 of 32, column 1 of 32")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_axe_finds_nothing(page: Page, view: Locator, width: int, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    for _ in range(4):
        view.get_by_role("button", name="Add a column: mask").click()
    for _ in range(9):
        view.get_by_role("button", name="Add a column: input").click()
    expect(view).to_contain_text("Output: 3 rows, 12 columns.")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    violations = Axe().run(page, context="#convolve").response["violations"]
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in violations] == []
    small = view.locator("button:visible, select:visible, input:not([type=radio]):visible").evaluate_all(
        "all => all.filter(e => e.type !== 'checkbox' && e.getBoundingClientRect().height < 24).map(e => e.outerHTML)"
    )
    assert small == []


def test_the_first_tries_show_something(view: Locator, page: Page) -> None:
    image = view.get_by_alt_text("The output as a picture")

    def shades() -> int:
        height, width, data = image.evaluate(PIXELS)
        return len(np.unique(np.array(data, np.uint8).reshape(height * width, 4)[:, 0]))

    until(lambda: shades() >= 8)  # of nine numbers
    use_picture(page, view)
    until(lambda: shades() > 50)
    before = image.get_attribute("src") or ""
    view.get_by_label("Which mask").select_option("sobel_x")
    expect(image).not_to_have_attribute("src", before)
    until(lambda: shades() > 50)


def test_a_slow_play_can_be_hurried(view: Locator, page: Page) -> None:
    page.evaluate(WATCH_STEPS)
    view.get_by_label("Speed").select_option("slow")
    view.get_by_role("button", name="Play", exact=True).click()
    assert page.evaluate("[...window.steps.values()]") == [1000]
    view.get_by_label("Speed").select_option("fast")
    assert page.evaluate("[...window.steps.values()]") == [60]
    expect(total(view)).to_contain_text("= 372")
    expect(view.get_by_role("button", name="Play", exact=True)).to_be_visible()
    assert page.evaluate("[...window.steps.values()]") == []


def test_the_page_offers_the_choices_of_the_service(view: Locator, client: Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    values = "select => [...select.options].map(option => option.value)"
    for tool, schema, fields in (
        ("convolve", "ConvolveBody", {"padding": {"number"}, "boundary": set(), "missing": set(), "activation": set()}),
        ("pool", "PoolBody", {"kind": set(), "padding": set()}),
    ):
        for field, own in fields.items():
            offered = set(view.locator(f"#cv-{tool}-{field}").evaluate(values))
            found = schemas[schema]["properties"][field]
            known = next(part["enum"] for part in [found, *found.get("anyOf", [])] if "enum" in part)
            assert offered - own == set(known)
