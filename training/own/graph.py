"""A graph, computed by the engine that serves it: it is faster than Keras, and what is measured is what is served."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import openvino.properties.hint as hints
from numpy.typing import NDArray

from app.inference import engine


class Graph:
    """What an ONNX graph says of pictures, in float32 or with `quick` in bfloat16 where the processor has AMX."""

    def __init__(self, source: Path | onnx.ModelProto, outputs: tuple[str, ...] = ("logits",), *, quick: bool = False):
        core = ov.Core()
        model = core.read_model(source if isinstance(source, Path) else source.SerializeToString())
        model = ov.Model([model.output(name) for name in outputs], model.get_parameters(), "graph")
        precision = ov.Type.bf16 if quick and engine.precisions()[0] == "bfloat16" else ov.Type.f32
        self._request = core.compile_model(
            model, "CPU", {hints.inference_precision: precision, hints.enable_cpu_pinning: False}
        ).create_infer_request()
        self._outputs = len(outputs)

    def __call__(self, batches: Iterable[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], ...]:
        """The outputs, each (N, ...), for N pictures that come in batches (B, side, side, 3)."""
        found: list[list[NDArray[np.float32]]] = [[] for _ in range(self._outputs)]
        for batch in batches:
            self._request.infer([batch])
            for number, values in enumerate(found):
                values.append(self._request.get_output_tensor(number).data.copy())
        return tuple(np.concatenate(values) for values in found)
