"""The command in processes of its own: killed, interrupted and starved."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import Settings
from tests import artifacts
from tests.batch.test_sources import write_zip

ROOT = Path(__file__).parent.parent.parent
PICTURES = 1_000
BATCHES = PICTURES // 8

PROGRAM = """
import os, random, signal, sys, threading
from app.batch import rows
from app.cli import main

at, delay, number = int(sys.argv.pop(1)), float(sys.argv.pop(1)), int(sys.argv.pop(1))
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with SIGINT ignored
rows.COMMIT = 0.0
write, left = rows.Rows.write, at

def counted(*arguments):
    global left
    write(*arguments)
    left -= 1
    if left == 0:
        kill = lambda: os.kill(os.getpid(), number)
        threading.Timer(delay, kill).start() if delay else kill()

rows.Rows.write = counted
main()
"""
"""The command, which commits as often as it can, and sends itself a signal after it has written so many batches."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of pictures; every hundredth is none."""
    pictures = [artifacts.png(artifacts.picture(16, i)) for i in range(100)]
    entries = {f"{i:05}.png": pictures[i // 10] if i % 100 else b"no picture" for i in range(PICTURES)}
    return write_zip(tmp_path_factory.mktemp("archive") / "a.zip", entries)


def batch(
    archive: Path,
    out: Path,
    mini: Settings,
    *,
    at: int = 0,
    delay: float = 0,
    number: int = 0,
    shell: str = 'exec "$@"',
) -> "subprocess.CompletedProcess[str]":
    """`convoscope batch`, started by the shell command `shell`."""
    arguments = [str(at), str(delay), str(number), "batch", str(archive), "--out", str(out)]
    settings = {"MODELS": str(mini.models), "PRECISION": "float32", "MAX_BATCH": "8"}
    return subprocess.run(
        ["bash", "-c", shell, sys.executable, sys.executable, "-c", PROGRAM, *arguments],
        env=os.environ | {f"CONVOSCOPE_{name}": value for name, value in settings.items()},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_job_goes_on_without_a_row_lost_or_doubled(
    archive: Path, mini: Settings, tmp_path: Path, kills: int
) -> None:
    expected, out = tmp_path / "expected.csv", tmp_path / "a.csv"
    assert batch(archive, expected, mini).returncode == 0
    chance = random.Random(kills)
    for kill in range(kills):
        at, delay = chance.randrange(1, 2 * BATCHES // (kills + 1)), chance.choice([0, chance.uniform(0, 0.01)])
        killed = batch(archive, out, mini, at=at, delay=delay, number=signal.SIGKILL)
        # A job that is killed a moment later may have been done before.
        assert killed.returncode == -signal.SIGKILL or (kill and killed.returncode == 0)
    done = batch(archive, out, mini)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{out}: 990 pictures by mini@1, 10 failed ({out}.failures.jsonl), ")
    for name in ("", ".failures.jsonl"):
        assert Path(f"{out}{name}").read_bytes() == Path(f"{expected}{name}").read_bytes()


def test_ctrl_c_is_one_line_and_keeps_what_is_done(archive: Path, mini: Settings, tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    stopped = batch(archive, out, mini, at=5, number=signal.SIGINT)
    assert (stopped.returncode, stopped.stderr) == (
        130,
        "convoscope: interrupted; the same command goes on from here\n",
    )
    assert (tmp_path / "a.csv.partial").read_text().count("\n") >= 5 * 8
    assert not out.exists()


def test_a_file_that_may_not_grow_is_one_line_and_the_job_goes_on(
    archive: Path, mini: Settings, tmp_path: Path
) -> None:
    out = tmp_path / "a.csv"
    failed = batch(archive, out, mini, shell='ulimit -f 20; exec "$@"')
    assert (failed.returncode, failed.stderr) == (1, f"convoscope: {out}.partial: File too large\n")
    assert batch(archive, out, mini).returncode == 0
    assert out.read_text().count("\n") == 991


def test_progress_is_drawn_on_a_terminal(archive: Path, mini: Settings, tmp_path: Path) -> None:
    on_a_terminal = '"$0" -c "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))" "$@"'
    shown = batch(archive, tmp_path / "a.csv", mini, shell=on_a_terminal)
    assert shown.returncode == 0
    assert "\r8 pictures, " in shown.stdout or "] 8 of 1,000 pictures, " in shown.stdout
    assert "\x1b[K" in shown.stdout
