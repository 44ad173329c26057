"""An ONNX file computed as it is: what is served must answer as this does."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino as ov
from numpy.typing import NDArray
from onnx import TensorProto

from training.foreign.network import Images, ImportFailure, Layout, Preprocessing
from training.release.calibrate import softmax


class Original:
    """The file as it is, given preprocessed pictures: what it is compared with. Gives probabilities."""

    def __init__(
        self,
        path: Path,
        model: onnx.ModelProto,
        entry: onnx.ValueInfoProto,
        output: str,
        preprocessing: Preprocessing,
        layout: Layout,
        channels: int,
    ) -> None:
        self._factors, self._layout = preprocessing.factors(channels), layout
        self._floats = entry.type.tensor_type.elem_type == TensorProto.FLOAT
        self._path, self._probabilities = path, False
        core = ov.Core()
        try:
            read = core.read_model(model.SerializeToString())
            read = ov.Model([read.output(output)], read.get_parameters(), "original")
            settings = {"INFERENCE_PRECISION_HINT": "f32"}
            self._request = core.compile_model(read, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1]
            raise ImportFailure(f"{path}: the engine cannot load it ({last:.200})") from error

    def gives_probabilities(self, size: int) -> bool:
        """Whether what comes out for random pictures are probabilities; logits otherwise."""
        channels = len(self._factors[0])
        pictures = np.random.default_rng(0).integers(0, 256, (4, size, size, channels)).astype(np.uint8)
        found = self._raw(pictures)
        self._probabilities = bool((found >= 0).all() and np.allclose(found.sum(axis=1), 1, atol=1e-3))
        return self._probabilities

    def __call__(self, images: Images) -> NDArray[np.float64]:
        found = self._raw(images)
        return found.astype(np.float64) if self._probabilities else softmax(found)

    def _raw(self, images: Images) -> NDArray[np.float32]:
        values: NDArray[Any] = images
        if self._floats:
            values = images * self._factors[0] + self._factors[1]
        if self._layout == "nchw":
            values = values.transpose(0, 3, 1, 2)
        try:
            self._request.infer([np.ascontiguousarray(values)])
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1]
            raise ImportFailure(
                f"{self._path}: cannot answer {len(images)} pictures at once ({last:.200}); expected a free batch size"
            ) from error
        return np.array(self._request.get_output_tensor(0).data)
