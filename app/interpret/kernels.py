"""The kernels that a convolution layer has learned: which of them a request means, and how they are drawn."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInput, TooLarge
from app.imaging.render import Section

Kernels = NDArray[np.floating]
"""(height, width, channels in, filters)."""

MAX_TILES = 4096
"""Kernels on one sheet."""


def one(kernels: Kernels, layer: str, filter: int, channel: int) -> NDArray[np.float64]:
    """One channel of one filter (height, width). Raises InvalidInput if the layer does not have it."""
    (filter,) = chosen("filter", [filter], kernels.shape[3], layer)
    (channel,) = chosen("channel", [channel], kernels.shape[2], layer)
    return kernels[:, :, channel, filter].astype(np.float64)


class Selection(NamedTuple):
    """Some kernels of a layer."""

    layer: str
    learned: Kernels
    """All of the layer's."""
    pairs: Sequence[tuple[int, int]]
    """The filter and the channel of each that is selected."""

    @property
    def size(self) -> int:
        """The number of values in the selected kernels."""
        return len(self.pairs) * self.learned[..., 0, 0].size

    @property
    def values(self) -> NDArray[np.float32]:
        """The selected kernels (n, height, width)."""
        filters, channels = zip(*self.pairs, strict=True)
        return self.learned[:, :, channels, filters].transpose(2, 0, 1).astype(np.float32, order="C")


def select(learned: Kernels, layer: str, filters: Sequence[int], channels: Sequence[int]) -> Selection:
    """The given channels of each given filter, all where none is given. Raises InvalidInput for one out of range."""
    found = chosen("filter", filters, learned.shape[3], layer), chosen("channel", channels, learned.shape[2], layer)
    return Selection(layer, learned, list(itertools.product(*found)))


def chosen(field: str, wanted: Sequence[int], count: int, layer: str) -> list[int]:
    """The wanted indices, each once; all `count` if none is wanted. Raises InvalidInput for one out of range."""
    if wrong := [index for index in wanted if not 0 <= index < count]:
        detail = f"{field} is {wrong[0]}; expected 0 to {count - 1}, because {layer} has {count}"
        raise InvalidInput.about(field, detail)
    return list(dict.fromkeys(wanted or range(count)))


def section(selection: Selection) -> Section:
    """The selected kernels under one colour scale, each with its filter and channel as caption.

    Raises TooLarge for more than MAX_TILES.
    """
    pairs = selection.pairs
    if len(pairs) > MAX_TILES:
        detail = (
            f"{len(pairs)} kernels in one picture; expected at most {MAX_TILES}; ask for fewer with filter or channel"
        )
        raise TooLarge.about("filter", detail)
    values = selection.values
    low, high = float(values.min()), float(values.max())
    title = f"{selection.layer}  ({' x '.join(map(str, selection.learned.shape))})  {low:.3g} to {high:.3g}"
    return Section(title, [f"{f}, {c}" for f, c in pairs], list(values), [(low, high)] * len(pairs))
