"""One job: from its inputs to a file of predictions, and what to tell while it runs and at its end."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.batch import formats
from app.batch.errors import BatchError
from app.batch.formats import Row
from app.batch.journal import Files, Journal, Record
from app.batch.pipeline import Chunks, Outcome, Pipeline
from app.batch.sources import Sources
from app.errors import InvalidInput
from app.imaging import MAX_VIEWS
from app.inference.network import Network
from app.inference.prediction import prediction
from app.inference.registry import Registry
from app.settings import Settings
from app.wire import options

COMMIT = 1.0
"""Seconds of work that a kill may cost."""
DEFAULT_TOP_K = 3


@dataclass(frozen=True)
class Job:
    """What is asked for."""

    inputs: Sequence[str]
    """Files, folders, globs and archives."""
    out: Path
    model: str | None = None
    """A network's name or `name@version`; None for the default one."""
    views: int = 1
    top_k: int | None = None
    column: str | None = None
    """Of Parquet inputs."""


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


@dataclass(frozen=True)
class Summary:
    """What a job has come to."""

    out: str
    pictures: int
    """Rows in the file."""
    failures: int
    seconds: float
    """That were worked for it, in all runs."""
    rate: float
    """Pictures and failures a second, over all runs."""
    model: str
    version: str
    failed: str | None
    """The file that lists the failures."""

    def __str__(self) -> str:
        found = f"{self.out}: {self.pictures:,} pictures by {self.model}@{self.version}"
        failed = f", {self.failures:,} failed ({self.failed})" if self.failures else ""
        return f"{found}{failed}, {self.rate:,.0f} a second"


async def run(job: Job, settings: Settings, show: Callable[[Progress], None] = lambda progress: None) -> Summary:
    """Do the job, or the rest of it where it was interrupted, or nothing where it is done.

    Raises BatchError; ArtifactError, NotFound and Unavailable for the network; InvalidInput for `views` and `top_k`. A
    picture that cannot be predicted is listed in the file of failures; only if no picture can be does that raise.
    """
    if not 1 <= job.views <= MAX_VIEWS:
        raise InvalidInput.about("views", f"views is {job.views}; expected an integer from 1 to {MAX_VIEWS}")
    format = formats.of(job.out)
    sources = Sources(job.inputs, job.out, column=job.column, most_bytes=settings.max_body)
    network = Registry(settings.model_copy(update={"max_queue": 1 << 30})).find(job.model)
    top_k = options.top_k(job.top_k, "top_k", len(network.metadata.labels), DEFAULT_TOP_K)
    journal = Journal(job.out, _identity(job, network, top_k), format.header(top_k))
    try:
        work = _Work(network, journal, sources, format, top_k, show)
        if journal.record.whole:
            await asyncio.to_thread(work.reject_changes)
        else:
            await network.prepare()
            await work.do(Pipeline(network, settings, job.views), settings.max_batch)
        if not journal.finished:
            await asyncio.to_thread(journal.finish, format.finish)
        return _summary(job, network, journal.record)
    finally:
        journal.close()


def _identity(job: Job, network: Network, top_k: int) -> dict[str, Any]:
    """What decides the rows of a job."""
    return {
        "inputs": list(job.inputs),
        "column": job.column,
        "model": f"{network.metadata.name}@{network.metadata.version}",
        "network": network.digest,
        "precision": network.precision,
        "views": job.views,
        "top_k": top_k,
    }


def _summary(job: Job, network: Network, record: Record) -> Summary:
    failures = Files.of(job.out).failures
    return Summary(
        out=str(job.out),
        pictures=record.position - record.failures,
        failures=record.failures,
        seconds=round(record.seconds, 3),
        rate=round(record.position / max(record.seconds, 1e-9), 1),
        model=network.metadata.name,
        version=network.metadata.version,
        failed=str(failures) if record.failures else None,
    )


class _Work:
    """Writes what the pipeline gives, and tells how far it is."""

    def __init__(
        self,
        network: Network,
        journal: Journal,
        sources: Sources,
        format: formats.Format,
        top_k: int,
        show: Callable[[Progress], None],
    ) -> None:
        self._metadata = network.metadata
        self._journal = journal
        self._sources = sources
        self._format = format
        self._top_k = top_k
        self._show = show
        self._record = journal.record
        self._total: int | None = None
        self._first_failure = ""

    def reject_changes(self) -> None:
        """Raises BatchError if the inputs are no longer those that a finished job has read."""
        chunks = Chunks(iter(self._sources), 1)
        chunks.skip(self._record.position, self._record.names)
        if chunks.next():
            raise BatchError(f"the inputs have grown beyond {self._record.position} pictures; expected another --out")

    async def do(self, pipeline: Pipeline, size: int) -> None:
        threading.Thread(target=self._count, name="count", daemon=True).start()
        chunks, before = Chunks(iter(self._sources), size), self._record
        await asyncio.to_thread(chunks.skip, before.position, before.names)
        started = committed = time.monotonic()
        try:
            async with aclosing(pipeline.outcomes(chunks)) as found:
                async for chunk, outcomes in found:
                    self._write(outcomes)
                    now = time.monotonic()
                    worked = now - started
                    self._record = replace(
                        self._record, position=chunk.end, names=chunk.names, seconds=before.seconds + worked
                    )
                    if now - committed > COMMIT:
                        await asyncio.to_thread(self._journal.commit, self._record)
                        committed = now
                    rate = (chunk.end - before.position) / max(worked, 1e-9)
                    self._show(Progress(chunk.end, self._record.failures, rate, self._total))
        except asyncio.CancelledError:
            self._journal.commit(self._record)
            raise
        if self._record.position == self._record.failures:
            self._journal.discard()
            raise BatchError(self._none())
        self._journal.commit(replace(self._record, whole=True))

    def _none(self) -> str:
        """Why there are no predictions at all."""
        if not self._record.failures:
            return "the inputs hold no pictures"
        first = f"; the first: {self._first_failure}" if self._first_failure else ""
        return f"none of {self._record.failures} pictures could be predicted{first}"

    def _write(self, outcomes: Sequence[Outcome]) -> None:
        rows = [self._row(outcome) for outcome in outcomes if outcome.scores]
        failures = [{"picture": _text(o.name), "problem": o.problem} for o in outcomes if not o.scores]
        self._journal.append(self._format.lines(rows), formats.json_lines(failures))
        self._record = replace(self._record, failures=self._record.failures + len(failures))
        if failures and not self._first_failure:
            self._first_failure = f"{failures[0]['picture']}: {failures[0]['problem']}"

    def _row(self, outcome: Outcome) -> Row:
        assert outcome.scores
        return {
            "picture": _text(outcome.name),
            "model": self._metadata.name,
            "version": self._metadata.version,
            **prediction(outcome.scores, self._metadata, self._top_k),
            "views": outcome.scores.views,
        }

    def _count(self) -> None:
        self._total = self._sources.count


def _text(name: str) -> str:
    """A name as UTF-8 can hold it: bytes of a file's name that are none are escaped."""
    return name if name.isascii() else name.encode(errors="surrogateescape").decode(errors="backslashreplace")
