"""The page's source text."""

from pathlib import Path

STATIC = Path(__file__).parent.parent.parent / "app" / "static"


def test_no_line_of_the_page_is_longer_than_120_characters() -> None:
    files = [path for suffix in ("html", "css", "js") for path in STATIC.rglob(f"*.{suffix}")]
    lines = [f"{path.name}: {line}" for path in files for line in path.read_text().splitlines() if len(line) > 120]
    assert len(files) > 20
    assert lines == []
