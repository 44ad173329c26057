"""The first result: a linear layer on the features that a trained network has of the pictures."""

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
Labels = NDArray[np.int64]

DECAYS = (1e-4, 1e-3, 1e-2)
"""How strongly large weights are held back; the held-out pictures choose."""

UPDATES, BATCH, RATE = 1200, 256, 0.02
SEED = 0


class Head:
    """Logits of features: `weights` (C, labels) and `bias` (labels,)."""

    def __init__(self, weights: Features, bias: Features) -> None:
        self.weights, self.bias = weights, bias

    def logits(self, features: Features) -> Features:
        return np.asarray(features @ self.weights + self.bias)


def fit(
    features: Features,
    labels: Labels,
    importance: Features,
    validation: tuple[Features, Labels],
    updates: int = UPDATES,
) -> Head:
    """The linear layer for features (N, C) of pictures with `labels` (N,), whose losses weigh `importance` (labels,).

    Multinomial logistic regression by Adam (Kingma and Ba 2015) on standardised features, of which the average over the
    last half is kept. Of DECAYS, that with the least loss on the `validation` pictures is chosen.
    """
    count = len(importance)
    heads = [_trained(features, labels, importance, count, decay, updates) for decay in DECAYS]
    return min(heads, key=lambda head: cross_entropy(head.logits(validation[0]), validation[1]))


def cross_entropy(logits: Features, labels: Labels) -> float:
    """The mean loss in nats."""
    return float(np.mean(_log_sums(logits) - logits[np.arange(len(labels)), labels]))


def _log_sums(logits: Features) -> Features:
    largest = logits.max(axis=1)
    return np.asarray(largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1)))


def _trained(features: Features, labels: Labels, importance: Features, count: int, decay: float, updates: int) -> Head:
    rng = np.random.default_rng(SEED)
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-3
    standard = (features - mean) / deviation
    values = np.zeros((features.shape[1] + 1, count), np.float32)  # the last row is the bias
    first, second, kept = np.zeros_like(values), np.zeros_like(values), np.zeros_like(values)
    for update in range(1, updates + 1):
        chosen = rng.integers(0, len(labels), min(BATCH, len(labels)))
        x, y = standard[chosen], labels[chosen]
        logits = x @ values[:-1] + values[-1]
        slopes = np.exp(logits - _log_sums(logits)[:, None])
        slopes[np.arange(len(y)), y] -= 1
        slopes *= importance[y, None] / len(y)
        gradient = np.concatenate([x.T @ slopes + decay * values[:-1], slopes.sum(axis=0, keepdims=True)])
        first += 0.1 * (gradient - first)
        second += 0.01 * (gradient**2 - second)
        step = first / (1 - 0.9**update) / (np.sqrt(second / (1 - 0.99**update)) + 1e-8)
        values -= RATE * (1 - update / (updates + 1)) * step
        if update > updates // 2:
            kept += (values - kept) / (update - updates // 2)
    weights = kept[:-1] / deviation[:, None]
    return Head(weights.astype(np.float32), (kept[-1] - mean @ weights).astype(np.float32))


def cross_fitted(features: Features, labels: Labels, importance: Features, groups: Labels, folds: int = 4) -> Features:
    """For each of N pictures the logits (N, labels) of a head that was fitted without it and what shows the same."""
    fold = np.random.default_rng(SEED).permutation(int(groups.max()) + 1)[groups] % folds
    logits = np.zeros((len(labels), len(importance)), np.float32)
    for number in range(folds):
        rest, held = fold != number, fold == number
        if rest.any() and held.any():
            head = _trained(features[rest], labels[rest], importance, len(importance), DECAYS[1], UPDATES // 3)
            logits[held] = head.logits(features[held])
    return logits


def mirrors_alike(upright: float, mirrored: float) -> bool:
    """Whether a head is as accurate on mirror images, but for a tenth: both accuracies are in [0, 1].

    Where it is not, as with letters, mirror images show other things, and training must not use them.
    """
    return mirrored >= upright - 0.1
