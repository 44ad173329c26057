"""How far a job is, and what a terminal shows of it."""

import shutil
import threading
import time
from dataclasses import dataclass
from typing import TextIO

from app.batch.sources import Sources

TERMINAL, LOG = 0.2, 30.0
"""Seconds between two lines: on a terminal, where each replaces the last, and elsewhere."""
WIDTH = 24
"""Characters of the bar."""


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    done: int
    """Pictures that have a row or a failure."""
    failures: int
    rate: float
    """Pictures a second, in this run."""
    total: int | None
    """None as long as it is not known."""


class Total:
    """How many pictures there are, counted in a thread while the job runs; a look at names, not at pictures."""

    def __init__(self, sources: Sources) -> None:
        self.known: int | None = None
        """None as long as it is not known."""
        self._sources = sources
        threading.Thread(target=self._count, name="count", daemon=True).start()

    def _count(self) -> None:
        self.known = self._sources.count


class Bar:
    """Shows progress on `file`, at most every so often."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._terminal = file.isatty()
        self._next = 0.0 if self._terminal else time.monotonic() + LOG

    def show(self, progress: Progress) -> None:
        """Show it, unless the last was shown only a moment ago."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (TERMINAL if self._terminal else LOG)
        if self._terminal:
            line = f"{_drawn(progress)}{text(progress)}"[: shutil.get_terminal_size().columns - 1]
            print(f"\r{line}\x1b[K", end="", file=self._file, flush=True)
        else:
            print(f"convoscope: {text(progress)}", file=self._file, flush=True)

    def clear(self) -> None:
        """Make room for another line."""
        if self._terminal:
            print("\r\x1b[K", end="", file=self._file, flush=True)


def text(progress: Progress) -> str:
    """Pictures, rate, time left and failures, as far as they are known."""
    total = progress.total
    parts = [f"{progress.done:,}{f' of {total:,}' if total else ''} pictures", f"{progress.rate:,.0f} a second"]
    if total and progress.rate:
        minutes, seconds = divmod(round(max(0, total - progress.done) / progress.rate), 60)
        hours, minutes = divmod(minutes, 60)
        parts.append(f"{f'{hours}:{minutes:02}' if hours else minutes}:{seconds:02} left")
    if progress.failures:
        parts.append(f"{progress.failures:,} failed")
    return ", ".join(parts)


def _drawn(progress: Progress) -> str:
    if not progress.total:
        return ""
    full = min(WIDTH, WIDTH * progress.done // progress.total)
    return f"[{'#' * full}{'.' * (WIDTH - full)}] "
