"""The documentation as a whole: every page has its place, and what is generated is up to date."""

import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"


def places(entries: list[Any]) -> list[str]:
    """The pages of a navigation, in order."""
    found: list[str] = []
    for entry in entries:
        for place in entry.values() if isinstance(entry, dict) else [entry]:
            found += places(place) if isinstance(place, list) else [place]
    return found


def test_every_page_is_in_the_navigation_once() -> None:
    listed = places(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"])
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_the_start_leads_to_every_page() -> None:
    start = (DOCS / "README.md").read_text()
    assert [page.name for page in DOCS.glob("*.md")] == ["README.md"], "pages lie in folders by kind"
    for page in DOCS.glob("*/*.md"):
        place = page.relative_to(DOCS)
        assert place.parent.name == "tutorial" or f"]({place})" in start, place


@pytest.mark.slow
def test_the_page_of_the_command_line_is_what_the_commands_print() -> None:
    script = runpy.run_path(str(REFERENCE / "command_line.py"))
    assert (REFERENCE / "command-line.md").read_text() == script["page"](), "run docs/reference/command_line.py"
