"""A miniature network, pictures for it, and jobs with both."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.batch.run import Job, Summary, run
from app.settings import Settings
from tests import artifacts

COUNT = 30

Done = Callable[..., Summary]


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy disk takes seconds for it, and only a power failure would tell."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of a service with one miniature network, in batches of four, so that a few pictures are several."""
    folder = tmp_path_factory.mktemp("batch")
    artifacts.write(folder / "mini", ("no", "perhaps", "yes"), typicality=True)
    return Settings(models=folder, max_batch=4, precision="float32")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with COUNT pictures, some in a folder of their own."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for i in range(COUNT):
        place = folder / "more" if i % 3 == 0 else folder
        (place / f"{i:02}.png").write_bytes(artifacts.png(artifacts.picture(16 + i % 2 * 9, i)))
    return folder


@pytest.fixture
def done(mini: Settings) -> Done:
    """Does a job to its end."""

    def do(inputs: Any, out: Path, settings: Settings = mini, **options: Any) -> Summary:
        given = [inputs] if isinstance(inputs, str | Path) else inputs
        return asyncio.run(run(Job([str(path) for path in given], out, **options), settings))

    return do


def lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def problems(out: Path) -> dict[str, str]:
    """What was wrong with each picture that failed, by the last part of its name."""
    found = lines(out.with_name(f"{out.name}.failures.jsonl"))
    return {Path(row["picture"]).name: row["problem"] for row in found}
