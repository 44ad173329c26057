"""One compiled network: pictures in, logits or activations out. The only module that knows OpenVINO."""

import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, Literal, TypeVar

import numpy as np
import openvino as ov
import openvino.properties as properties
import openvino.properties.hint as hints
from numpy.typing import NDArray

from app import processors
from app.errors import ArtifactError
from app.inference.metadata import PrecisionName

Result = TypeVar("Result")

Graph = Path | bytes
"""A file in ONNX, or its content."""

INPUT = "image"
"""The name of the graph's input."""

OUTPUTS = ("logits", "typicality")
"""What the graph says of each picture: its labels' scores (N, labels), and, not in every graph, how typical it is (N,).
"""

Finish = Callable[[NDArray[np.float32], NDArray[np.float32] | None], Result]
"""What is made of the `OUTPUTS` of a batch; None for what the graph does not say."""

CPUINFO = Path("/proc/cpuinfo")

_CORE = ov.Core()


def supported_precision(wanted: Literal["auto"] | PrecisionName, exact: Collection[PrecisionName]) -> PrecisionName:
    """`wanted`, or the next wider precision if this processor does not have it; for auto the best one in `exact`.

    OpenVINO would emulate bfloat16, and nobody has measured what int8 costs without AVX2.
    """
    has = precisions()
    if wanted == "auto":
        return next(precision for precision in has if precision in exact)
    widening: list[PrecisionName] = ["int8", "bfloat16", "float32"]
    return next(precision for precision in widening[widening.index(wanted) :] if precision in has)


@lru_cache(maxsize=1)
def precisions() -> tuple[PrecisionName, ...]:
    """The precisions that this processor has instructions for, best first.

    With AMX the best is bfloat16: sometimes faster and sometimes slower than int8, but closer to float32 on
    photographs. Without AMX bfloat16 is slower than float32, and int8 is the fastest, even without VNNI
    (`convoscope evaluate NAME --precisions`).
    """
    features = CPUINFO.read_text() if CPUINFO.exists() else ""
    found: list[PrecisionName] = ["float32"]
    if "avx2" in features.split():  # OpenVINO reports int8 on every processor
        found.insert(0, "int8")
    if "BF16" in _CORE.get_property("CPU", properties.device.capabilities):
        found.insert(0 if "amx_bf16" in features else len(found), "bfloat16")
    return tuple(found)


class Engine:
    """A compiled network. It computes one batch at a time on all of its cores, and can hold the next one ready."""

    depth = 2
    """The most batches in progress."""

    def __init__(self, onnx: Graph, *, precision: PrecisionName, threads: int = 0) -> None:
        """Compile `onnx`, a file or its content, for this processor, to use so many `threads`, 0 for all cores.

        For int8, `onnx` says itself what is multiplied in eight bits; the rest is float32.

        Only what leads to `OUTPUTS` is compiled. Raises ArtifactError where OpenVINO cannot read the file, or the graph
        takes no pictures or gives no logits.
        """
        self.precision = precision
        self._compiled = _compiled(onnx, None, precision, threads or processors.usable())
        self.picture, self.labels = _shapes(onnx, self._compiled)
        self.has_typicality = len(self._compiled.outputs) == len(OUTPUTS)
        self._free: LifoQueue[_Request] = LifoQueue()
        for _ in range(self.depth):
            self._free.put(_Request(self._compiled, self._free.put))

    def prepare(self, sizes: Iterable[int]) -> None:
        """Compile the kernels for batches of these sizes, which the first batch of each size would have to wait for.

        Uses an inference request of its own, so it may run at the same time as `submit`.
        """
        request = self._compiled.create_infer_request()
        for size in sizes:
            request.infer([np.zeros((size, *self.picture), np.uint8)], share_inputs=True)

    def submit(self, pictures: Sequence[NDArray[np.uint8]], finish: Finish[Result]) -> "Future[Result]":
        """What `finish` makes of `OUTPUTS` for N pictures, each `picture` uint8, in one of the engine's threads.

        Waits only where `depth` batches are in hand already.
        """
        return self._free.get().submit(pictures, finish)

    def close(self) -> None:
        """Let go of the compiled network at once, or once the batches that run are done. Nothing may follow."""
        with suppress(Empty):
            while True:
                self._free.get_nowait()

    def logits(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unnormalised scores (N, labels) of N pictures, each `picture` uint8. Safe to call from any thread."""
        return self.submit(pictures, lambda logits, _: logits).result()


def _nothing() -> None:
    pass


class _Request:
    """Runs one inference at a time, from a buffer of its own into which pictures are copied once.

    OpenVINO calls back when it is done. A thread that waited for it would have to be woken twice per batch.
    """

    def __init__(self, compiled: ov.CompiledModel, release: "Callable[[_Request], None]") -> None:
        self._request = compiled.create_infer_request()
        self._outputs = len(compiled.outputs)
        itself = weakref.ref(self)  # OpenVINO holds the callback, and no garbage collector sees into it
        self._request.set_callback(lambda _: (found := itself()) and found._finish(), None)
        self._release = release
        self._buffer = np.empty((1, *_dimensions(compiled.inputs[0])[1:]), np.uint8)
        self._finish: Callable[[], None] = _nothing

    def submit(self, pictures: Sequence[NDArray[np.uint8]], finish: Finish[Result]) -> "Future[Result]":
        future: Future[Result] = Future()

        def tell() -> None:
            found = [np.array(self._request.get_output_tensor(i).data) for i in range(self._outputs)]
            _RUNNING.discard(self)
            self._finish = _nothing  # which holds the callers, and they the engine
            self._release(self)
            try:
                future.set_result(finish(found[0], found[1] if len(found) > 1 else None))
            except Exception as error:
                future.set_exception(error)

        try:
            if len(pictures) > len(self._buffer):
                self._buffer = np.empty((len(pictures), *self._buffer.shape[1:]), np.uint8)
            batch = self._buffer[: len(pictures)]
            np.concatenate(pictures, out=batch.reshape(-1, *batch.shape[2:]))  # half the time of `np.stack`
            self._request.set_input_tensor(ov.Tensor(batch, shared_memory=True))
            self._finish = tell
            _RUNNING.add(self)
            self._request.start_async()
        except Exception:
            _RUNNING.discard(self)
            self._release(self)
            raise
        return future


_RUNNING: set[_Request] = set()
"""Those that OpenVINO works on; nobody else may hold them, where every caller has gone."""


class Activations:
    """The outputs of a network's layers, always in float32, so that they can be checked by hand.

    One graph that outputs every layer answers all requests. It costs about a quarter more than the last layer alone,
    but no choice of layers has to be compiled separately. It is compiled at the first request.
    """

    def __init__(self, graph: Callable[[], Graph], layers: Sequence[str], *, threads: int = 0) -> None:
        """`graph` returns the file in float32, or its content; `layers` are the names of all its layers."""
        self._layers = names = tuple(layers)
        self._request = lru_cache(maxsize=1)(
            lambda: _compiled(graph(), names, "float32", threads).create_infer_request()
        )
        self._lock = threading.Lock()

    def __call__(self, picture: NDArray[np.uint8], layers: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Each layer's output for one picture (size, size, channels) uint8: (height, width, channels) or (features,).

        The layer `image` is the picture itself. Safe to call from any thread; one caller is served at a time.
        """
        found = {INPUT: picture.astype(np.float32)}
        computed = [name for name in layers if name != INPUT]
        if computed:
            with self._lock:
                request = self._request()
                request.infer([picture[None]], share_inputs=True)
                outputs = {name: request.get_output_tensor(self._layers.index(name)) for name in computed}
                found |= {name: output.data[0].copy() for name, output in outputs.items()}
        return {name: found[name] for name in layers}


def _shapes(onnx: Graph, compiled: ov.CompiledModel) -> tuple[tuple[int, ...], int]:
    """The shape of one picture, (size, size, channels), and the number of labels. Raises ArtifactError."""
    image, logits = _dimensions(compiled.inputs[0]), _dimensions(compiled.outputs[0])
    kind = compiled.inputs[0].get_element_type().get_type_name()
    if len(compiled.inputs) > 1 or kind != "u8" or len(image) != 4 or image[0] != -1 or min(image[1:]) < 1:
        found = f"{len(compiled.inputs)} inputs, the first {kind} of shape {list(image)}"
        raise ArtifactError(f"{_called(onnx)}: has {found}; expected one, uint8 of shape [-1, size, size, channels]")
    if len(logits) != 2 or logits[1] < 1:
        raise ArtifactError(f"{_called(onnx)}: logits has the shape {list(logits)}; expected [-1, labels]")
    return image[1:], logits[1]


def _dimensions(port: ov.ConstOutput) -> tuple[int, ...]:
    """The shape of an input or output; -1 where it is dynamic."""
    return tuple(d.get_length() if d.is_static else -1 for d in port.get_partial_shape())


def _compiled(onnx: Graph, outputs: Sequence[str] | None, precision: PrecisionName, threads: int) -> ov.CompiledModel:
    """What leads to `outputs`, by default to those of OUTPUTS that the graph has, for one inference at a time.

    Raises ArtifactError.
    """
    try:
        model = _CORE.read_model(onnx)
        if outputs is None:
            has = {name for output in model.outputs for name in output.get_names()}
            outputs = [name for name in OUTPUTS if name in has or name == OUTPUTS[0]]
        model = ov.Model([model.output(name) for name in outputs], model.get_parameters(), _called(onnx))
        settings = {
            properties.num_streams: 1,
            properties.inference_num_threads: threads,
            # A pinned thread waits while the event loop uses its core, and the other threads wait for that one.
            hints.enable_cpu_pinning: False,
            hints.inference_precision: ov.Type.bf16 if precision == "bfloat16" else ov.Type.f32,
        }
        return _CORE.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise ArtifactError(
            f"{_called(onnx)}: OpenVINO cannot load it ({str(error).strip().splitlines()[-1]})"
        ) from error


def _called(onnx: Graph) -> str:
    """What to call it in messages."""
    return str(onnx) if isinstance(onnx, Path) else "model.onnx"


def weights(onnx: Graph) -> dict[str, NDArray[Any]]:
    """The learned kernels and biases, as `<layer>/kernel` and `<layer>/bias`.

    A convolution's kernel is (height, width, channels in, filters) and a dense layer's (features in, features out),
    both float16 where the file keeps them as `<layer>/kernel/half`, else float32; a bias is (filters,) float32.
    """
    found: dict[str, NDArray[Any]] = {}
    for node in _CORE.read_model(onnx).get_ordered_ops():
        name = node.get_friendly_name()
        if node.get_type_name() == "Constant" and name.endswith(("/kernel/half", "/kernel", "/bias")):
            values = np.array(node.data)
            found[name.removesuffix("/half")] = values.transpose(2, 3, 1, 0) if values.ndim == 4 else values
    return found
