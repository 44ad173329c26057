"""The named masks, as they are usually printed, and the purpose of each. A mask is also called a kernel.

Textbooks and programs print masks the way they are slid over the picture, without a flip: the form of correlation. For
a mask that is its own mirror image (`form` is `symmetric`) that makes no difference. The others (`form` is
`correlation`) serve their purpose under the operation `correlation`; a convolution flips them, which reverses the sign
of Sobel, Prewitt and Scharr, and the direction of the light in emboss.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import NotFound

BINOMIAL = np.array([1, 4, 6, 4, 1])
IDENTITY_5X5 = np.zeros((5, 5))
IDENTITY_5X5[2, 2] = 1


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask (h, w) float64 and its purpose in words."""

    name: str
    purpose: str
    values: NDArray[np.float64]

    @property
    def form(self) -> Literal["symmetric", "correlation"]:
        """`correlation` if it must be slid without a flip to serve its purpose."""
        return "symmetric" if np.array_equal(self.values, self.values[::-1, ::-1]) else "correlation"


def _mask(name: str, purpose: str, values: object) -> Mask:
    return Mask(name, purpose, np.array(values, np.float64))


def _edges(name: str, row: list[int], smoothing: list[int]) -> list[Mask]:
    """A derivative along x, smoothed along y, and its transpose."""
    x = np.outer(smoothing, row)
    return [
        _mask(f"{name}_x", "edges: the slope from left to right, positive where it gets brighter", x),
        _mask(f"{name}_y", "edges: the slope from top to bottom, positive where it gets brighter", x.T),
    ]


MASKS: dict[str, Mask] = {
    mask.name: mask
    for mask in (
        _mask("identity", "none: gives the picture back", [[0, 0, 0], [0, 1, 0], [0, 0, 0]]),
        _mask("box_blur", "blur: the mean of 3x3 pixels", np.full((3, 3), 1 / 9)),
        _mask("gaussian_3x3", "blur: near pixels count more", np.outer([1, 2, 1], [1, 2, 1]) / 16),
        _mask("gaussian_5x5", "blur: near pixels count more, over a wider window", np.outer(BINOMIAL, BINOMIAL) / 256),
        _mask("mean_5x5", "noise reduction: the mean of 5x5 pixels", np.full((5, 5), 1 / 25)),
        _mask("sharpen", "sharpen: adds what differs from the four neighbours", [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
        _mask(
            "unsharp",
            "sharpen: adds what a Gaussian blur of 5x5 takes away (unsharp masking)",
            2 * IDENTITY_5X5 - np.outer(BINOMIAL, BINOMIAL) / 256,
        ),
        _mask("laplacian_4", "edges: the second derivative, from four neighbours", [[0, 1, 0], [1, -4, 1], [0, 1, 0]]),
        _mask("laplacian_8", "edges: the second derivative, from eight neighbours", [[1, 1, 1], [1, -8, 1], [1, 1, 1]]),
        _mask("outline", "edges: bright where a pixel stands out", [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
        *_edges("sobel", [-1, 0, 1], [1, 2, 1]),
        *_edges("prewitt", [-1, 0, 1], [1, 1, 1]),
        *_edges("scharr", [-1, 0, 1], [3, 10, 3]),
        _mask("emboss", "relief: as if lit from the lower right", [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]),
    )
}


def named(name: str) -> NDArray[np.float64]:
    """The values of the mask of that name. Raises NotFound, listing the names there are."""
    if name not in MASKS:
        detail = f"no mask is called {name[:80]!r}; expected one of {', '.join(MASKS)}, or a nested array"
        raise NotFound.about("mask", detail)
    return MASKS[name].values
