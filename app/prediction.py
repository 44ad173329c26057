"""From logits to what a caller wants to know; pure functions over arrays."""

import numpy as np
from numpy.typing import NDArray

from app.schemas import Metadata


def probabilities(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Calibrated probabilities (N, 10): the softmax of logits (N, 10) / `temperature` (Guo et al. 2017)."""
    scaled = logits.astype(np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def ood_scores(logits: NDArray[np.float32], quantiles: list[float]) -> NDArray[np.float64]:
    """How untypical each picture is, in [0, 1], from logits (N, 10).

    Typicality is the energy score, the logarithm of the logits' summed exponentials (Liu et al. 2020). The answer is
    the share of held-out pictures with a higher one, interpolated between `quantiles` of theirs (ascending).
    """
    energies = np.logaddexp.reduce(logits.astype(np.float64), axis=1)
    return np.asarray(1 - np.interp(energies, quantiles, np.linspace(0, 1, len(quantiles))))


def predictions(logits: NDArray[np.float32], metadata: Metadata, top_k: int) -> list[dict[str, object]]:
    """One `schemas.Prediction`, as plain values, for each row of logits (N, 10)."""
    rows = probabilities(logits, metadata.calibration.temperature)
    ood = metadata.out_of_distribution
    scores = ood_scores(logits, ood.quantiles)
    orders = np.argsort(-rows, axis=1)[:, :top_k]
    answer: list[dict[str, object]] = []
    for row, order, score in zip(rows.tolist(), orders.tolist(), scores.tolist(), strict=True):
        top = [{"label": metadata.labels[i], "index": i, "probability": row[i]} for i in order]
        answer.append({**top[0], "ood_score": score, "is_ood": score > ood.threshold, "top": top})
    return answer
