"""Which of a layer's feature maps a request means, and statistics of each.

A layer's output for one picture is (height, width, channels), or (features,) after the layer that flattens or pools it;
a feature of such a list is chosen like a channel.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInput
from app.inference.metadata import Layer, Metadata
from app.interpret import layers as architecture
from app.interpret.sheets import Chosen

Output = NDArray[np.float32]


def find(metadata: Metadata, names: Sequence[str]) -> list[Layer]:
    """The layers of those names, each once. Without names, every convolution, or every layer if there is none.

    Raises NotFound.
    """
    names = names or [layer.name for layer in metadata.layers if layer.kind == "convolution"]
    names = names or [layer.name for layer in metadata.layers]
    return architecture.find(metadata, list(dict.fromkeys(names)))


def choose(
    layers: Sequence[Layer], outputs: Mapping[str, Output], channels: Sequence[int], top: int | None
) -> list[Chosen]:
    """The channels to show of each layer, as `select` chooses them. Raises InvalidInput."""
    return [Chosen(layer, output := outputs[layer.name], select(output, layer.name, channels, top)) for layer in layers]


def select(output: Output, layer: str, channels: Sequence[int], top: int | None) -> list[int]:
    """The indices of the wanted channels, all if `channels` is empty; of these, the `top` most active.

    The most active channel has the greatest mean magnitude. Raises InvalidInput for a channel that does not exist.
    """
    count = output.shape[-1]
    if wrong := [channel for channel in channels if not 0 <= channel < count]:
        detail = f"channel is {wrong[0]}; expected 0 to {count - 1}, because {layer} has {count}"
        raise InvalidInput.about("channels", detail)
    chosen = list(dict.fromkeys(channels)) or list(range(count))
    if top is None:
        return chosen
    activity = np.abs(output).reshape(-1, count).mean(axis=0)[chosen]
    return [chosen[i] for i in np.argsort(-activity, kind="stable")[:top]]


def described(output: Output, chosen: Sequence[int], decimals: int) -> list[dict[str, object]]:
    """One `schemas.FeatureMap` per channel, as plain values and arrays; a list of features gives one for all of it.

    Values are rounded to `decimals` decimal places.
    """
    if output.ndim == 1:
        features = output[list(chosen)]
        (about,) = _statistics(features[:, None])
        return [{"channel": None, "units": list(chosen), **about, "values": np.round(features, decimals)}]
    maps = np.ascontiguousarray(output.transpose(2, 0, 1)[list(chosen)])
    statistics = _statistics(maps.reshape(len(maps), -1).T)
    rounded = np.round(maps, decimals)
    return [
        {"channel": channel, **about, "values": values}
        for channel, about, values in zip(chosen, statistics, rounded, strict=True)
    ]


def _statistics(columns: Output) -> list[dict[str, float]]:
    """The statistics of each column of (values, columns)."""
    rows = zip(
        columns.min(axis=0).tolist(),
        columns.max(axis=0).tolist(),
        columns.mean(axis=0, dtype=np.float64).tolist(),
        (columns == 0).mean(axis=0).tolist(),
        strict=True,
    )
    return [dict(zip(("minimum", "maximum", "mean", "zeros"), row, strict=True)) for row in rows]
