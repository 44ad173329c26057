"""LIME: a linear model of what hiding random parts of one picture does to a label (Ribeiro et al. 2016).

The parts are smooth blobs that hide half of the picture, like the masks of RISE (Petsiuk et al. 2018); each mask is
followed by its opposite, as KernelSHAP pairs its coalitions (Covert and Lee 2021). The model is a ridge regression on
pixels whose weights are expected to be alike for neighbours: their covariance is a Gaussian of the distance. As the
masks are the same for every picture, solving it is one product of a matrix with the probabilities.

The widths and the ridge are those that hid and showed the most on held-out training pictures of CIFAR-10.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.inference.metadata import Metadata
from app.interpret import attribution
from app.interpret.attribution import Pictures
from app.interpret.question import Explanation, Question

CELLS = 32
"""Along each side of a mask, whatever the picture's size."""

MASKS = 128
MOST_MULTIPLY_ADDS = 128_000_000_000
"""For one map: a network that computes much is asked about fewer masks, but at least about `FEWEST`."""
FEWEST = 32

BLOB = 4.0
"""The standard deviation, in cells, of the Gaussian that blurs noise into blobs."""
REACH = 3.0
"""The distance in cells at which two weights' covariance has fallen to 61 %."""
RIDGE = 1.0
"""The variance of a probability that no linear model explains, in units of that which the model expects to explain."""

BATCH = 64
"""Masked pictures in memory at a time."""


class Plan(NamedTuple):
    """What is the same for every picture."""

    shown: NDArray[np.bool_]
    """(masks, CELLS, CELLS): what each mask leaves of the picture."""
    weights: NDArray[np.float64]
    """(CELLS * CELLS, masks): times the probabilities under the masks, the weight of each cell."""


async def explain(question: Question) -> Explanation:
    """How much more probable the label is where a pixel is shown."""
    count, side = masks_for(question.metadata), question.side
    shown, weights = plan(count)
    probabilities: list[float] = []
    step = min(BATCH, question.max_views)
    for start in range(0, count, step):
        views = behind(question.picture, shown[start : start + step], question.neutral)
        probabilities += [scored.probabilities[question.index] for scored in await question.scores(views)]
    changes = np.array(probabilities) - probabilities[0]  # exactly 0 where no mask changes anything
    heat = (weights @ changes).reshape(CELLS, CELLS)
    how = (
        f"LIME: {count} random masks each hide half of the network's {side} x {side} pixels behind grey; each pixel "
        "shows its weight in a smooth linear model of how probable the label is behind them"
    )
    return Explanation(attribution.enlarged(heat, None, side), how)


def masks_for(metadata: Metadata) -> int:
    """How many masks a network is asked about."""
    return min(MASKS, max(FEWEST, MOST_MULTIPLY_ADDS // max(1, metadata.multiply_adds)))


@lru_cache(maxsize=4)
def plan(count: int) -> Plan:
    """The first `count` masks, and the regression on them."""
    shown = masks(count)
    rows = shown.reshape(count, -1) - shown.reshape(count, -1).mean(axis=0)
    near = _gaussian(CELLS, CELLS, REACH)
    spread = (near @ rows.reshape(count, CELLS, CELLS) @ near).reshape(count, -1)  # rows times the weights' covariance
    expected = spread @ rows.T
    ridge = RIDGE * np.trace(expected) / count * np.eye(count)
    solved = np.linalg.solve(expected + ridge, np.eye(count) - 1 / count)  # which centres the probabilities
    return Plan(shown, spread.T @ solved)


def masks(count: int) -> NDArray[np.bool_]:
    """Masks (count, CELLS, CELLS), each of which shows half of the cells, in pairs of opposites."""
    noise = np.random.default_rng(0).standard_normal((-(-count // 2), 2 * CELLS, 2 * CELLS))
    blur = _gaussian(CELLS, 2 * CELLS, BLOB)  # of more noise than is kept, so that edges are like the middle
    blurred = blur @ noise @ blur.T
    shown = blurred > np.median(blurred, axis=(1, 2), keepdims=True)
    return np.stack([shown, ~shown], axis=1).reshape(-1, CELLS, CELLS)[:count]


def behind(picture: NDArray[np.uint8], shown: NDArray[np.bool_], colour: NDArray[np.uint8]) -> Pictures:
    """Copies of a picture (side, side, channels), with `colour` where each of (n, CELLS, CELLS) masks hides it."""
    side = len(picture)
    cells = np.arange(side) * CELLS // side
    return np.where(shown[:, cells][:, :, cells, None], picture, colour)


def _gaussian(count: int, others: int, deviation: float) -> NDArray[np.float64]:
    """(count, others): a Gaussian of the distances between two rows of cells around the same middle, 1 at 0."""
    places, around = (np.arange(n) - (n - 1) / 2 for n in (count, others))
    return np.asarray(np.exp(-((places[:, None] - around) ** 2) / (2 * deviation**2)))
