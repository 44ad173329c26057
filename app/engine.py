"""One compiled network: pictures in, logits out. The only module that knows OpenVINO."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import openvino as ov
import openvino.properties as properties
import openvino.properties.hint as hints
from numpy.typing import NDArray

from app.errors import ArtifactError

Precision = Literal["float32", "bfloat16"]

_CORE = ov.Core()


def supported_precision(wanted: Literal["auto", "float32", "bfloat16"]) -> Precision:
    """`wanted`, but float32 where this processor has no bfloat16 arithmetic: emulating it would be slower."""
    has_bfloat16 = "BF16" in _CORE.get_property("CPU", properties.device.capabilities)
    return "float32" if wanted == "float32" or not has_bfloat16 else "bfloat16"


class Engine:
    """A compiled network. Thread-safe only in that one thread at a time may call it; the batcher sees to that."""

    def __init__(self, onnx: Path, *, precision: Precision, threads: int = 0) -> None:
        """Compile `onnx` for this processor; `threads` is the number of cores to use, 0 for all.

        Only what leads to the logits is compiled. Raises ArtifactError where OpenVINO cannot read the file.
        """
        self.precision = precision
        try:
            model = _CORE.read_model(onnx)
            model = ov.Model([model.output("logits")], model.get_parameters(), onnx.parent.name)
            compiled = _CORE.compile_model(
                model,
                "CPU",
                {
                    hints.performance_mode: hints.PerformanceMode.LATENCY,
                    hints.inference_precision: ov.Type.bf16 if precision == "bfloat16" else ov.Type.f32,
                    properties.inference_num_threads: threads,
                },
            )
        except RuntimeError as error:
            raise ArtifactError(f"{onnx}: OpenVINO cannot load it ({str(error).strip().splitlines()[-1]})") from error
        self._request = compiled.create_infer_request()

    def logits(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Unnormalised scores, (10,) each, of N pictures, each (32, 32, 3) uint8 RGB."""
        self._request.infer([np.stack(pictures)], share_inputs=True)
        return list(self._request.get_output_tensor().data.copy())


def kernels(onnx: Path) -> dict[str, NDArray[np.float16]]:
    """The learned kernels of every convolution, by the layer's name: (height, width, channels in, filters)."""
    constants = (node for node in _CORE.read_model(onnx).get_ordered_ops() if node.get_type_name() == "Constant")
    named = {node.get_friendly_name(): node for node in constants if len(node.output(0).shape) == 4}
    suffix = "/kernel/half"  # as `training` names them
    return {
        name.removesuffix(suffix): node.data.transpose(2, 3, 1, 0).copy()
        for name, node in named.items()
        if name.endswith(suffix)
    }
