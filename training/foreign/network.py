"""What is known of a foreign network once its file has been read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

Layout = Literal["nchw", "nhwc"]
Images = NDArray[np.uint8]
SIDES = range(16, 257)
LARGEST = 1_000_000_000
"""Bytes of a file that is read."""


class ImportFailure(Exception):
    """The network cannot be imported. One line that names the file, the part at fault and what was expected."""


@dataclass(frozen=True)
class Preprocessing:
    """(pixel * scale + offset - mean) / std, pixels from 0 to 255; mean and std have one value, or one per channel."""

    scale: float = 1.0
    offset: float = 0.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def factors(self, channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What each channel is multiplied by and what is added then, both (channels,)."""
        mean, std = (np.broadcast_to(np.array(values, np.float64), channels) for values in (self.mean, self.std))
        return (self.scale / std).astype(np.float32), ((self.offset - mean) / std).astype(np.float32)

    def as_dict(self, layout: Layout) -> dict[str, Any]:
        """As metadata.json tells it to people."""
        mean = [value - self.offset for value in self.mean]
        return {"scale": self.scale, "mean": mean, "std": list(self.std), "layout": layout}


@dataclass(frozen=True)
class Foreign:
    """A network of `size` x `size` pixels with `channels`, rewritten as `proto`: it takes uint8 pictures as `image`.

    Its outputs are `logits` and those of `layers`, as metadata.json has them. `original` gives the probabilities (N,
    labels) of the file itself for pictures (N, size, size, channels).
    """

    proto: onnx.ModelProto
    layers: list[dict[str, Any]]
    size: int
    channels: int
    layout: Layout
    original: Callable[[Images], NDArray[np.float64]]
    renamed: Mapping[str, str] | None = None
