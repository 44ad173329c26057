"""Which precisions a network may be served in, by the service's own engine and the validation split."""

import os
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.properties as properties
import openvino.properties.hint as hints
from numpy.typing import NDArray

from app import processors
from app.inference import engine
from training.data import Pictures

GRAPHS: dict[str, str] = {"float32": "model.onnx", "bfloat16": "model.onnx", "int8": "model.int8.onnx"}
"""The file that each precision is computed from; what int8 leaves out of eight bits is float32."""

TOLERANCE = 0.001
"""How much of float32's validation accuracy another precision may lose."""

Rows = Mapping[str, Mapping[str, Any]]
"""What is measured of each precision."""

BATCH = 32
"""Pictures; what a busy service computes at a time."""

ROUNDS = 20
"""Inferences of each precision in turn; a median outlives what else the machine does meanwhile."""


def measure(folder: Path, validation: Pictures, machine: str, earlier: Rows) -> dict[str, Any]:
    """Compute `validation` in each precision this processor has, from the graphs in `folder`.

    Gives those that are `exact`, within TOLERANCE of float32, and by precision, in `measured`, the validation accuracy
    in [0, 1], the share of answers that are `changed` from float32's, pictures a second in batches of BATCH,
    milliseconds for one picture, and the `machine`. What this processor has no instructions for stays as it was
    measured `earlier`, of the same weights, elsewhere.
    """
    core = ov.Core()
    has: tuple[str, ...] = engine.precisions()
    there = {name: graph for name, graph in GRAPHS.items() if name in has and (folder / graph).exists()}
    requests = {name: compiled(core, folder / graph, name) for name, graph in there.items()}
    full, single = validation.images[:BATCH], validation.images[:1]
    batches, singles = _seconds(requests, full), _seconds(requests, single)
    answers = {name: logits(request, validation.images).argmax(axis=1) for name, request in requests.items()}
    here = {
        name: {
            "validation": float(np.mean(answers[name] == validation.labels)),
            "changed": float(np.mean(answers[name] != answers["float32"])),
            "pictures_per_second": round(len(full) / batches[name]),
            "milliseconds": round(singles[name] * 1e3, 3),
            "machine": machine,
        }
        for name in requests
    }
    rows: dict[str, Mapping[str, Any]] = {**earlier, **here}
    measured = {name: rows[name] for name in GRAPHS if name in rows}
    accuracies = {name: row["validation"] for name, row in measured.items()}
    return {"exact": exact(accuracies), "batch": len(full), "measured": measured}


def exact(accuracies: Mapping[str, float]) -> list[str]:
    """The precisions that lose at most TOLERANCE of float32's validation accuracy."""
    least = accuracies["float32"] - TOLERANCE - 1e-9
    return [name for name, accuracy in accuracies.items() if accuracy >= least]


def compiled(core: ov.Core, graph: Path, precision: str) -> ov.InferRequest:
    """A network that ends in logits, ready to compute in `precision` on as many cores as TensorFlow."""
    model = core.read_model(graph)
    model = ov.Model([model.output("logits")], model.get_parameters(), graph.parent.name)
    settings = {
        properties.num_streams: 1,
        properties.inference_num_threads: int(os.environ.get("TF_NUM_INTRAOP_THREADS", processors.usable())),
        hints.enable_cpu_pinning: False,
        hints.inference_precision: ov.Type.bf16 if precision == "bfloat16" else ov.Type.f32,
    }
    return core.compile_model(model, "CPU", settings).create_infer_request()


def _seconds(requests: Mapping[str, ov.InferRequest], images: NDArray[np.uint8]) -> dict[str, float]:
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


def logits(request: ov.InferRequest, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Unnormalised scores (N, 10) of images (N, 32, 32, 3) uint8."""
    batches = range(0, len(images), BATCH)
    return np.concatenate([request.infer([images[start : start + BATCH]])[0].copy() for start in batches])
