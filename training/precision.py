"""Which arithmetic a network is served in: measured with the service's own engine, decided on the validation split."""

import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.properties as properties
import openvino.properties.hint as hints
from numpy.typing import NDArray

from training.data import Pictures

GRAPHS = {"float32": "model.onnx", "bfloat16": "model.onnx", "int8": "model.int8.onnx"}
"""The file that each precision is computed from; what int8 leaves out of eight bits is float32."""

TOLERANCE = 0.001
"""How much of float32's validation accuracy a faster precision may lose."""

BATCH = 32
"""Pictures; what a busy service computes at a time."""

ROUNDS = 20
"""Inferences of each precision in turn; a median outlives what else the machine does meanwhile."""


def measure(folder: Path, validation: Pictures) -> dict[str, Any]:
    """Compute `validation` in each precision this processor has, from the graphs in `folder`, and choose.

    Gives `chosen`, the fastest with full batches within TOLERANCE of float32, and by precision, in `measured`, the
    validation accuracy in [0, 1], pictures a second in batches of BATCH, and milliseconds for one picture.
    """
    core = ov.Core()
    requests = {name: compiled(core, folder / GRAPHS[name], name) for name in available(core)}
    full, single = validation.images[:BATCH], validation.images[:1]
    batches, singles = _seconds(requests, full), _seconds(requests, single)
    measured = {
        name: {
            "validation": _accuracy(request, validation),
            "pictures_per_second": round(len(full) / batches[name]),
            "milliseconds": round(singles[name] * 1e3, 3),
        }
        for name, request in requests.items()
    }
    return {"chosen": choose(measured), "batch": len(full), "measured": measured}


def choose(measured: dict[str, dict[str, Any]]) -> str:
    """The fastest precision that loses at most TOLERANCE of float32's validation accuracy."""
    least = measured["float32"]["validation"] - TOLERANCE
    exact = [name for name, found in measured.items() if found["validation"] >= least - 1e-9]
    return max(exact, key=lambda name: float(measured[name]["pictures_per_second"]))


def available(core: ov.Core) -> list[str]:
    """The precisions that this processor has instructions for."""
    about = Path("/proc/cpuinfo")
    has = {
        "float32": True,
        "bfloat16": "BF16" in core.get_property("CPU", properties.device.capabilities),
        "int8": about.exists() and "vnni" in about.read_text(),
    }
    return [name for name in GRAPHS if has[name]]


def compiled(core: ov.Core, graph: Path, precision: str) -> ov.InferRequest:
    """A network that ends in logits, ready to compute in `precision` on all cores."""
    model = core.read_model(graph)
    model = ov.Model([model.output("logits")], model.get_parameters(), graph.parent.name)
    settings = {
        properties.num_streams: 1,
        properties.inference_num_threads: os.cpu_count() or 1,
        hints.enable_cpu_pinning: False,
        hints.inference_precision: ov.Type.bf16 if precision == "bfloat16" else ov.Type.f32,
    }
    return core.compile_model(model, "CPU", settings).create_infer_request()


def _seconds(requests: dict[str, ov.InferRequest], images: NDArray[np.uint8]) -> dict[str, float]:
    """Median seconds of one inference of `images`, by precision."""
    took: dict[str, list[float]] = {name: [] for name in requests}
    for request in requests.values():
        request.infer([images])  # the first of a size prepares it
    for _ in range(ROUNDS):
        for name, request in requests.items():
            started = time.perf_counter()
            request.infer([images])
            took[name].append(time.perf_counter() - started)
    return {name: statistics.median(seconds) for name, seconds in took.items()}


def _accuracy(request: ov.InferRequest, pictures: Pictures) -> float:
    return float(np.mean(logits(request, pictures.images).argmax(axis=1) == pictures.labels))


def logits(request: ov.InferRequest, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Unnormalised scores (N, 10) of images (N, 32, 32, 3) uint8."""
    batches = range(0, len(images), BATCH)
    return np.concatenate([request.infer([images[start : start + BATCH]])[0].copy() for start in batches])
