"""Probabilities that mean what they say, from the validation split's logits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities (N, 10) of logits (N, 10) divided by `temperature`."""
    scaled = logits.astype(np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.integer]) -> float:
    """The temperature in [0.05, 20] that makes `labels` (N,) most likely (Guo et al. 2017, section 4.2).

    The likelihood has one optimum in the temperature, so a golden-section search of its logarithm finds it.
    """

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits, np.exp(log_temperature))
        return float(-np.log(probabilities[np.arange(len(labels)), labels].clip(min=1e-300)).mean())

    golden = (5**0.5 - 1) / 2
    low, high = np.log(0.05), np.log(20.0)
    while high - low > 1e-5:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


@dataclass(frozen=True)
class Reliability:
    """Pictures in bins of equal width by confidence, the greatest probability: each field is (bins,).

    `count` pictures, how many of them are `right`, and the sum of their `confidence`, each at most `count`.
    """

    count: NDArray[np.int64]
    right: NDArray[np.float64]
    confidence: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error in [0, 1]: the mean gap between confidence and accuracy of a bin, weighted by
        how many pictures it holds (Naeini et al. 2015)."""
        return float(np.abs(self.right - self.confidence).sum() / self.count.sum())


def reliability(probabilities: NDArray[np.float64], labels: NDArray[np.integer], bins: int = 15) -> Reliability:
    """How often probabilities (N, 10) in [0, 1] are right about labels (N,), by how confident they are."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    chosen = np.minimum((confidence * bins).astype(int), bins - 1)
    return Reliability(
        np.bincount(chosen, minlength=bins),
        np.asarray(np.bincount(chosen, right, bins), np.float64),
        np.asarray(np.bincount(chosen, confidence, bins), np.float64),
    )
