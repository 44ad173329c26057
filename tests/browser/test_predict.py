"""The answer: labels, probabilities, how typical the picture is, and a closer look."""

import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from httpx import Client
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import FROG, WIDTHS, OpenPage, choose, ready


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


def test_only_ten_labels_are_known_is_said_of_every_picture(page: Page) -> None:
    ready(page)
    expect(page.locator("#predict-view")).to_contain_text("It knows only these 10 labels")
