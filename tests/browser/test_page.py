"""The page, flow by flow, in Chromium against the real service and the real networks."""

import base64
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from httpx import Client
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import FROG, OpenPage, choose, copied, let_through, ready, settle
from tests.conftest import PICTURES, ClientFactory, until
from tests.server.test_run import serving

WIDTHS = pytest.mark.parametrize("width", [360, 1440])
DROP = """([base64, name]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""
PASTE = DROP.replace('DragEvent("drop", { dataTransfer', 'ClipboardEvent("paste", { clipboardData')
PIXELS = """canvas => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  return Array.from(copy.getImageData(0, 0, canvas.width, canvas.height).data);
}"""
WATCH_SHIFTS = """() => {
  window.shifts = [];
  new PerformanceObserver((list) => window.shifts.push(...list.getEntries().filter((e) => !e.hadRecentInput).map(
    (e) => [e.value, e.sources.map((s) => s.node?.outerHTML?.slice(0, 80) ?? s.node?.textContent)])))
    .observe({ type: "layout-shift", buffered: true });
}"""


def transfer(page: Page, script: str, content: bytes, name: str) -> None:
    page.evaluate(script, [base64.b64encode(content).decode(), name])


def received(page: Page) -> NDArray[np.uint8]:
    """What the page shows as the network's own picture."""
    data = page.get_by_label("The picture as the network receives it").evaluate(PIXELS)
    return np.array(data, np.uint8).reshape(32, 32, 4)[..., :3]


@WIDTHS
def test_a_picture_is_chosen_dropped_pasted_or_one_of_ours(open_page: OpenPage, url: str, width: int) -> None:
    page = open_page(url, width)
    ready(page)
    choose(page)
    assert np.array_equal(received(page), np.asarray(Image.open(FROG).convert("RGB")))
    page.get_by_role("radio", name="ship", exact=True).check()
    ready(page, "ship.png")
    transfer(page, DROP, (PICTURES / "horse.png").read_bytes(), "dropped horse.png")
    ready(page, "dropped horse.png")
    transfer(page, PASTE, (PICTURES / "truck.png").read_bytes(), "pasted.png")
    ready(page, "pasted.png")
    assert np.array_equal(received(page), np.asarray(Image.open(PICTURES / "truck.png").convert("RGB")))


def test_a_picture_that_the_browser_cannot_show_is_shown_all_the_same(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "frog.tiff"
    Image.open(FROG).save(path)
    page.get_by_label("Choose a picture").set_input_files(path)
    ready(page, "frog.png, 32 \N{MULTIPLICATION SIGN} 32")
    assert np.array_equal(received(page), np.asarray(Image.open(FROG).convert("RGB")))


def test_a_picture_is_taken_with_the_camera(page: Page) -> None:
    ready(page)
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("video")).to_have_js_property("videoWidth", 640)
    page.get_by_role("button", name="Take the picture").click()
    ready(page, "camera.jpg, 640")
    assert page.evaluate("document.querySelector('video').srcObject") is None


@pytest.mark.console("status of 413", "net::ERR_CONNECTION")  # the rest is not waited for
def test_a_file_that_is_too_large_is_refused_in_words(open_page: OpenPage, make_client: ClientFactory) -> None:
    page = open_page(str(make_client(max_body=1_000_000).base_url))
    ready(page)
    page.get_by_label("Choose a picture").set_input_files(
        {"name": "large.bmp", "mimeType": "image/bmp", "buffer": bytes(20_000_000)}
    )
    expect(page.locator("#picture-view").get_by_role("alert")).to_contain_text("expected at most 1000000")


@pytest.mark.essential
@WIDTHS
@pytest.mark.console("status of 415", "status of 422")
def test_a_bad_file_is_refused_in_words_and_the_picture_before_stays(open_page: OpenPage, url: str, width: int) -> None:
    page = open_page(url, width)
    ready(page)
    transfer(page, DROP, b"These are words and no picture.", "letter.txt")
    error = page.locator("#picture-view").get_by_role("alert")
    expect(error).to_contain_text("JPEG")
    ready(page)
    transfer(page, DROP, FROG.read_bytes()[:200], "torn.png")
    expect(error).to_contain_text("torn.png")
    choose(page)
    expect(error).to_be_hidden()


@pytest.mark.essential
@WIDTHS
def test_what_is_it_says_what_the_service_says(open_page: OpenPage, url: str, client: Client, width: int) -> None:
    page = open_page(url, width)
    choose(page)
    view = page.locator("#predict-view")
    for model in ("tutorial", "fast", "accurate"):
        view.get_by_role("radio", name=model).check()
        files = {"image": FROG.read_bytes()}
        answer = client.post("/predict", params={"model": model, "top_k": 10}, files=files).json()
        said = answer["predictions"][0]
        expect(view.locator(".verdict")).to_have_text(f"{said['label']} {100 * said['probability']:.1f} %")
        expect(view.locator(".bar__label")).to_have_text([one["label"] for one in said["top"]])
    expect(view.locator(".times")).to_contain_text("ms in the service (decoding")
    expect(view.locator(".notice")).to_contain_text("were more typical")


def test_looking_closer_asks_for_views_and_says_how_many_there_were(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "large-frog.png"
    Image.open(FROG).resize((200, 160)).save(path)
    choose(page, path)
    view = page.locator("#predict-view")
    with page.expect_response(re.compile("/predict")) as answered:
        view.get_by_label("Look closer").check()
    assert "views=14" in answered.value.url
    expect(view.locator(".closer__words")).to_contain_text("Averaged over 14 views")
    choose(page)
    expect(view.locator(".closer__words")).to_contain_text("the picture and its mirror image. It has too few pixels")
    with page.expect_response(re.compile("/predict")) as answered:
        view.get_by_label("Look closer").uncheck()
    assert "views" not in answered.value.url
    expect(view.locator(".closer__words")).to_have_text("\u00a0")


def test_a_picture_unlike_any_is_told_in_plain_words(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    answer = httpx.post(f"{page.url.split('#')[0]}predict", files={"image": path.read_bytes()}).json()["predictions"][0]
    choose(page, path)
    expect(page.locator(".notice")).to_contain_text("Be careful" if answer["is_ood"] else "Typical of its")


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


def test_the_field_of_a_wide_picture_lies_within_what_the_network_sees(
    open_page: OpenPage, url: str, tmp_path: Path
) -> None:
    Image.open(FROG).resize((192, 96)).save(tmp_path / "wide.png")
    page = open_page(url, 1440)
    choose(page, tmp_path / "wide.png")
    view = page.locator("#layers-view")
    view.locator("input[name=layer][value=group1_conv1]").check()
    view.get_by_role("application").click(position={"x": 2, "y": 2})
    expect(view.locator(".detail__value")).to_contain_text("rows 0 to 2 and columns 0 to 2")
    field = view.locator(".outline--field")
    left, width = (float(field.evaluate(f"o => o.style.{side}").rstrip("%")) for side in ("left", "width"))
    seen = (96 / 192) ** 0.75  # of the width
    assert left == pytest.approx(100 * (1 - seen) / 2, abs=0.01)
    assert width == pytest.approx(100 * seen * 3 / 32, abs=0.01)


@pytest.mark.essential
@WIDTHS
def test_a_layer_a_map_its_statistics_its_kernel_and_its_field(
    open_page: OpenPage, url: str, client: Client, width: int
) -> None:
    page = open_page(url, width)
    choose(page)
    view = page.locator("#layers-view")
    view.locator("input[name=layer][value=group1_conv1]").check()
    expect(view.locator(".maps canvas")).to_have_count(128)
    view.get_by_role("radio", name="Map 5", exact=True).check()
    expect(view.get_by_role("heading", name="Map 5 of group1_conv1")).to_be_visible()
    query: dict[str, Any] = {"layer": "group1_conv1", "channels": 5}
    found = client.post("/feature-maps", params=query, files={"image": FROG.read_bytes()}).json()["layers"][0]["maps"][
        0
    ]
    expect(view.locator(".detail dl").first).to_contain_text(f"{found['maximum']:.4g}")
    surface = view.get_by_role("application")
    surface.click(position={"x": 2, "y": 2})
    expect(view.locator(".detail__value")).to_contain_text("Row 0, column 0")
    expect(view.locator(".detail__value")).to_contain_text("rows 0 to 2 and columns 0 to 2")
    surface.press("ArrowRight")
    expect(view.locator(".detail__value")).to_contain_text("Row 0, column 1")
    field = view.locator(".outline--field")
    assert [field.evaluate(f"o => o.style.{side}") for side in ("left", "width")] == ["0%", "12.5%"]
    view.get_by_label("Input channel").fill("7")
    view.get_by_label("Input channel").press("Enter")
    kernels = client.get("/models/accurate/layers/group1_conv1/kernels", params={"filter": 5, "channel": 7}).json()
    first = f"{kernels['kernels'][0]['values'][0][0]:.4g}".replace("-", "\N{MINUS SIGN}")
    expect(view.locator(".kernel__numbers td").first).to_have_text(first)
    view.get_by_role("button", name="Convolve with this kernel").click()
    convolve = page.locator("#convolve-view")
    expect(convolve.get_by_label("Which mask")).to_have_value("kernel")
    expect(convolve).to_contain_text("accurate · group1_conv1 · filter 5, channel 7")
    expect(convolve.get_by_role("radio", name="The picture")).to_be_checked()
    convolve.get_by_role("radio", name="Numbers").check()
    body = {
        "input": [[2, 4, 6], [8, 10, 12], [14, 16, 18]],
        "mask": {"model": "accurate", "layer": "group1_conv1", "filter": 5, "channel": 7},
        "operation": "correlation",
    }
    expected = client.post("/convolve", json=body).json()["output"][0][0]
    output = convolve.get_by_role("grid", name="Output").get_by_role("gridcell").first
    expect(output).to_have_text(f"{expected:.4g}".replace("-", "\N{MINUS SIGN}"))


@pytest.mark.parametrize("model", ["tutorial", "fast"])
def test_every_layer_can_be_looked_at(page: Page, client: Client, model: str) -> None:
    ready(page)
    page.locator("#predict-view").get_by_role("radio", name=model).check()
    layers = client.get(f"/models/{model}").json()["layers"]
    expect(page.locator(".strip .choice")).to_have_count(len(layers))
    for layer in layers:
        page.locator(f"input[name=layer][value={layer['name']}]").check()
        expect(page.locator(".layer__how")).to_have_text(layer["explanation"])
        expect(page.locator(".detail h3")).to_contain_text(f"of {layer['name']}")
        expect(page.locator(".detail__value")).to_contain_text("depends on")
    expect(page.locator("#layers-view").get_by_role("alert").first).to_be_hidden()


VIEWS = {"predict": "predictions", "explain": "heatmap", "layers": "layers", "convolve": "output"}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("own", [False, True], ids=["sample", "own"])
def test_what_is_copied_works_when_pasted(page: Page, tmp_path: Path, view: str, own: bool) -> None:
    ready(page)
    path = tmp_path / 'it\'s a "frog".png'
    if own:
        path.write_bytes(FROG.read_bytes())
        choose(page, path)
    place = page.locator(f"#{view}-view")
    curl = copied(place, "curl")
    said = subprocess.run(["sh", "-c", curl], cwd=tmp_path, capture_output=True, check=True).stdout
    answer = json.loads(said)
    assert VIEWS[view] in answer
    python = copied(place, "Python")
    done = subprocess.run([sys.executable, "-c", python], cwd=tmp_path, capture_output=True, check=True, text=True)
    assert VIEWS[view] in done.stdout
    javascript = copied(place, "JavaScript")
    # Node is not asked for: the code runs in the page, with the one thing of Node's that it needs.
    body = javascript.replace("console.log(await answer.json());", "return await answer.json();")
    body = body.replace('import { readFile } from "node:fs/promises";', "")
    node = f"const readFile = async (name) => name === {json.dumps(path.name)} && Uint8Array.from(bytes);"
    assert page.evaluate(f"async (bytes) => {{ {node} {body} }}", list(FROG.read_bytes())) == answer
    expect(page.locator("#code-view pre")).to_have_text(javascript)


@pytest.mark.essential
def test_the_link_restores_every_view(page: Page, open_page: OpenPage) -> None:
    choose(page)
    page.locator("#predict-view").get_by_role("radio", name="tutorial").check()
    page.locator(".bars .choice").nth(2).click()
    page.get_by_role("radio", name="Occlusion").check()
    page.locator("input[name=layer][value=conv2]").check()
    page.get_by_role("radio", name="Map 9", exact=True).check()
    page.get_by_role("application").press("ArrowDown")
    expect(page.locator(".explain__words")).to_contain_text("patch")
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


def test_a_file_is_what_it_was_when_it_was_chosen(page: Page, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(FROG.read_bytes())
    choose(page, path)
    path.write_bytes(b"something else, and shorter")
    page.locator("#predict-view").get_by_role("radio", name="tutorial").check()
    answer = client.post("/predict", params={"model": "tutorial"}, files={"image": FROG.read_bytes()}).json()
    expect(page.locator(".verdict")).to_contain_text(answer["predictions"][0]["label"])
    expect(page.locator(".layer__facts h3")).to_contain_text("conv1")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_what_cannot_be_read_is_told_so(page: Page) -> None:
    ready(page)
    page.evaluate("Blob.prototype.arrayBuffer = () => Promise.reject(new DOMException('a folder', 'NotFoundError')); 0")
    page.get_by_label("Choose a picture").set_input_files(FROG)
    expect(page.locator("#picture-view").get_by_role("alert")).to_contain_text("frog.png: This file cannot be read.")


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
    again = page.locator("#explain-view").get_by_role("button", name="Try again")
    with page.expect_request("**/explain?*"):
        again.press("Enter")
    expect(again).to_be_focused()
    page.unroute("**/explain?*")
    again.press("Enter")
    expect(page.locator("#explain-view")).to_be_focused()
    expect(page.locator(".explain__words")).to_contain_text("patch")


def test_a_feature_of_a_flatten_layer_depends_on_what_its_value_did(page: Page) -> None:
    ready(page)
    page.locator("#predict-view").get_by_role("radio", name="tutorial").check()
    page.locator("input[name=layer][value=flatten]").check()
    expect(page.locator(".detail h3")).to_have_text("7200 features of flatten")
    surface = page.locator("#layers-view").get_by_role("application")
    surface.click(position={"x": 1, "y": 1})
    for _ in range(2):
        surface.press("ArrowUp")
    for _ in range(32):
        surface.press("ArrowLeft")
    expect(page.locator(".detail__value")).to_contain_text("Feature 0: ")
    expect(page.locator(".detail__value")).to_contain_text("rows 0 to 4 and columns 0 to 4")
    box = surface.bounding_box()
    assert box
    assert box["height"] <= 400  # all 7,200 features at one glance
    for _ in range(32):  # the channels of one value of the pooling layer
        surface.press("ArrowRight")
    expect(page.locator(".detail__value")).to_contain_text("rows 0 to 4 and columns 1 to 6")


def test_a_sample_that_comes_late_is_not_shown_over_a_newer_picture(page: Page) -> None:
    ready(page)
    late: list[Route] = []

    def hold(route: Route) -> None:
        late.append(route) if route.request.resource_type == "fetch" else route.continue_()

    page.route("**/static/pictures/ship.png", hold)
    with page.expect_request(lambda request: request.url.endswith("ship.png")):
        page.get_by_role("radio", name="ship", exact=True).check()
    choose(page)
    assert len(late) == 1
    let_through(late[0])
    ready(page, "frog.png")


@pytest.mark.console("net::ERR_CONNECTION")
def test_a_sample_that_cannot_be_had_is_told_and_tried_again(page: Page) -> None:
    ready(page)
    page.route("**/static/pictures/ship.png", lambda route: route.abort("connectionrefused"))
    page.get_by_role("radio", name="ship", exact=True).check()
    error = page.locator("#picture-view").get_by_role("alert")
    expect(error).to_contain_text("ship.png: The service does not answer")
    page.unroute("**/static/pictures/ship.png")
    error.get_by_role("button", name="Try again").click()
    ready(page, "ship.png")
    expect(error).to_be_hidden()


def test_a_label_is_explained_until_another_picture_is_shown(page: Page) -> None:
    ready(page)
    page.locator(".bars .choice").nth(3).click()
    label = page.locator(".bar__label").nth(3).inner_text()
    expect(page.get_by_label(f"Heat map of what speaks for {label}")).to_be_visible()
    choose(page)
    likeliest = page.locator(".bar__label").first.inner_text()
    expect(page.get_by_label(f"Heat map of what speaks for {likeliest}")).to_be_visible()
    expect(page.locator(".bars input:checked")).to_have_value(likeliest)


def test_a_picture_that_is_in_no_folder_yet_can_be_saved(page: Page, tmp_path: Path) -> None:
    choose(page)
    save = page.get_by_role("link", name="Save it")
    expect(save).to_have_count(0)
    transfer(page, PASTE, (PICTURES / "truck.png").read_bytes(), "image.png")
    ready(page, "image.png")
    with page.expect_download() as saving:
        save.click()
    assert saving.value.suggested_filename == "image.png"
    saving.value.save_as(tmp_path / "image.png")
    curl = copied(page.locator("#predict-view"), "curl")
    said = subprocess.run(["sh", "-c", curl], cwd=tmp_path, capture_output=True, check=True).stdout
    assert json.loads(said)["predictions"][0]["label"] == "truck"


def test_the_code_keeps_focus_and_selection_while_the_views_change(page: Page) -> None:
    ready(page)
    requests = page.locator("input[name=code-request]")
    requests.first.focus()
    for number in (1, 2):
        page.keyboard.press("ArrowRight")
        expect(requests.nth(number)).to_be_focused()
    expect(page.locator("#code-view pre")).to_contain_text("/feature-maps")


def test_only_the_kernel_that_is_shown_can_be_picked_up(page: Page) -> None:
    ready(page)
    held: list[Route] = []
    page.route("**/kernels?*channel=2", lambda route: held.append(route))
    with page.expect_request("**/kernels?*channel=2"):
        page.get_by_label("Input channel").evaluate("i => { i.value = 2; i.dispatchEvent(new Event('change')); }")
    use = page.get_by_role("button", name="Convolve with this kernel")
    expect(use).to_be_disabled()
    held[0].continue_()
    use.click()
    expect(page.locator("#convolve-view")).to_contain_text("channel 2")


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


@pytest.mark.parametrize(
    ("drop", "said", "glows"), [(0.001, "No single part matters much", False), (0.5, "most telling patch", True)]
)
def test_a_map_glows_only_where_hiding_a_patch_changes_the_answer(
    page: Page, drop: float, said: str, glows: bool
) -> None:
    def answer(route: Route) -> None:
        found = route.fetch().json()
        for patch in found["patches"]:
            patch |= {"drop": drop, "probability": 0.99 - drop}
        route.fulfill(json=found | {"heatmap": [[1.0]], "shape": [1, 1]})

    ready(page)
    page.route("**/explain?*method=occlusion*", answer)
    page.get_by_role("radio", name="Occlusion").check()
    expect(page.locator(".explain__words")).to_contain_text(said)
    red, green, blue, _ = page.locator(".explain__heat").evaluate(PIXELS)
    assert (max(red, green, blue) >= 0xFD) == glows


def test_a_reload_restores_the_views_and_the_address_stays_short(page: Page) -> None:
    ready(page)
    page.get_by_role("radio", name="ship", exact=True).check()
    ready(page, "ship.png")
    until(lambda: page.evaluate("history.state?.views?.picture?.sample === 'ship'"))
    assert "#" not in page.url
    page.reload()
    ready(page, "ship.png")


def test_outputs_of_the_last_layers_have_their_labels(page: Page, client: Client) -> None:
    ready(page)
    labels = client.get("/models/accurate").json()["labels"]
    page.locator("input[name=layer]").last.check()
    expect(page.locator(".named dt")).to_have_text(labels)
    expect(page.locator(".detail__value")).to_contain_text("cat")


def test_only_ten_labels_are_known_is_said_of_every_picture(page: Page) -> None:
    ready(page)
    expect(page.locator("#predict-view")).to_contain_text("It knows only these 10 labels")


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


def test_a_dense_layer_shows_how_the_chosen_output_weighs_its_inputs(page: Page, client: Client) -> None:
    ready(page)
    page.locator("input[name=layer][value=head]").check()
    kernel = page.locator(".kernel")
    surface = page.locator("#layers-view").get_by_role("application")
    for output in (3, 4):  # the cat's, which is the largest, and the deer's
        expect(kernel.get_by_role("heading")).to_have_text(f"How feature {output} weighs its 512 inputs")
        answer = client.get("/models/accurate/layers/head/kernels", params={"filter": output}).json()
        most = max(abs(one["values"][0][0]) for one in answer["kernels"])
        expect(kernel.locator("[aria-live]")).to_contain_text(f"{most:.4g}; 0 is in the middle.")
        surface.press("ArrowRight")


def test_the_maps_that_come_first_are_not_mostly_black(page: Page) -> None:
    ready(page)
    page.locator("input[name=layer][value=group2_act2]").check()
    expect(page.locator(".maps canvas")).to_have_count(384)
    greens = f"all => all.slice(0, 40).map({PIXELS}).map((p) => Math.max(...p.filter((_, i) => i % 4 === 1)))"
    bright = page.locator(".maps canvas").evaluate_all(greens)
    assert sum(green > 200 for green in bright) >= 30


def test_a_layer_is_drawn_as_the_volume_that_it_gives_out(page: Page, client: Client) -> None:
    ready(page)
    layers = client.get("/models/accurate").json()["layers"]
    drawn = page.locator(".volume").evaluate_all("all => all.map((e) => [e.getAttribute('class'), e.clientHeight])")
    heights = {tuple(one["output_shape"]): height for one, (_, height) in zip(layers, drawn, strict=True)}
    assert heights[32, 32, 3] > heights[31, 31, 24] > heights[15, 15, 128] > heights[7, 7, 384] > heights[3, 3, 512]
    for layer, (name, _) in zip(layers, drawn, strict=True):
        assert ("volume--weighs" in name) == (layer["kind"] == "convolution")
    expect(page.get_by_label("Colours of the layers").get_by_role("listitem")).to_have_count(4)


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
