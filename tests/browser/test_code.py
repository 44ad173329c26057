"""The code that asks the service for what a view shows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import FROG, choose, copied, ready

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


def test_the_code_keeps_focus_and_selection_while_the_views_change(page: Page) -> None:
    ready(page)
    requests = page.locator("input[name=code-request]")
    requests.first.focus()
    for number in (1, 2):
        page.keyboard.press("ArrowRight")
        expect(requests.nth(number)).to_be_focused()
    expect(page.locator("#code-view pre")).to_contain_text("/feature-maps")
