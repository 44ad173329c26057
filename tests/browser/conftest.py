"""Debian's Chromium on the page of the real service."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from httpx import Client
from playwright.sync_api import Browser, Page, expect, sync_playwright

OpenPage = Callable[..., Page]
HERE = Path(__file__).parent

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
    context.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)  # on a busy machine an answer may take seconds
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
