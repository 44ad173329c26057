import asyncio
import itertools
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.batch import formats
from app.batch.errors import BatchError
from app.batch.journal import Journal
from app.batch.progress import Progress
from app.batch.run import Job, run
from app.settings import Settings
from tests.batch.conftest import COUNT, Done

JOB = {"model": "mini@1"}
ROWS = 7


class Killed(BaseException):
    """The process ends here."""


class Fate:
    """Lets a number of system calls succeed, and kills the process at the next one, before or after its effect."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 0
        for name in ("write", "fsync", "replace", "ftruncate", "unlink"):
            monkeypatch.setattr(os, name, self._mortal(getattr(os, name)))

    def _mortal(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                if call.__name__ == "write":
                    call(arguments[0], arguments[1][: len(arguments[1]) // 2])
                elif self.after:
                    call(*arguments, **named)
                raise Killed
            return call(*arguments, **named)

        return called

    def at(self, call: int, *, after: bool) -> None:
        """Kill at this call, counted from 1."""
        self.left, self.after = call, after


def work(out: Path) -> None:
    """A job that predicts the numbers below ROWS, of which every third fails, and commits after each second."""
    form = formats.of(out)
    journal = Journal(out, JOB, form.header(1))
    try:
        record = journal.record
        for i in range(record.position, 0 if record.whole else ROWS):
            top = [{"label": str(i), "index": i, "probability": i / 10}]
            row = dict.fromkeys(formats.PLAIN, None) | top[0] | {"picture": f"{i}", "is_ood": True, "top": top}
            if i % 3:
                journal.append(form.lines([row]), b"")
            else:
                journal.append(b"", b'{"picture": "%d"}\n' % i)
            record = replace(record, position=i + 1, failures=record.failures + (i % 3 == 0))
            if i % 2:
                journal.commit(record)
        if not record.whole:
            journal.commit(replace(record, whole=True))
        if not journal.finished:
            journal.finish(form.finish)
    finally:
        journal.close()


def written(out: Path) -> dict[str, bytes]:
    """The files of a job that is done, apart from its record."""
    return {path.name: path.read_bytes() for path in out.parent.iterdir() if not path.name.endswith("job.json")}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_kill_at_any_system_call_loses_and_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suffix: str, after: bool
) -> None:
    (tmp_path / "expected").mkdir()
    work(tmp_path / "expected" / f"a.{suffix}")
    expected = written(tmp_path / "expected" / f"a.{suffix}")
    assert expected.keys() == {f"a.{suffix}", f"a.{suffix}.failures.jsonl"}
    assert expected[f"a.{suffix}.failures.jsonl"].count(b"\n") == 3
    fate = Fate(monkeypatch)
    for call in itertools.count(1):
        out = tmp_path / str(call) / f"a.{suffix}"
        out.parent.mkdir()
        fate.at(call, after=after)
        with suppress(Killed):
            work(out)
        if fate.left > 0:  # the job was done before
            break
        fate.at(4, after=after)
        with suppress(Killed):
            work(out)
        fate.at(0, after=after)
        work(out)
        assert written(out) == expected
    assert call > 30


def test_another_job_does_not_go_on(tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    work(out)
    with pytest.raises(BatchError, match=r"a.csv belongs to a job with other model: 'mini@1'; now 'mini@2'"):
        Journal(out, {"model": "mini@2"}, b"")


def test_two_processes_do_not_write_the_same(tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    first = Journal(out, JOB, b"")
    with pytest.raises(BatchError, match=r"a.csv.partial is being written by another process"):
        Journal(out, JOB, b"")
    first.close()
    Journal(out, JOB, b"").close()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda out: os.truncate(f"{out}.partial", 3), "a.csv.partial has lost rows; expected at least 10 bytes"),
        (lambda out: os.unlink(f"{out}.partial"), "a.csv.partial is missing; expected it beside"),
        (lambda out: os.truncate(f"{out}.job.json", 3), "a.csv.job.json: cannot be read"),
        (lambda out: out.write_text("mine"), "a.csv exists already; expected another --out"),
    ],
)
def test_what_somebody_else_has_changed_is_told(tmp_path: Path, spoil: Callable[[Path], Any], message: str) -> None:
    out = tmp_path / "a.csv"
    journal = Journal(out, JOB, b"0123456789")
    journal.close()
    spoil(out)
    with pytest.raises(BatchError, match=message):
        Journal(out, JOB, b"0123456789")


def test_a_full_disk_loses_nothing_that_was_durable(
    done: Done, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.batch.rows.COMMIT", 0.0)
    done(pictures, tmp_path / "expected.csv")
    room, write = [1500], os.write

    def full(descriptor: int, data: bytes) -> int:
        if room[0] <= 0:
            raise OSError(28, "No space left on device")
        count = write(descriptor, data[: room[0]])
        room[0] -= count
        return count

    monkeypatch.setattr(os, "write", full)
    for _ in range(2):
        with pytest.raises(BatchError, match=r"a.csv.partial: No space left on device"):
            done(pictures, tmp_path / "a.csv")
        room[0] = 700
    room[0] = 10**9
    done(pictures, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()


def test_an_interrupt_keeps_what_is_done(done: Done, mini: Settings, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.csv"

    async def interrupted() -> None:
        def stop(progress: Progress) -> None:
            if progress.done >= 8:
                job.cancel()

        job = asyncio.ensure_future(run(Job([str(pictures)], out), mini, stop))
        await job

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    assert not out.exists()
    assert out.with_name("a.csv.partial").read_text().count("\n") >= 9
    assert done(pictures, out).pictures == COUNT
    done(pictures, tmp_path / "expected.csv")
    assert out.read_bytes() == (tmp_path / "expected.csv").read_bytes()
