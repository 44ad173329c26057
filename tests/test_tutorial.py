"""The pages of docs/tutorial, run as they stand there: what their comments say is printed is what is printed."""

import itertools
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "tutorial").glob("[1-9]*.md"))


def test_there_are_pages_and_each_leads_to_the_next() -> None:
    index = (ROOT / "docs" / "tutorial" / "README.md").read_text()
    assert re.findall(r"\((\d-\w+\.md)\)", index) == [page.name for page in PAGES]
    for page, following in itertools.pairwise(PAGES):
        assert "Next: [" in page.read_text()
        assert f"]({following.name})" in page.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_prints_what_it_says(client: httpx.Client, page: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    code = "\n".join(blocks).replace("http://127.0.0.1:8000", str(client.base_url).rstrip("/"))
    expected = re.findall(r"# prints (.*)$", code, re.MULTILINE)
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    printed = [line for line in run.stdout.splitlines() if not line.startswith("noise of ")]
    assert printed == expected
