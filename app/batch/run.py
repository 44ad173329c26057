"""One job: from its inputs to a file of predictions, and what to tell while it runs and at its end."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.batch import formats
from app.batch.errors import BatchError
from app.batch.journal import Files, Journal, Record
from app.batch.pipeline import Chunks, Pipeline, Predicting
from app.batch.progress import Progress, Total
from app.batch.rows import Rows
from app.batch.sources import Sources
from app.errors import InvalidInput
from app.imaging import MAX_VIEWS
from app.inference.network import Network
from app.inference.registry import Registry
from app.settings import Settings
from app.wire import options

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


def here(job: Job, network: Network, settings: Settings) -> Predicting:
    """Predicting in this process."""
    return Pipeline(network, settings, job.views)


async def run(
    job: Job,
    settings: Settings,
    show: Callable[[Progress], None] = lambda progress: None,
    predicting: Callable[[Job, Network, Settings], Predicting] = here,
) -> Summary:
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
        if journal.record.whole:
            await asyncio.to_thread(_reject_changes, sources, journal.record)
        else:
            pipeline = predicting(job, network, settings)
            await pipeline.prepare()
            rows = Rows(journal, format, network.metadata, top_k)
            await _predict(pipeline, sources, settings.max_batch, rows, show)
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


async def _predict(
    pipeline: Predicting, sources: Sources, size: int, rows: Rows, show: Callable[[Progress], None]
) -> None:
    """Write a row or a failure for each picture that has none yet, in chunks of `size` pictures."""
    before, total = rows.record, Total(sources)
    chunks = Chunks(iter(sources), size)
    await asyncio.to_thread(chunks.skip, before.position, before.names)
    started = time.monotonic()
    try:
        async with aclosing(pipeline.outcomes(chunks)) as found:
            async for chunk, outcomes in found:
                worked = time.monotonic() - started
                rows.write(chunk, outcomes, before.seconds + worked)
                await rows.commit_if_due()
                rate = (chunk.end - before.position) / max(worked, 1e-9)
                show(Progress(chunk.end, rows.record.failures, rate, total.known))
    except asyncio.CancelledError:
        rows.commit()
        raise
    rows.complete()


def _reject_changes(sources: Sources, record: Record) -> None:
    """Raises BatchError if the inputs are no longer those that a finished job has read."""
    chunks = Chunks(iter(sources), 1)
    chunks.skip(record.position, record.names)
    if next(chunks, None):
        raise BatchError(f"the inputs have grown beyond {record.position} pictures; expected another --out")
