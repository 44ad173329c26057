"""From what a network says to what a caller wants to know; pure functions over arrays."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, repeat
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from app.inference.metadata import Metadata


class Scores(NamedTuple):
    """What there is to say of one picture, whatever part of it a caller asks for.

    `logits` is (labels,) float32; `probabilities` are calibrated where the network is; `order` is the labels' indices,
    the most probable first; `ood_score` is None for a network that cannot tell.
    """

    logits: NDArray[np.float32]
    probabilities: list[float]
    order: list[int]
    ood_score: float | None
    views: int = 1
    """How many views of the picture they are averaged over."""


def scores(metadata: Metadata, logits: NDArray[np.float32], typicality: NDArray[np.float32] | None) -> list[Scores]:
    """The scores of N pictures with logits (N, labels) and typicality (N,), all at once."""
    rows = probabilities(logits, metadata.temperature)
    orders = (-rows).argsort(axis=1)
    known = metadata.out_of_distribution
    ood: Iterable[float | None] = repeat(None)
    if known and typicality is not None:
        ood = ood_scores(typicality, known.quantiles).tolist()
    return list(map(Scores, logits, rows.tolist(), orders.tolist(), ood))


LEAST_WEIGHT = 0.001
"""Of a view that is less typical than every held-out picture: views that all are so count the same."""


def averaged(views: Sequence[Scores]) -> Scores:
    """The scores of a picture from those of its views: their mean. One view stays as it is.

    For the labels, each view is weighted by how typical it is, 1 - `ood_score`: a part of the picture that is like no
    training picture says little about them. `ood_score` is the plain mean, which such parts have to count in. Views of
    which the network cannot tell how typical they are count the same.
    """
    if len(views) == 1:
        return views[0]
    untypical = [view.ood_score for view in views if view.ood_score is not None]
    weights = np.array([max(1 - score, LEAST_WEIGHT) for score in untypical] or [1.0] * len(views))
    weights /= weights.sum()
    shares = weights @ np.array([view.probabilities for view in views])
    return Scores(
        logits=np.asarray(weights @ np.array([view.logits for view in views]), np.float32),
        probabilities=shares.tolist(),
        order=np.argsort(-shares).tolist(),
        ood_score=float(np.mean(untypical)) if untypical else None,
        views=len(views),
    )


def by_picture(found: Sequence[Scores], views: Sequence[int]) -> list[Scores]:
    """The `averaged` scores of each picture, given its number of `views`, from those of all views in order."""
    ends = list(accumulate(views))
    return [averaged(found[end - count : end]) for end, count in zip(ends, views, strict=True)]


def probabilities(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Calibrated probabilities (N, labels): the softmax of logits (N, labels) / `temperature` (Guo et al. 2017)."""
    scaled = np.divide(logits, temperature, dtype=np.float64)
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def ood_scores(typicality: NDArray[np.float32], quantiles: Sequence[float]) -> NDArray[np.float64]:
    """How untypical each picture is, in [0, 1], from typicality (N,).

    The share of held-out pictures that are more typical, interpolated between `quantiles` of theirs (ascending).
    `training/release/out_of_distribution.py` defines typicality.
    """
    return np.asarray(1 - np.interp(typicality, *_curve(tuple(quantiles))))


@lru_cache(maxsize=16)
def _curve(quantiles: tuple[float, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The quantiles and their shares, from 0 to 1: for one picture, making them takes as long as all of its scores."""
    return np.array(quantiles), np.linspace(0, 1, len(quantiles))


def prediction(scores: Scores, metadata: Metadata, top_k: int) -> dict[str, object]:
    """A `schemas.Prediction`, as plain values; without `views`."""
    labels, shares, known = metadata.labels, scores.probabilities, metadata.out_of_distribution
    top = [{"label": labels[i], "index": i, "probability": shares[i]} for i in scores.order[:top_k]]
    is_ood = scores.ood_score > known.threshold if known and scores.ood_score is not None else None
    return {**top[0], "ood_score": scores.ood_score, "is_ood": is_ood, "top": top}


def document(metadata: Metadata, found: Sequence[Scores], top_k: int, *, views: bool = False) -> bytes:
    """`schemas.Predictions` as JSON: what is said of each picture; with `views`, also from how many views."""
    predictions = [prediction(scores, metadata, top_k) for scores in found]
    if views:
        predictions = [said | {"views": scores.views} for said, scores in zip(predictions, found, strict=True)]
    return orjson.dumps({"model": metadata.name, "version": metadata.version, "predictions": predictions})
