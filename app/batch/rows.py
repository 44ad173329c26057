"""What becomes of each picture, as lines in the journal: a row, or a failure."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from app.batch import formats
from app.batch.errors import BatchError
from app.batch.formats import Format, Row
from app.batch.journal import Journal, Record
from app.batch.pipeline import Chunk, Outcome
from app.inference.metadata import Metadata
from app.inference.prediction import prediction

COMMIT = 1.0
"""Seconds of work that a kill may cost."""


class Rows:
    """Appends rows and failures to a journal, and commits them now and then."""

    def __init__(self, journal: Journal, format: Format, metadata: Metadata, top_k: int) -> None:
        self.record: Record = journal.record
        """What was written so far, whether it is committed or not."""
        self._journal = journal
        self._format = format
        self._metadata = metadata
        self._top_k = top_k
        self._committed = time.monotonic()
        self._first_failure = ""

    def write(self, chunk: Chunk, outcomes: Sequence[Outcome], seconds: float) -> None:
        """Append what became of a chunk's pictures, after `seconds` of work in all runs. Raises BatchError."""
        rows = [self._row(outcome) for outcome in outcomes if outcome.scores]
        failures = [{"picture": _text(o.name), "problem": o.problem} for o in outcomes if not o.scores]
        self._journal.append(self._format.lines(rows), formats.json_lines(failures))
        if failures and not self._first_failure:
            self._first_failure = f"{failures[0]['picture']}: {failures[0]['problem']}"
        self.record = replace(
            self.record,
            position=chunk.end,
            names=chunk.names,
            failures=self.record.failures + len(failures),
            seconds=seconds,
        )

    async def commit_if_due(self) -> None:
        """Commit, in a thread, if the last time is more than COMMIT seconds ago. Raises BatchError."""
        if time.monotonic() - self._committed > COMMIT:
            await asyncio.to_thread(self.commit)
            self._committed = time.monotonic()

    def commit(self) -> None:
        """Make what was written durable. Raises BatchError."""
        self._journal.commit(self.record)

    def complete(self) -> None:
        """Commit that there are no more pictures. Raises BatchError if none could be predicted, and leaves nothing."""
        if self.record.position == self.record.failures:
            self._journal.discard()
            raise BatchError(self._none())
        self._journal.commit(replace(self.record, whole=True))

    def _none(self) -> str:
        """Why there are no predictions at all."""
        if not self.record.failures:
            return "the inputs hold no pictures"
        first = f"; the first: {self._first_failure}" if self._first_failure else ""
        return f"none of {self.record.failures} pictures could be predicted{first}"

    def _row(self, outcome: Outcome) -> Row:
        assert outcome.scores
        return {
            "picture": _text(outcome.name),
            "model": self._metadata.name,
            "version": self._metadata.version,
            **prediction(outcome.scores, self._metadata, self._top_k),
            "views": outcome.scores.views,
        }


def _text(name: str) -> str:
    """A name as UTF-8 can hold it: bytes of a file's name that are none are escaped."""
    return name if name.isascii() else name.encode(errors="surrogateescape").decode(errors="backslashreplace")
