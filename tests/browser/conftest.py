"""Debian's Chromium on the page of the real service, and what several files of tests do there."""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from httpx import Client
from numpy.typing import NDArray
from playwright.sync_api import Browser, Error, Locator, Page, Route, expect, sync_playwright

from tests.conftest import PICTURES

OpenPage = Callable[..., Page]
HERE = Path(__file__).parent
FROG = PICTURES / "frog.png"
WIDTHS = pytest.mark.parametrize("width", [360, 1440])
PIXELS = """canvas => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  return Array.from(copy.getImageData(0, 0, canvas.width, canvas.height).data);
}"""
"""JavaScript that gives a canvas's RGBA values, row by row."""


MOST = 60_000
"""Milliseconds that anything may take: on a busy machine the page may need many seconds to load."""

ARGUMENTS = ["--no-sandbox", "--use-fake-device-for-media-stream"]
"""The camera is a moving test picture."""


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in Chromium are slow: loading the page once takes two seconds of processor time."""
    for item in items:
        opens_page = HERE in item.path.parents and "open_page" in getattr(item, "fixturenames", ())
        if opens_page and not item.get_closest_marker("essential"):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")  # while it is open, an event loop runs that other tests could not have theirs beside
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None and not os.environ.get("CONVOSCOPE_REQUIRE_ALL"):
        pytest.skip("needs Debian's chromium, which is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """Opens an address; by the end the console must have said nothing but what the test's `console` mark names."""
    context = chromium.new_context(
        permissions=["clipboard-read", "clipboard-write", "camera"], viewport={"width": 1440, "height": 900}
    )
    context.set_default_timeout(MOST)
    expect.set_options(timeout=MOST)
    said: list[str] = []

    def open_(url: str, width: int = 1440) -> Page:
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(url)
        return page

    yield open_
    context.close()
    mark = request.node.get_closest_marker("console")
    assert [text for text in said if not any(part in text for part in (mark.args if mark else ()))] == []


@pytest.fixture
def url(client: Client) -> str:
    return str(client.base_url).rstrip("/") + "/"


@pytest.fixture
def page(open_page: OpenPage, url: str) -> Page:
    """The page as a visitor with a wide window sees it."""
    return open_page(url)


@pytest.fixture
def course(open_page: OpenPage, url: str) -> Page:
    """The course as a visitor with a wide window sees it."""
    return open_page(url + "learn")


def figure(page: Page, name: str) -> Locator:
    """A figure of the course, scrolled to, so that it is loaded."""
    found = page.locator(f"[data-figure={name}]")
    found.scroll_into_view_if_needed()
    return found


def ready(page: Page, name: str = "cat.png") -> None:
    """Wait until every view has answered for this picture."""
    expect(page.locator("#picture-view figcaption").first).to_contain_text(name)
    expect(page.locator("main [aria-busy=true]")).to_have_count(0)
    expect(page.locator(".bars meter")).to_have_count(10)
    expect(page.locator(".explain__how")).to_contain_text(re.compile(r"\w"))
    expect(page.locator(".detail__value")).to_contain_text("depends on")


def choose(page: Page, path: Path = FROG) -> None:
    """Choose a picture, and wait until every view has answered for it."""
    page.get_by_label("Choose a picture").set_input_files(path)
    ready(page, path.name)


def received(page: Page) -> NDArray[np.uint8]:
    """What the page shows as the network's own picture: (32, 32, 3)."""
    data = page.get_by_label("The picture as the network receives it").evaluate(PIXELS)
    return np.array(data, np.uint8).reshape(32, 32, 4)[..., :3]


def copied(view: Locator, button: str) -> str:
    """What the clipboard has after a click on a view's button."""
    view.get_by_role("button", name=button).click()  # which empties the status
    expect(view.get_by_role("status").last).to_contain_text("Copied.")
    return str(view.page.evaluate("navigator.clipboard.readText()"))


def settle(page: Page) -> None:
    """Wait until the page has drawn what it knows: two frames."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def let_through(route: Route) -> None:
    """Let a held request through, and wait until the page has its answer or has given it up."""
    with contextlib.suppress(Error):  # given up already
        route.continue_()
    if answer := route.request.response():
        answer.finished()
    settle(route.request.frame.page)
