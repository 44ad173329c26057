"""The work that every peer is given, so that they differ in nothing but how they serve it.

It imports only what every environment has: numpy, OpenVINO and Pillow.
"""

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino as ov
import openvino.properties as properties
import openvino.properties.hint as hints
from numpy.typing import NDArray
from PIL import Image

MODEL = Path(__file__).parents[2] / "models" / "fast"
CORES = os.cpu_count() or 1
MAX_BATCH = 32

Answer = dict[str, Any]


def decode(body: bytes) -> NDArray[np.uint8]:
    """A picture's bytes as (32, 32, 3) uint8 RGB."""
    with Image.open(io.BytesIO(body)) as picture:
        plain = picture.convert("RGB")
        return np.asarray(plain if plain.size == (32, 32) else plain.resize((32, 32), Image.Resampling.LANCZOS))


class Classifier:
    """`fast` as Convoscope compiles it: OpenVINO, in the precision set or the fastest that costs at most 0.1 points.

    All processes of a peer together are to use each core once: one process all of them, one a core a single thread.
    """

    def __init__(self, *, threads: int = CORES, streams: int = 1) -> None:
        """Compile for `streams` inferences at a time on `threads` cores, and warm up."""
        core = ov.Core()
        exact = json.loads((MODEL / "metadata.json").read_text())["precision"]["exact"]
        features = Path("/proc/cpuinfo").read_text()
        wanted = os.environ.get("CONVOSCOPE_PRECISION", "auto")
        bfloat16 = wanted == "bfloat16" or (wanted == "auto" and "bfloat16" in exact and "amx_bf16" in features)
        int8 = wanted == "int8" or (wanted == "auto" and not bfloat16 and "int8" in exact and "avx2" in features)
        model = core.read_model(MODEL / ("model.int8.onnx" if int8 else "model.onnx"))
        model = ov.Model([model.output("logits")], model.get_parameters(), "fast")
        settings = {
            properties.num_streams: streams,
            properties.inference_num_threads: threads,
            hints.enable_cpu_pinning: False,
            hints.inference_precision: ov.Type.bf16 if bfloat16 else ov.Type.f32,
        }
        compiled = core.compile_model(model, "CPU", settings)
        self._free: SimpleQueue[ov.InferRequest] = SimpleQueue()
        for _ in range(streams):
            self._free.put(compiled.create_infer_request())
        self._answers = Answers()
        for count in (1, MAX_BATCH) * streams:
            self.logits([np.zeros((32, 32, 3), np.uint8)] * count)

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Answer]:
        """What is said of each picture (32, 32, 3); safe to call from any thread."""
        return self._answers(self.logits(pictures))

    def logits(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Scores (N, 10) of N pictures."""
        request = self._free.get()
        try:
            request.infer([np.stack(pictures)], share_inputs=True)
            return np.array(request.get_output_tensor().data)
        finally:
            self._free.put(request)


class Answers:
    """From logits to the three most probable labels, with calibrated probabilities."""

    def __init__(self) -> None:
        metadata = json.loads((MODEL / "metadata.json").read_text())
        self._labels = metadata["labels"]
        self._temperature = metadata["calibration"]["temperature"]

    def __call__(self, logits: NDArray[np.float32]) -> list[Answer]:
        scaled = logits.astype(np.float64) / self._temperature
        exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        shares = exponentials / exponentials.sum(axis=1, keepdims=True)
        orders = np.argsort(-shares, axis=1)[:, :3]
        return [
            {"top": [{"label": self._labels[i], "probability": row[i]} for i in order]}
            for row, order in zip(shares.tolist(), orders.tolist(), strict=True)
        ]
