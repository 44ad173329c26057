"""What a caller asks of a convolution, and the mask made ready for it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.convolution.windows import Boundary, Operation, Padding
from app.errors import InvalidInput

Weights = NDArray[np.float64]
Missing = Literal["propagate", "ignore", "zero"]
Activation = Literal["none", "relu", "sigmoid", "tanh"]

NEGLIGIBLE = 1e-12
"""A mask's sum below this share of the sum of its magnitudes is rounding error: it counts as 0."""


@dataclass(frozen=True, slots=True)
class Description:
    """One convolution, without its input and mask.

    `missing` says what becomes of an output whose window has a missing value under a weight other than 0: it is
    missing too (`propagate`), the weights of the values that are there are scaled up to the sum of all (`ignore`), or
    the missing value counts as 0 (`zero`). `fill_value` lies beyond the border under the boundary `constant`.
    """

    operation: Operation = "convolution"
    padding: Padding = "same"
    boundary: Boundary = "constant"
    fill_value: float = 0.0
    stride: int | Sequence[int] = 1
    dilation: int | Sequence[int] = 1
    normalize: bool = False
    missing: Missing = "propagate"
    activation: Activation = "none"

    def slid(self, mask: Weights) -> Weights:
        """The mask as it is slid: flipped by a convolution, and divided by its sum where that is asked for.

        Raises InvalidInput if the mask's magnitudes overflow or its sum, to be divided by, is 0.
        """
        weights = mask[(slice(None, None, -1),) * mask.ndim] if self.operation == "convolution" else mask
        total, size = sums(weights)
        if not math.isfinite(size):
            detail = "the mask's magnitudes add up to more than float64 can hold; expected smaller numbers"
            raise InvalidInput.about("mask", detail)
        if not self.normalize:
            return weights
        if abs(total) <= NEGLIGIBLE * size:
            raise InvalidInput.about(
                "normalize", f"the mask's sum is {total:.3g}; expected a sum other than 0 to divide by"
            )
        return weights / total

    def check_missing(self, weights: Weights) -> None:
        """Raises InvalidInput if missing values are to be ignored under weights whose sum is 0."""
        total, size = sums(weights)
        if self.missing == "ignore" and abs(total) <= NEGLIGIBLE * size:
            raise InvalidInput.about(
                "missing", f"the mask's sum is {total:.3g}; expected a sum other than 0 to scale the weights to"
            )


def sums(weights: Weights) -> tuple[float, float]:
    """The sum of the weights and the sum of their magnitudes; infinite where float64 cannot hold it."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(weights.sum()), float(np.abs(weights).sum())


def scale(weights: Weights, present: NDArray[np.float64]) -> NDArray[np.float64]:
    """What makes weights that sum to `present` sum to what all of them do; NaN where they sum to 0."""
    total, size = sums(weights)
    with np.errstate(all="ignore"):
        return np.where(np.abs(present) > NEGLIGIBLE * size, total / present, np.nan)
