"""Feature maps as the sections of a contact sheet."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.imaging.render import Section
from app.inference.metadata import Layer

Scale = Literal["layer", "map", "all"]
"""What shares one colour scale."""

Map = NDArray[np.float32]
Extremes = tuple[float, float]

ROW = 64
"""Values in a row of the map that a list of features becomes."""


class Chosen(NamedTuple):
    """A layer, its output (height, width, channels) or (features,), and the channels or features to show."""

    layer: Layer
    output: Map
    indices: list[int]

    @property
    def shown(self) -> Map:
        """The output of the chosen channels."""
        return self.output[..., self.indices]


def sections(chosen: Sequence[Chosen], scale: Scale) -> list[Section]:
    """One section per layer."""
    extremes = [_extremes(one.shown) for one in chosen]
    whole = (min(low for low, _ in extremes), max(high for _, high in extremes))
    return [_section(one, whole if scale == "all" else own, scale) for one, own in zip(chosen, extremes, strict=True)]


def _section(chosen: Chosen, shared: Extremes, scale: Scale) -> Section:
    maps, captions = _maps(chosen)
    scales = [_extremes(values) for values in maps] if scale == "map" else [shared] * len(maps)
    if scale == "map":
        captions = [f"{caption}: {low:.2g}..{high:.2g}" for caption, (low, high) in zip(captions, scales, strict=True)]
    layer, (low, high) = chosen.layer, shared
    size = " x ".join(map(str, layer.output_shape))
    return Section(f"{layer.name}  ({layer.kind}, {size})  {low:.3g} to {high:.3g}", captions, maps, scales)


def _maps(chosen: Chosen) -> tuple[list[Map], list[str]]:
    """The maps and their captions; a list of features becomes one map of rows of ROW, padded with the minimum."""
    shown = chosen.shown
    if shown.ndim > 1:
        return list(shown.transpose(2, 0, 1)), [str(index) for index in chosen.indices]
    width = min(ROW, shown.size)
    strip = np.full(-(-shown.size // width) * width, shown.min(), np.float32)
    strip[: shown.size] = shown
    return [strip.reshape(-1, width)], [f"{shown.size} features"]


def _extremes(values: Map) -> Extremes:
    return float(values.min()), float(values.max())
