"""What a job writes, and how it goes on after a kill at any moment without a row lost or doubled.

Rows and failures are appended to two files. A commit makes them durable, and then replaces a third file, the record,
which says how many bytes of each count and how many pictures these stand for. Whatever was appended after the last
commit is cut off when the job goes on, and predicted again. The file that was asked for appears when it is complete.
"""

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from app.batch.errors import BatchError


@dataclass(frozen=True)
class Record:
    """What is durable."""

    job: dict[str, Any]
    """What decides the rows. A job with another one does not go on from here."""
    position: int = 0
    """How many pictures, counted from the first, have a row or a failure."""
    names: str = ""
    """The digest of their names."""
    failures: int = 0
    row_bytes: int = 0
    failure_bytes: int = 0
    seconds: float = 0.0
    """That were worked for it, in all runs."""
    whole: bool = False
    """Whether there are no more pictures."""


class Files(NamedTuple):
    """Beside the file that was asked for."""

    rows: Path
    """Those so far; it becomes the file that was asked for."""
    failures: Path
    record: Path

    @classmethod
    def of(cls, out: Path) -> "Files":
        return cls(*(out.with_name(f"{out.name}.{name}") for name in ("partial", "failures.jsonl", "job.json")))


class Journal:
    """The files of one job."""

    def __init__(self, out: Path, job: dict[str, Any], header: bytes) -> None:
        """Begin a job, or go on with it where it was left.

        Raises BatchError if `out` exists and another job made it, another process works on it, or it cannot be written.
        """
        self._out = out
        self._files = Files.of(out)
        self._descriptors: list[int] = []
        self._committing = threading.Lock()
        if not out.parent.is_dir():
            raise BatchError(f"--out is {out}; expected a name in a folder that exists")
        try:
            self._record = self._begin(Record(job), header)
        except BaseException:
            self.close()
            raise

    @property
    def record(self) -> Record:
        """What the last commit made durable."""
        return self._record

    @property
    def finished(self) -> bool:
        """Whether the file that was asked for is complete."""
        return self._record.whole and not self._files.rows.exists()

    def append(self, rows: bytes, failures: bytes) -> None:
        """Add whole lines, which do not count before the next commit. Raises BatchError."""
        for descriptor, path, rest in zip(self._descriptors, self._files, (rows, failures), strict=False):
            with _writing(path):
                while rest:
                    rest = rest[os.write(descriptor, rest) :]

    def commit(self, record: Record) -> None:
        """Make what was appended durable, with `record`. Raises BatchError; what was durable before still is."""
        with self._committing:  # in a thread, perhaps, which a task that is cancelled leaves behind
            self._commit(record)

    def _commit(self, record: Record) -> None:
        rows, failures = (os.lseek(descriptor, 0, os.SEEK_CUR) for descriptor in self._descriptors)
        record = replace(record, row_bytes=rows, failure_bytes=failures)
        new = self._files.record.with_name(f"{self._files.record.name}.new")
        with _writing(new):
            for descriptor in self._descriptors:
                os.fsync(descriptor)
            with new.open("w") as file:
                json.dump(asdict(record), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self._files.record)
            _sync_folder(self._out)
        self._record = record

    def finish(self, finish: Callable[[Path, Path], None]) -> None:
        """Make the file that was asked for of the rows, once the record is whole. Raises BatchError."""
        with _writing(self._out):
            if not self._record.failures:
                self._files.failures.unlink(missing_ok=True)
            finish(self._files.rows, self._out)
            _sync_folder(self._out)

    def discard(self) -> None:
        """Forget a job of which no picture could be predicted; its failures stay."""
        self._files.record.unlink(missing_ok=True)
        self._files.rows.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _begin(self, fresh: Record, header: bytes) -> Record:
        """Lock and cut the files to what is durable, and return it."""
        rows, failures, _ = self._files
        there = rows.exists()
        if there:
            self._open(rows)
        found = self._recorded(fresh.job)
        if found and found.whole and not there:
            return found
        if found and not there:
            raise BatchError(f"{rows} is missing; expected it beside {self._files.record}, or that removed too")
        if not there:
            self._open(rows, os.O_CREAT | os.O_EXCL)
        self._open(failures, os.O_CREAT)
        self._record = found or fresh
        self._cut(rows, self._descriptors[0], self._record.row_bytes)
        self._cut(failures, self._descriptors[1], self._record.failure_bytes)
        if found is None:
            self.append(header, b"")
            self.commit(fresh)
        return self._record

    def _recorded(self, job: dict[str, Any]) -> Record | None:
        """How far this job was; None if it has not begun. Raises BatchError."""
        try:
            found = Record(**json.loads(self._files.record.read_text()))
        except FileNotFoundError:
            found = None
        except (OSError, ValueError, TypeError) as error:
            raise BatchError(f"{self._files.record}: cannot be read ({error})") from None
        if found is None or not found.whole:
            if os.path.lexists(self._out):
                raise BatchError(f"{self._out} exists already; expected another --out")
        elif not self._files.rows.exists() and not self._out.exists():
            return None  # finished once, and then removed
        for name, value in job.items() if found else ():
            was = found.job.get(name) if found else None
            if was != value:
                raise BatchError(
                    f"{self._out} belongs to a job with other {name}: {was!r:.200}; now {value!r:.200}; expected the "
                    f"same, or another --out"
                )
        return found

    def _open(self, path: Path, flags: int = 0) -> None:
        with _writing(path):
            self._descriptors.append(os.open(path, os.O_RDWR | flags, 0o666))
            try:
                fcntl.flock(self._descriptors[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BatchError(f"{path} is being written by another process") from None

    def _cut(self, path: Path, descriptor: int, size: int) -> None:
        with _writing(path):
            if os.fstat(descriptor).st_size < size:
                raise BatchError(f"{path} has lost rows; expected at least {size} bytes")
            os.ftruncate(descriptor, size)
            os.lseek(descriptor, size, os.SEEK_SET)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Make a BatchError of an OSError."""
    try:
        yield
    except OSError as error:
        raise BatchError(f"{error.filename or path}: {error.strerror or error}") from error


def _sync_folder(path: Path) -> None:
    """Make it durable that `path` has been renamed or removed."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
