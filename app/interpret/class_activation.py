"""Class activation maps: which places of the last feature maps add to a label's score."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInput
from app.inference.metadata import Layer, ReceptiveField
from app.interpret.attribution import Map, Pictures, enlarged
from app.interpret.question import Explanation, Question

MAX_MASKS = 64
"""Channels that Score-CAM looks through."""


async def explain(question: Question) -> Explanation:
    """Exact if one dense layer follows a pooling of the whole picture; Score-CAM otherwise."""
    layers = {layer.name: layer for layer in question.metadata.layers}
    pooled = next((layer for layer in layers.values() if len(layer.input_shapes[0]) > len(layer.output_shape)), None)
    features = layers.get(pooled.inputs[0]) if pooled else None
    if not pooled or not features:
        name = question.metadata.name
        detail = (
            f"method is cam, and {name} shows no layer whose maps become a list of features; expected lime or occlusion"
        )
        raise InvalidInput.about("method", detail)
    values = (await question.activations([features.name]))[features.name]
    last = _dense_after(pooled, layers)
    kernel = (await question.weights()).get(f"{last.name}/kernel") if last else None
    if last and kernel is not None:
        weights = kernel[:, question.index].astype(np.float32)
        return _exact(values, weights, features, pooled, last, question.side)
    how = (
        f"not exact, because {pooled.name} does not pool the whole picture: Score-CAM weights the channels of "
        f"{features.name} by the label's score when the picture is shown through each of them"
    )
    return Explanation(await score_cam(question, values, features.receptive_field), how)


def _dense_after(pooled: Layer, layers: Mapping[str, Layer]) -> Layer | None:
    """The only dense layer, if it follows `pooled` and that pools the whole picture."""
    following = [layer for layer in layers.values() if layer.inputs == [pooled.name]]
    dense = [layer for layer in layers.values() if layer.kind == "dense"]
    return dense[0] if pooled.kind.startswith("global") and following == dense else None


def _exact(
    values: NDArray[np.float32], weights: NDArray[np.float32], features: Layer, pooled: Layer, last: Layer, side: int
) -> Explanation:
    kind: Literal["max", "average"] = "max" if "max" in pooled.kind else "average"
    shown = "where the channel is largest" if kind == "max" else "at every place"
    how = (
        f"exact: the score of the label is the {kind} of each channel of {features.name} times its weight in "
        f"{last.name}, added up; each channel's share is drawn {shown}"
    )
    heat = activation(values, weights, kind)
    return Explanation(enlarged(heat, features.receptive_field, side), how)


async def score_cam(question: Question, features: NDArray[np.float32], field: ReceptiveField | None) -> Map:
    """Score-CAM (Wang et al. 2020) of a picture's (h, w, c) features; 0 if each channel is the same everywhere."""
    order, masks = channel_masks(features, field, min(MAX_MASKS, question.max_views), question.side)
    if not len(order):
        return np.zeros((question.side, question.side))
    scores = await question.scores(masked(question.picture, masks, question.neutral))
    logits = np.array([found.logits[question.index] for found in scores])
    return enlarged(score_activation(features[..., order], logits), field, question.side)


def activation(features: NDArray[np.float32], weights: NDArray[np.float32], pooling: Literal["max", "average"]) -> Map:
    """What each place of (h, w, c) features adds to a score: the sum of `weights` (c,) times the pooled channels.

    Exact: the shares of all places add up to the score without its bias. Under average pooling every value counts (Zhou
    et al. 2016); under max pooling only the largest value of a channel does, and several equal ones share its part.
    """
    if pooling == "average":
        return np.asarray(features @ weights / (features.shape[0] * features.shape[1]), np.float64)
    largest = features.max(axis=(0, 1))
    counts = (features == largest).astype(np.float64)
    return np.asarray(counts / counts.sum(axis=(0, 1)) @ (largest * weights).astype(np.float64))


def channel_masks(
    features: NDArray[np.float32], field: ReceptiveField | None, most: int, side: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For Score-CAM: the `most` most active channels of (h, w, c) features, and a mask of each.

    Masks are (n, side, side), 0 to 1.
    """
    order = np.argsort(-np.abs(features).mean(axis=(0, 1)), kind="stable")[:most]
    order = order[np.ptp(features, axis=(0, 1))[order] > 0]
    shares = [(channel - channel.min()) / np.ptp(channel) for channel in features.transpose(2, 0, 1)[order]]
    return order, np.array([enlarged(share, field, side) for share in shares], np.float32).reshape(-1, side, side)


def masked(picture: NDArray[np.uint8], masks: NDArray[np.float32], colour: NDArray[np.uint8]) -> Pictures:
    """A picture (side, side, channels) seen through each of (n, side, side) masks: `colour` where the mask is 0."""
    shown = colour + masks[..., None] * (picture.astype(np.float32) - colour)
    return np.asarray(shown.round(), np.uint8)


def score_activation(features: NDArray[np.float32], scores: NDArray[np.float32]) -> Map:
    """The sum of (h, w, n) features, weighted by the softmax of their scores (n,), where it is positive."""
    weights = np.exp(scores - scores.max(), dtype=np.float64)
    return np.asarray(np.maximum(features @ (weights / weights.sum()), 0))
