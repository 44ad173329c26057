"""What a method of /explain is asked, and what it answers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inference.metadata import Metadata
from app.inference.prediction import Scores
from app.interpret import attribution
from app.interpret.attribution import Map, Pictures


@dataclass(frozen=True, slots=True)
class Patch:
    """A hidden square: its top left corner, the label's probability without it, and by how much that is lower."""

    corner: tuple[int, int]
    size: int
    probability: float
    drop: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A map (side, side), how it was made, and for occlusion its patches.

    A method gives values of any range; `explain` scales them to 0 to 1 and adds the hottest patch, unless all are 0.
    """

    heat: Map
    how: str
    patches: Sequence[Patch] | None = None
    hottest: Patch | None = None


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

    async def without(self, corners: Sequence[tuple[int, int]], size: int) -> list[Patch]:
        """What hiding each of the squares of `size` pixels with these top left corners does, one at a time."""
        scores = await self.scores(attribution.occluded(self.picture, corners, size, self.neutral))
        hidden = [float(found.probabilities[self.index]) for found in scores]
        return [Patch(corner, size, p, self.probability - p) for corner, p in zip(corners, hidden, strict=True)]
