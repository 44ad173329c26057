"""Choosing a picture: a file, a drop, the clipboard, the camera, a sample, and what cannot be read."""

import base64
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from httpx import Client
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import FROG, WIDTHS, OpenPage, choose, copied, let_through, ready, received
from tests.conftest import PICTURES, ClientFactory

DROP = """([base64, name]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""
PASTE = DROP.replace('DragEvent("drop", { dataTransfer', 'ClipboardEvent("paste", { clipboardData')


def transfer(page: Page, script: str, content: bytes, name: str) -> None:
    page.evaluate(script, [base64.b64encode(content).decode(), name])


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
