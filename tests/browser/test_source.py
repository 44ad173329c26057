"""The page's source text."""

import re
from pathlib import Path

STATIC = Path(__file__).parent.parent.parent / "app" / "static"


def test_no_line_of_the_page_is_longer_than_120_characters() -> None:
    files = [path for suffix in ("html", "css", "js") for path in STATIC.rglob(f"*.{suffix}")]
    lines = [f"{path.name}: {line}" for path in files for line in path.read_text().splitlines() if len(line) > 120]
    assert len(files) > 20
    assert lines == []


def imported(module: str) -> set[str]:
    """The modules of js/ that a module needs before it runs, and itself."""
    text = (STATIC / "js" / module).read_text()
    return {module}.union(*map(imported, re.findall(r'^import .* from "\./(.+)";$', text, re.MULTILINE)))


def test_what_the_first_answer_needs_is_loaded_at_once() -> None:
    named = re.findall(r'rel="modulepreload" href="static/js/(.+)"', (STATIC / "index.html").read_text())
    assert named == sorted(imported("main.js") - {"main.js"})
