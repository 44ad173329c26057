"""The named masks."""

import numpy as np
import pytest

from app.convolution.convolve import planned
from app.convolution.description import Description
from app.convolution.masks import MASKS

SLOPES = [name for name in MASKS if name.endswith(("_x", "_y"))]


def test_every_mask_asked_for_is_there_with_a_purpose() -> None:
    purposes = {name: mask.purpose.partition(":")[0] for name, mask in MASKS.items()}
    assert purposes == {
        "identity": "none",
        "box_blur": "blur",
        "gaussian_3x3": "blur",
        "gaussian_5x5": "blur",
        "mean_5x5": "noise reduction",
        "sharpen": "sharpen",
        "unsharp": "sharpen",
        "laplacian_4": "edges",
        "laplacian_8": "edges",
        "outline": "edges",
        **dict.fromkeys(SLOPES, "edges"),
        "emboss": "relief",
    }
    assert len(SLOPES) == 6


@pytest.mark.parametrize("name", MASKS)
def test_its_sum_says_what_becomes_of_an_even_picture(name: str) -> None:
    mask = MASKS[name]
    expected = 0 if mask.purpose.startswith("edges") else 1
    assert mask.values.sum() == pytest.approx(expected, abs=1e-12)


def test_its_form_says_whether_a_flip_changes_it() -> None:
    assert {name for name, mask in MASKS.items() if mask.form == "correlation"} == {*SLOPES, "emboss"}


@pytest.mark.parametrize("name", SLOPES)
def test_a_slope_is_positive_under_correlation_where_it_gets_brighter(name: str) -> None:
    ramp = np.tile(np.arange(9.0), (9, 1))
    ramp = ramp if name.endswith("_x") else ramp.T
    mask = MASKS[name].values
    assert planned(ramp, mask, Description("correlation", "valid")).rows().min() > 0
    assert planned(ramp, mask, Description("convolution", "valid")).rows().max() < 0


def test_the_values_are_the_usual_ones() -> None:
    assert MASKS["sobel_x"].values.tolist() == [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    assert MASKS["prewitt_y"].values.tolist() == [[-1, -1, -1], [0, 0, 0], [1, 1, 1]]
    assert MASKS["scharr_x"].values.tolist() == [[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]]
    assert (MASKS["gaussian_5x5"].values * 256)[0].tolist() == [1, 4, 6, 4, 1]
    assert (MASKS["unsharp"].values * 256)[2].tolist() == [-6, -24, 476, -24, -6]
