"""One network as it is served: its artifact, its compiled engine and the batcher in front of it."""

from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app import metrics
from app.batching import Answer, Batcher
from app.catalog import Artifact
from app.engine import Activations, Engine, supported_precision, weights
from app.errors import FieldError, NotFound
from app.prediction import Scores, scores
from app.settings import Settings

Pictures = Sequence[NDArray[np.uint8]]


class Network:
    """Answers concurrent callers with the scores of their pictures, in batches."""

    def __init__(self, artifact: Artifact, settings: Settings) -> None:
        """Compile the artifact and warm it up; needs a running event loop. Raises ArtifactError."""
        self.metadata = artifact.metadata
        self.activations = Activations(artifact.onnx, threads=settings.threads)
        self._onnx = artifact.onnx
        self.precision = supported_precision(settings.precision)
        engine = Engine(artifact.onnx, precision=self.precision, threads=settings.threads)
        for count in (1, settings.max_batch):  # the first inference of each size prepares it, on each core
            for _ in range(engine.streams):
                engine.logits([np.zeros((32, 32, 3), np.uint8)] * count)
        name = artifact.name
        self._batcher: Batcher[NDArray[np.uint8], Scores] = Batcher(
            lambda pictures: engine.submit(pictures, lambda logits: scores(logits, artifact.metadata)),
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
            runners=engine.streams,
            observe=metrics.batch_observer(name),
        )
        metrics.QUEUE.labels(name).set_function(lambda: self._batcher.waiting)

    async def scores(
        self, pictures: Pictures, gone: Callable[[], Awaitable[bool]], seconds: float | None = None
    ) -> Answer[Scores]:
        """The scores of N pictures, each (32, 32, 3) uint8 RGB, and the seconds they waited and ran.

        Raises what `Batcher.submit` raises.
        """
        return await self._batcher.submit(pictures, gone, seconds)

    def kernel(self, layer: str) -> NDArray[np.float16]:
        """A convolution's learned kernels (height, width, channels in, filters). Raises NotFound."""
        convolutions = [entry.name for entry in self.metadata.layers if entry.kind == "convolution"]
        if layer not in convolutions:
            expected = f"expected one of {', '.join(convolutions)}"
            detail = f"{self.metadata.name} has no convolution called {layer!r:.80}; {expected}"
            raise NotFound(detail, [FieldError("layer", expected)])
        return self.weights[f"{layer}/kernel"]

    @cached_property
    def weights(self) -> dict[str, NDArray[Any]]:
        """The learned kernels and biases of every layer, as `engine.weights` gives them; read when first asked for."""
        return weights(self._onnx)

    async def close(self) -> None:
        """Finish what was admitted."""
        await self._batcher.close()
