"""The methods of /explain: each answers which parts of a picture speak for a label.

A method asks the network for scores and activations through a `Question`, so it knows neither threads nor HTTP.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInput, one_of
from app.inference.metadata import Layer, Metadata
from app.inference.prediction import Scores
from app.interpret import attribution
from app.interpret.attribution import Map, Pictures

Method = Literal["cam", "occlusion"]

MAX_MASKS = 64
"""Channels that Score-CAM looks through."""

NOTHING = "; nothing in the picture speaks for this label, so the map is 0 everywhere"


@dataclass(frozen=True, slots=True)
class Patch:
    """A hidden square: its top left corner, the label's probability without it, and by how much that is lower."""

    corner: tuple[int, int]
    probability: float
    drop: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A map (side, side) from 0 to 1, how it was made, and for occlusion its patches."""

    heat: Map
    how: str
    patches: Sequence[Patch] | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One picture (size, size, channels) uint8 and one label, and the ways to ask the network about them."""

    metadata: Metadata
    picture: NDArray[np.uint8]
    index: int
    probability: float
    grid: int
    size: int
    max_views: int
    scores: Callable[[Pictures], Awaitable[Sequence[Scores]]]
    activations: Callable[[Sequence[str]], Awaitable[Mapping[str, NDArray[np.float32]]]]
    weights: Callable[[], Awaitable[Mapping[str, NDArray[Any]]]]

    @property
    def side(self) -> int:
        """Pixels along each side of the picture."""
        return self.metadata.input.size

    @property
    def neutral(self) -> NDArray[np.uint8]:
        """The colour (channels,) that hides parts of the picture."""
        return attribution.neutral(self.metadata.input)


def patch_size(metadata: Metadata, size: int | None) -> int:
    """The side of a patch, by default a quarter of the picture's. Raises InvalidInput if it is larger than that."""
    side = metadata.input.size
    if size is not None and size > side:
        raise InvalidInput.about("size", f"size is {size}; expected 1 to {side}, the pixels that {metadata.name} sees")
    return side // 4 if size is None else size


def check_grid(method: Method, grid: int, most: int) -> None:
    """Raises InvalidInput if occlusion with that grid takes more than `most` views."""
    if method == "occlusion" and grid**2 > most:
        detail = f"grid is {grid}, which makes {grid**2} views; expected at most {most} views"
        raise InvalidInput.about("grid", detail)


def label_index(metadata: Metadata, label: str) -> int:
    """The position of a label. Raises InvalidInput, listing the labels there are."""
    if label not in metadata.labels:
        raise InvalidInput.about("label", f"label is {label[:80]!r}; expected {one_of(metadata.labels)}")
    return metadata.labels.index(label)


async def explain(method: Method, question: Question) -> Explanation:
    """The answer of a method, its map scaled to 0 to 1. `how` says so if nothing speaks for the label."""
    found = await METHODS[method](question)
    heat = attribution.normalized(found.heat)
    return replace(found, heat=heat, how=found.how if heat.any() else found.how + NOTHING)


async def _occlusion(question: Question) -> Explanation:
    """Hide squares in turn, and see by how much the label's probability drops."""
    grid, size = question.grid, question.size
    side = question.side
    corners = attribution.patches(grid, size, side)
    scores = await question.scores(attribution.occluded(question.picture, corners, size, question.neutral))
    hidden = [float(found.probabilities[question.index]) for found in scores]
    patches = [Patch(corner, p, question.probability - p) for corner, p in zip(corners, hidden, strict=True)]
    how = (
        f"{grid} x {grid} patches of {size} x {size} of the network's {side} x {side} pixels are hidden in turn behind "
        "grey; each pixel shows the mean drop in probability of the patches that cover it"
    )
    drops = np.array([patch.drop for patch in patches])
    return Explanation(attribution.occlusion(drops, corners, size, side), how, patches)


async def _class_activation(question: Question) -> Explanation:
    """Exact if one dense layer follows a pooling of the whole picture; Score-CAM otherwise."""
    layers = {layer.name: layer for layer in question.metadata.layers}
    pooled = next((layer for layer in layers.values() if len(layer.input_shapes[0]) > len(layer.output_shape)), None)
    features = layers.get(pooled.inputs[0]) if pooled else None
    if not pooled or not features:
        name = question.metadata.name
        detail = f"method is cam, and {name} shows no layer whose maps become a list of features; expected occlusion"
        raise InvalidInput.about("method", detail)
    values = (await question.activations([features.name]))[features.name]
    last = _dense_after(pooled, layers)
    kernel = (await question.weights()).get(f"{last.name}/kernel") if last else None
    if last and kernel is not None:
        weights = kernel[:, question.index].astype(np.float32)
        return _exact(values, weights, features, pooled, last, question.side)
    return await _score_activation(question, values, features, pooled)


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
    heat = attribution.class_activation(values, weights, kind)
    return Explanation(attribution.enlarged(heat, features.receptive_field, side), how)


async def _score_activation(
    question: Question, values: NDArray[np.float32], features: Layer, pooled: Layer
) -> Explanation:
    how = (
        f"not exact, because {pooled.name} does not pool the whole picture: Score-CAM weights the channels of "
        f"{features.name} by the label's score when the picture is shown through each of them"
    )
    field = features.receptive_field
    order, masks = attribution.masks(values, field, min(MAX_MASKS, question.max_views), question.side)
    if not len(order):
        return Explanation(np.zeros(masks.shape[1:]), "no channel differs from place to place")
    scores = await question.scores(attribution.masked(question.picture, masks, question.neutral))
    logits = np.array([found.logits[question.index] for found in scores])
    heat = attribution.score_activation(values[..., order], logits)
    return Explanation(attribution.enlarged(heat, field, question.side), how)


METHODS: dict[Method, Callable[[Question], Awaitable[Explanation]]] = {
    "cam": _class_activation,
    "occlusion": _occlusion,
}
