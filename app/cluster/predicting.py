"""A batch job's pictures, read on this machine in order, and predicted on every node of a Ray cluster, as Ray Data."""

import asyncio
import logging
import os
import pickle
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

import pyarrow
import ray
from ray.data import ActorPoolStrategy, DataContext, Datasource, ReadTask
from ray.data.block import BlockMetadata

from app.batch.pipeline import Chunk, Chunks, Outcome, Pipeline
from app.batch.run import Job
from app.batch.sources import Sources
from app.cluster.connection import ClusterError, nodes
from app.inference.network import Network
from app.inference.registry import Registry
from app.settings import Settings

BLOCK = 1_000_000
"""Bytes of pictures in one block of the data set, which an actor predicts at once."""


class ClusterPipeline:
    """Does what `Pipeline` does. Every node needs the artifacts; only this machine needs the inputs."""

    def __init__(self, job: Job, network: Network, settings: Settings) -> None:
        self._job = job
        self._network = network
        threads = settings.threads or min(filter(None, nodes()), default=1)  # an actor for each node
        self._settings = settings.model_copy(update={"precision": network.precision, "threads": threads})

    async def prepare(self) -> None:
        """Every actor prepares its own network."""

    async def outcomes(self, chunks: Chunks) -> AsyncGenerator[tuple[Chunk, list[Outcome]], None]:
        """What became of each picture after those that `chunks` has passed over, in order. Raises ClusterError."""
        context = DataContext.get_current()
        context.execution_options.preserve_order = True
        context.target_max_block_size = BLOCK
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # it warns that progress bars are off
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
        pictures = Pictures(self._job, self._settings, chunks.end, chunks.names)
        dataset = ray.data.read_datasource(
            pictures, override_num_blocks=1, num_cpus=0, label_selector=here
        ).map_batches(
            Predictor,
            batch_size=None,
            compute=ActorPoolStrategy(min_size=1),
            num_cpus=self._settings.threads,
            fn_constructor_args=(self._job, self._settings, self._network.digest),
        )
        rows = iter(dataset.iter_rows())
        try:
            while row := await asyncio.to_thread(next, rows, None):
                yield pickle.loads(row["found"])
        except ray.exceptions.RayError as error:
            raise ClusterError.of("Ray cannot do the job", error) from error


class Pictures(Datasource):  # type: ignore[misc]
    """The chunks of a job's pictures, with their bytes, in rows that are pickled."""

    def __init__(self, job: Job, settings: Settings, position: int, names: str) -> None:
        super().__init__()
        self._job = job
        self._settings = settings
        self._done = position, names
        self._folder = os.getcwd()

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, *args: Any, **options: Any) -> list[ReadTask]:
        """One, because an archive is read in order."""
        return [ReadTask(self._blocks, BlockMetadata(None, None, None, None))]

    def _blocks(self) -> Iterator[pyarrow.Table]:
        os.chdir(self._folder)
        job = self._job
        sources = Sources(job.inputs, job.out, column=job.column, most_bytes=self._settings.max_body)
        chunks = Chunks((picture._replace(at_once=True) for picture in sources), self._settings.max_batch)
        chunks.skip(*self._done)
        for chunk in chunks:
            yield pyarrow.table({"chunk": [pickle.dumps(chunk)]})


class Predictor:
    """An actor with a network of its own."""

    def __init__(self, job: Job, settings: Settings, digest: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._pipeline = self._loop.run_until_complete(_prepared(job, settings, digest))

    def __call__(self, block: dict[str, Sequence[bytes]]) -> dict[str, list[bytes]]:
        return {"found": self._loop.run_until_complete(self._found(map(pickle.loads, block["chunk"])))}

    async def _found(self, chunks: Iterator[Chunk]) -> list[bytes]:
        found = self._pipeline.outcomes(chunks)
        return [pickle.dumps((Chunk((), chunk.end, chunk.names), outcomes)) async for chunk, outcomes in found]


async def _prepared(job: Job, settings: Settings, digest: str) -> Pipeline:
    network = Registry(settings.model_copy(update={"max_queue": 1 << 30})).find(job.model)
    if network.digest != digest:
        raise RuntimeError(f"{network.metadata.name} on this node has the digest {network.digest}; expected {digest}")
    pipeline = Pipeline(network, settings, job.views)
    await pipeline.prepare()
    return pipeline
