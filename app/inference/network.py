"""One network as it is served: its artifact, its compiled engine and the batcher in front of it."""

import asyncio
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app import metrics
from app.deadline import Deadline
from app.errors import ArtifactError, NotFound, one_of
from app.inference.artifact import Artifact, graph_file
from app.inference.batcher import Answer, Batcher
from app.inference.engine import Activations, Engine, supported_precision, weights
from app.inference.metadata import Metadata
from app.inference.prediction import Scores, by_picture, scores
from app.inference.statistics import Statistics
from app.settings import Settings

Pictures = Sequence[NDArray[np.uint8]]


class Uncounted(np.ndarray[Any, np.dtype[np.uint8]]):
    """A picture that does not count as a prediction: one of several views of a picture, or one with a part hidden."""


BATCH_STEP = 4
"""Larger batches are multiples of it: for each size it meets, OpenVINO keeps kernels for good."""

BATCH_MULTIPLY_ADDS = 16_000_000_000
"""Of one batch at most: a network that computes much gets smaller batches, so nobody waits long for another."""


class Network:
    """Answers concurrent callers with the scores of their pictures, in batches."""

    def __init__(self, artifact: Artifact, settings: Settings) -> None:
        self.metadata = artifact.metadata
        self.activations = Activations(
            artifact.graph, [layer.name for layer in artifact.metadata.layers], threads=settings.threads
        )
        self.precision = supported_precision(settings.precision, self.metadata.precision.exact)
        self._graph = artifact.graph
        self.file = artifact.file
        self._settings = settings
        self._compiling = asyncio.Lock()
        self._batcher: Batcher[NDArray[np.uint8], Scores] | None = None
        self._statistics: Statistics | None = None

    @property
    def digest(self) -> str:
        """The SHA-256 of the file that is served at its precision."""
        return self.metadata.files[graph_file(self.precision)]

    @property
    def ready(self) -> bool:
        """Whether it is compiled."""
        return self._batcher is not None

    async def prepare(self, *, wholly: bool = False) -> None:
        """Compile the network and warm it up, unless that has been done. Raises ArtifactError.

        `wholly` prepares every size of batch before it returns; otherwise some sizes are prepared while the first
        requests run.
        """
        async with self._compiling:
            if self._batcher:
                return
            engine = await asyncio.to_thread(self._compiled)
            # Nothing that the engine refers to refers to the network, so it ends as soon as nobody holds the network.
            weakref.finalize(self, engine.close).atexit = False
            batcher = self._batching(engine)
            await asyncio.to_thread(engine.prepare, batcher.sizes if wholly else (batcher.sizes[0], batcher.sizes[-1]))
            if not wholly:
                asyncio.get_running_loop().run_in_executor(None, engine.prepare, batcher.sizes[1:-1])
            self._batcher = batcher

    async def scores(
        self,
        pictures: Pictures,
        deadline: Deadline,
        disconnected: Callable[[], bool],
        *,
        views: Sequence[int] = (),
        counted: bool = True,
    ) -> Answer[Scores]:
        """The scores of N pictures, each (size, size, channels) uint8, and the seconds they waited and ran.

        With `views`, the pictures are views, so many of each of len(views) pictures; the scores are then one for each
        picture, averaged over its views, and each picture is counted once. Without `counted` nothing is.

        `disconnected` says whether the client has disconnected. Raises what `prepare` and `Batcher.submit` raise. The
        time to prepare the network counts towards the deadline; if that passes, preparing goes on for later requests.
        """
        if not self.ready:
            async with deadline.enforced():
                await asyncio.shield(asyncio.ensure_future(self.prepare()))
        if views or not counted:
            pictures = [picture.view(Uncounted) for picture in pictures]
        answer = await self.submit(pictures, deadline, disconnected)
        if not views:
            return answer
        results = by_picture(answer.results, views)
        if self._statistics:
            self._statistics.count(results)
        return answer._replace(results=results)

    def submit(
        self, pictures: Pictures, deadline: Deadline, disconnected: Callable[[], bool]
    ) -> "asyncio.Future[Answer[Scores]]":
        """The same as `scores`, for a network that is ready. Raises what `Batcher.submit` raises."""
        assert self._batcher
        return self._batcher.submit(pictures, deadline, disconnected)

    def reject_without_room(self) -> None:
        """Raises Overloaded where the queue is full already: worth asking before pictures are decoded."""
        if self._batcher:
            self._batcher.reject_without_room()

    def _compiled(self) -> Engine:
        """Raises ArtifactError where the graph is not what the metadata says."""
        graph = self._graph(self.precision)
        engine = Engine(graph, precision=self.precision, threads=self._settings.threads)
        form, labels = self.metadata.input, len(self.metadata.labels)
        expected = (form.size, form.size, form.channels), labels, self.metadata.out_of_distribution is not None
        found = engine.picture, engine.labels, engine.has_typicality
        if found != expected:
            raise ArtifactError(
                f"{self.metadata.name}: the shape of a picture, the number of labels, and whether there is typicality, "
                f"are {found} in the graph and {expected} in metadata.json"
            )
        return engine

    def _batching(self, engine: Engine) -> Batcher[NDArray[np.uint8], Scores]:
        metadata = self.metadata
        self._statistics = statistics = Statistics(metadata)  # the batcher gets no self, which holds it
        return Batcher(
            lambda pictures: engine.submit(pictures, partial(_counted, metadata, statistics, pictures)),
            max_batch=min(self._settings.max_batch, BATCH_MULTIPLY_ADDS // (metadata.multiply_adds or 1)) or 1,
            max_queue=self._settings.max_queue,
            depth=engine.depth,
            step=BATCH_STEP,
            observe=metrics.batch_observer(metadata.name),
        )

    def kernel(self, layer: str) -> NDArray[np.floating]:
        """The learned kernels of a convolution (height, width, channels in, filters). Raises NotFound.

        Those of a dense layer are 1 x 1: its inputs are the channels, its outputs the filters.
        """
        weighing = [entry.name for entry in self.metadata.layers if entry.kind in ("convolution", "dense")]
        if layer not in weighing:
            found = f"{self.metadata.name} has no convolution or dense layer called {layer!r:.80}"
            raise NotFound.about("layer", f"{found}; expected {one_of(weighing)}")
        try:
            kernel = self.weights[f"{layer}/kernel"]
            return kernel if kernel.ndim == 4 else kernel[np.newaxis, np.newaxis]
        except KeyError:
            raise NotFound.about("layer", f"{self.metadata.name} does not keep the kernels of {layer}") from None

    @cached_property
    def weights(self) -> dict[str, NDArray[Any]]:
        """The learned kernels and biases of every layer, as `engine.weights` gives them; read when first asked for."""
        return weights(self._graph())

    async def close(self) -> None:
        """Finish what was admitted."""
        if self._batcher:
            await self._batcher.close()


def _counted(
    metadata: Metadata,
    statistics: Statistics,
    pictures: Pictures,
    logits: NDArray[np.float32],
    typicality: NDArray[np.float32] | None,
) -> list[Scores]:
    """What a batch's outputs say, counted here, in the engine's thread, whatever protocol asked."""
    found = scores(metadata, logits, typicality)
    whole = [score for score, picture in zip(found, pictures, strict=True) if type(picture) is not Uncounted]
    if whole:
        statistics.count(whole)
    return found
