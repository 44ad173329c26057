"""One compiled network: pictures in, logits or activations out. The only module that knows OpenVINO."""

import os
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from queue import LifoQueue
from typing import Any, Literal, TypeVar

import numpy as np
import openvino as ov
import openvino.properties as properties
import openvino.properties.hint as hints
from numpy.typing import NDArray

from app.errors import ArtifactError
from app.inference.metadata import PrecisionName

Result = TypeVar("Result")

INPUT = "image"
"""The graph's input by name."""

OUTPUTS = ("logits", "typicality")
"""What the graph says of each picture: its labels' scores (N, 10), and how typical it is (N,)."""

Finish = Callable[[NDArray[np.float32], NDArray[np.float32]], Result]
"""What is made of the `OUTPUTS` of a batch."""

CPUINFO = Path("/proc/cpuinfo")

_CORE = ov.Core()


def supported_precision(wanted: Literal["auto"] | PrecisionName, exact: Collection[PrecisionName]) -> PrecisionName:
    """`wanted`, or the next wider one where this processor has not got it; for auto the best that is `exact`.

    OpenVINO would emulate bfloat16, and what eight bits without AVX2 cost nobody has measured.
    """
    has = precisions()
    if wanted == "auto":
        return next(precision for precision in has if precision in exact)
    widening: list[PrecisionName] = ["int8", "bfloat16", "float32"]
    return next(precision for precision in widening[widening.index(wanted) :] if precision in has)


@lru_cache(maxsize=1)
def precisions() -> tuple[PrecisionName, ...]:
    """What this processor has instructions for, best first.

    With a matrix unit (AMX) that is bfloat16, now faster and now slower than int8 but nearer to float32 on photographs;
    without, bfloat16 is slower than float32, and int8 the fastest, also without VNNI (`benchmarks.precision`).
    """
    features = CPUINFO.read_text() if CPUINFO.exists() else ""
    found: list[PrecisionName] = ["float32"]
    if "avx2" in features.split():  # OpenVINO calls itself capable of int8 everywhere
        found.insert(0, "int8")
    if "BF16" in _CORE.get_property("CPU", properties.device.capabilities):
        found.insert(0 if "amx_bf16" in features else len(found), "bfloat16")
    return tuple(found)


class Engine:
    """A compiled network that computes one batch at a time on all of its cores, and has the next one ready."""

    depth = 2
    """Batches in hand at most."""

    def __init__(self, onnx: Path, *, precision: PrecisionName, threads: int = 0) -> None:
        """Compile `onnx` for this processor; `threads` is the number of cores to use, 0 for all.

        For int8, `onnx` says itself what is multiplied in eight bits; the rest is float32.

        Only what leads to `OUTPUTS` is compiled. Raises ArtifactError where OpenVINO cannot read the file.
        """
        self.precision = precision
        self._compiled = _compiled(onnx, OUTPUTS, precision, threads or os.cpu_count() or 1)
        self._free: LifoQueue[_Request] = LifoQueue()
        for _ in range(self.depth):
            self._free.put(_Request(self._compiled, self._free.put))

    def prepare(self, sizes: Iterable[int]) -> None:
        """Make the kernels for batches of these sizes now: the first batch of each size would wait for them.

        Takes none of the engine's requests, so that it may run beside `submit`.
        """
        request = self._compiled.create_infer_request()
        for size in sizes:
            request.infer([np.zeros((size, 32, 32, 3), np.uint8)], share_inputs=True)

    def submit(self, pictures: Sequence[NDArray[np.uint8]], finish: Finish[Result]) -> "Future[Result]":
        """What `finish` makes of `OUTPUTS` for N pictures, each (32, 32, 3) uint8 RGB, in one of the engine's threads.

        Waits only where `depth` batches are in hand already.
        """
        return self._free.get().submit(pictures, finish)

    def logits(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unnormalised scores (N, 10) of N pictures, each (32, 32, 3) uint8 RGB. Safe to call from any thread."""
        return self.submit(pictures, lambda logits, _: logits).result()


class _Request:
    """One inference at a time, from a buffer of its own that pictures are copied into once.

    OpenVINO calls back when it is done: a thread that waits for it would have to be woken, twice for each batch.
    """

    def __init__(self, compiled: ov.CompiledModel, release: "Callable[[_Request], None]") -> None:
        self._request = compiled.create_infer_request()
        self._request.set_callback(lambda _: self._finish(), None)
        self._release = release
        self._buffer = np.empty((1, 32, 32, 3), np.uint8)
        self._finish: Callable[[], None] = lambda: None

    def submit(self, pictures: Sequence[NDArray[np.uint8]], finish: Finish[Result]) -> "Future[Result]":
        future: Future[Result] = Future()

        def tell() -> None:
            logits, typicality = (np.array(self._request.get_output_tensor(i).data) for i in range(len(OUTPUTS)))
            self._release(self)
            try:
                future.set_result(finish(logits, typicality))
            except Exception as error:
                future.set_exception(error)

        try:
            if len(pictures) > len(self._buffer):
                self._buffer = np.empty((len(pictures), 32, 32, 3), np.uint8)
            batch = np.stack(pictures, out=self._buffer[: len(pictures)])
            self._request.set_input_tensor(ov.Tensor(batch, shared_memory=True))
            self._finish = tell
            self._request.start_async()
        except Exception:
            self._release(self)
            raise
        return future


class Activations:
    """The output of any layers of a network, in float32 whatever it is served in, so that it can be checked by hand.

    One graph with every layer's output answers all requests: it costs about a quarter more than the last layer alone,
    and no choice of layers has to be compiled for itself. It is compiled when it is first asked for.
    """

    def __init__(self, graph: Callable[[], Path], layers: Sequence[str], *, threads: int = 0) -> None:
        """`graph` returns the file in float32; `layers` are the names of all its layers."""
        self._layers = tuple(layers)
        self._request = lru_cache(maxsize=1)(
            lambda: _compiled(graph(), self._layers, "float32", threads).create_infer_request()
        )
        self._lock = threading.Lock()

    def __call__(self, picture: NDArray[np.uint8], layers: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Each layer's output for one picture (32, 32, 3) uint8 RGB: (height, width, channels) or (features,).

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


def _compiled(onnx: Path, outputs: Sequence[str], precision: PrecisionName, threads: int) -> ov.CompiledModel:
    """What leads to `outputs` and nothing else, for one inference at a time. Raises ArtifactError."""
    try:
        model = _CORE.read_model(onnx)
        model = ov.Model([model.output(name) for name in outputs], model.get_parameters(), onnx.parent.name)
        settings = {
            properties.num_streams: 1,
            properties.inference_num_threads: threads,
            # A pinned thread waits for its core while the event loop has it, and the others wait for that thread.
            hints.enable_cpu_pinning: False,
            hints.inference_precision: ov.Type.bf16 if precision == "bfloat16" else ov.Type.f32,
        }
        return _CORE.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise ArtifactError(f"{onnx}: OpenVINO cannot load it ({str(error).strip().splitlines()[-1]})") from error


def weights(onnx: Path) -> dict[str, NDArray[Any]]:
    """The learned kernels and biases, as `<layer>/kernel` and `<layer>/bias`.

    A convolution's kernel is (height, width, channels in, filters) and a dense layer's (features in, features out),
    both float16; a bias is (filters,) float32.
    """
    found: dict[str, NDArray[Any]] = {}
    for node in _CORE.read_model(onnx).get_ordered_ops():
        name = node.get_friendly_name()
        if node.get_type_name() == "Constant" and name.endswith(("/kernel/half", "/bias")):
            values = np.array(node.data)
            found[name.removesuffix("/half")] = values.transpose(2, 3, 1, 0) if values.ndim == 4 else values
    return found
