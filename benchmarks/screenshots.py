"""The pictures of the page in the README: `python -m benchmarks.screenshots` draws them into docs/screenshots."""

import shutil
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.service import serving

FOLDER = Path(__file__).parent.parent / "docs" / "screenshots"
SAMPLE = "bird"
"""Hiding its head costs `accurate` half of the probability, so its heat map glows; most samples have no such part."""


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with serving() as (_, _, client), sync_playwright() as playwright:
        url = str(client.base_url)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        opened(browser, url, 1440, 820, "light").close()  # the service still prepares itself during the first calls
        page = opened(browser, url, 1440, 820, "light")
        page.screenshot(path=FOLDER / "page.png")
        page.locator("#layers").screenshot(path=FOLDER / "layers.png")
        page.locator("#convolve").screenshot(path=FOLDER / "convolve.png")
        opened(browser, url, 360, 1500, "dark").screenshot(path=FOLDER / "narrow.png")
        browser.close()


def opened(browser: Browser, url: str, width: int, height: int, scheme: Literal["light", "dark"]) -> Page:
    """The page with a picture, a layer and a map chosen, once everything is there."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(url)
    page.locator(".detail__value", has_text="depends on").wait_for()
    page.get_by_role("radio", name=SAMPLE, exact=True).check(force=True)
    page.locator("input[name=layer][value=group1_conv1]").check(force=True)
    page.locator("input[name=channel][value='1']").check(force=True)
    page.locator("#picture-view figcaption", has_text=f"{SAMPLE}.png").wait_for()
    page.wait_for_function("() => !document.querySelector('main [aria-busy=true]')")
    page.get_by_role("application").click(position={"x": 90, "y": 60})
    page.mouse.move(0, 0)
    page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
    page.wait_for_timeout(500)  # for what fades
    return page


if __name__ == "__main__":
    main()
