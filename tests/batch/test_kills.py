"""The command in processes of its own, killed and starved."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.settings import Settings
from tests import artifacts
from tests.batch.test_sources import write_zip

ROOT = Path(__file__).parent.parent.parent
PICTURES = 3_000


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip with so many pictures that a job takes a while; every hundredth is none."""
    folder = tmp_path_factory.mktemp("archive")
    pictures = [artifacts.png(artifacts.picture(16, i)) for i in range(100)]
    entries = {f"{i:05}.png": pictures[i // 100 % 100] if i % 100 else b"no picture" for i in range(PICTURES)}
    return write_zip(folder / "a.zip", entries)


def command(archive: Path, out: Path, mini: Settings, *, shell: str = 'exec "$@"') -> "subprocess.Popen[str]":
    """`convoscope batch`, started by the shell command `shell`; it commits as often as it can."""
    code = "import app.batch.run as run, app.cli; run.COMMIT = 0.0; app.cli.main()"
    batch = [sys.executable, "-c", code, "batch", str(archive), "--out", str(out)]
    return subprocess.Popen(
        ["bash", "-c", shell, "bash", *batch],
        env=os.environ | {"CONVOSCOPE_MODELS": str(mini.models), "CONVOSCOPE_PRECISION": "float32"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop_at(process: "subprocess.Popen[str]", rows: Path, size: int, number: int) -> str:
    """Send a signal once `rows` has so many bytes; returns what the process has said on standard error."""
    while process.poll() is None and not (rows.exists() and rows.stat().st_size >= size):
        time.sleep(0.001)
    process.send_signal(number)
    return process.communicate()[1]


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_job_goes_on_without_a_row_lost_or_doubled(
    archive: Path, mini: Settings, tmp_path: Path, kills: int
) -> None:
    expected, out = tmp_path / "expected.csv", tmp_path / "a.csv"
    assert command(archive, expected, mini).wait() == 0
    whole, rows = expected.stat().st_size, tmp_path / "a.csv.partial"
    points = sorted(random.Random(kills).randrange(200, whole * 9 // 10) for _ in range(kills))
    for size in points:
        stop_at(command(archive, out, mini), rows, size, signal.SIGKILL)
        assert not out.exists()
    said = stop_at(command(archive, out, mini), rows, whole * 19 // 20, signal.SIGINT)
    assert said == "convoscope: interrupted; the same command goes on from here\n"
    process = command(archive, out, mini)
    said, complaint = process.communicate()
    assert (process.returncode, complaint) == (0, "")
    assert said.startswith(f"{out}: 2,970 pictures by mini@1, 30 failed ({out}.failures.jsonl), ")
    for name in ("", ".failures.jsonl"):
        assert Path(f"{out}{name}").read_bytes() == Path(f"{expected}{name}").read_bytes()


def test_a_file_that_may_not_grow_is_one_line_and_the_job_goes_on(
    archive: Path, mini: Settings, tmp_path: Path
) -> None:
    out = tmp_path / "a.csv"
    process = command(archive, out, mini, shell='ulimit -f 40; exec "$@"')
    _, complaint = process.communicate()
    assert (process.returncode, complaint) == (1, f"convoscope: {out}.partial: File too large\n")
    assert command(archive, out, mini).wait() == 0
    assert out.read_text().count("\n") == PICTURES * 99 // 100 + 1


def test_progress_is_drawn_on_a_terminal(archive: Path, mini: Settings, tmp_path: Path) -> None:
    process = command(archive, tmp_path / "a.csv", mini, shell='script -qec "$(printf "%q " "$@")" /dev/null')
    said, _ = process.communicate()
    assert process.returncode == 0
    assert "pictures, " in said
    assert "\x1b[K" in said
