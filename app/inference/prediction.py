"""From what a network says to what a caller wants to know; pure functions over arrays."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from app.inference.metadata import Metadata


@dataclass(frozen=True, slots=True)
class Scores:
    """What there is to say of one picture, whatever part of it a caller asks for.

    `logits` is (10,) float32; `probabilities` are calibrated; `order` is the labels' indices, the most probable first.
    """

    logits: NDArray[np.float32]
    probabilities: list[float]
    order: list[int]
    ood_score: float


def scores(metadata: Metadata, logits: NDArray[np.float32], typicality: NDArray[np.float32]) -> list[Scores]:
    """The scores of N pictures with logits (N, 10) and typicality (N,), all at once."""
    rows = probabilities(logits, metadata.calibration.temperature)
    ood = ood_scores(typicality, metadata.out_of_distribution.quantiles)
    orders = np.argsort(-rows, axis=1)
    return list(map(Scores, logits, rows.tolist(), orders.tolist(), ood.tolist()))


def probabilities(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Calibrated probabilities (N, 10): the softmax of logits (N, 10) / `temperature` (Guo et al. 2017)."""
    scaled = logits.astype(np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def ood_scores(typicality: NDArray[np.float32], quantiles: list[float]) -> NDArray[np.float64]:
    """How untypical each picture is, in [0, 1], from typicality (N,).

    The share of held-out pictures that are more typical, interpolated between `quantiles` of theirs (ascending).
    `training/release/out_of_distribution.py` defines typicality.
    """
    return np.asarray(1 - np.interp(typicality, quantiles, np.linspace(0, 1, len(quantiles))))


def prediction(scores: Scores, metadata: Metadata, top_k: int) -> dict[str, object]:
    """A `schemas.Prediction`, as plain values."""
    labels, shares = metadata.labels, scores.probabilities
    top = [{"label": labels[i], "index": i, "probability": shares[i]} for i in scores.order[:top_k]]
    is_ood = scores.ood_score > metadata.out_of_distribution.threshold
    return {**top[0], "ood_score": scores.ood_score, "is_ood": is_ood, "top": top}


def document(metadata: Metadata, found: Iterable[Scores], top_k: int) -> bytes:
    """`schemas.Predictions` as JSON: what is said of each picture."""
    predictions = [prediction(scores, metadata, top_k) for scores in found]
    return orjson.dumps({"model": metadata.name, "version": metadata.version, "predictions": predictions})
