"""Occlusion maps: hide squares of a picture in turn, and see how much probability goes (Zeiler and Fergus 2014)."""

from collections.abc import Sequence

import numpy as np

from app.interpret import attribution
from app.interpret.attribution import Map
from app.interpret.question import Explanation, Patch, Question


async def explain(question: Question) -> Explanation:
    """Hide `grid` x `grid` squares of `size` pixels."""
    grid, size = question.grid, question.size
    side = question.side
    patches = await question.without(attribution.patches(grid, size, side), size)
    how = (
        f"{grid} x {grid} patches of {size} x {size} of the network's {side} x {side} pixels are hidden in turn behind "
        "grey; each pixel shows the mean drop in probability of the patches that cover it"
    )
    return Explanation(mean_drops(patches, side), how, patches)


def mean_drops(patches: Sequence[Patch], side: int) -> Map:
    """Each pixel's mean of the drops in probability that hiding the patches over it causes, 0 under none."""
    total, count = np.zeros((side, side)), np.zeros((side, side))
    for patch in patches:
        top, left = patch.corner
        place = slice(top, top + patch.size), slice(left, left + patch.size)
        total[place] += patch.drop
        count[place] += 1
    return total / np.maximum(count, 1)
