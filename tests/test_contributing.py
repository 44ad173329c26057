"""CONTRIBUTING.md against the repository that it describes."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_path_that_contributing_names_exists() -> None:
    named = re.findall(r"`([\w.\-]+/[\w./\-]*|[\w.\-]+\.(?:md|yaml|toml))`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 30
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_command_that_contributing_names_exists() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"`make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text())
    assert set(named) <= set(targets)
    assert len(named) > 4


def test_every_name_that_contributing_quotes_is_defined_where_it_says() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`(\w+)`\s+(?:in|of|from)\s+`([\w./]+)`", text)
    assert len(named) >= 4
    assert [name for name, path in named if not re.search(rf"\b{name}\b", (ROOT / path).read_text())] == []
