"""Pooling against TensorFlow's, on generated cases."""

import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from app.convolution.pool import Pooling, plan
from app.errors import DeadlineExceeded, InvalidInput, TooLarge


def pool(values: NDArray[Any], kind: Any, windows: Any, **limits: Any) -> NDArray[Any]:
    return Pooling(values, kind, windows, **limits).rows()


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.floats(-1e3, 1e3)),
    st.sampled_from(["max", "average"]),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.sampled_from(["valid", "same"]),
)
def test_pooling_is_tensorflows(
    x: NDArray[np.float64], kind: Any, size: tuple[int, int], stride: tuple[int, int], padding: Any
) -> None:
    assume(padding == "same" or all(k <= n for k, n in zip(size, x.shape, strict=True)))
    reference = {"max": tf.nn.max_pool2d, "average": tf.nn.avg_pool2d}[kind]
    expected = reference(tf.constant(x[None, :, :, None]), size, stride, padding.upper()).numpy()[0, :, :, 0]
    pools = plan(x.shape, size, stride, padding)
    found = pool(x, kind, pools)
    assert found.shape == tuple(p.outputs for p in pools)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_one_and_three_dimensions_and_the_size_as_stride() -> None:
    line = np.array([1.0, 5, 2, 8, 3])
    assert pool(line, "max", plan(line.shape)).tolist() == [5, 8]
    assert pool(line, "average", plan(line.shape, 2, padding="same")).tolist() == [3, 5, 3]
    cube = np.arange(64.0).reshape(4, 4, 4)
    assert pool(cube, "max", plan(cube.shape, [4, 2, 1])).shape == (1, 2, 4)


def test_a_picture_is_pooled_channel_by_channel() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    for kind in ("max", "average"):
        found = pool(picture, kind, plan((7, 9), 3, 2))
        assert found.dtype == np.float32
        for channel in range(3):
            alone = pool(picture[..., channel].astype(np.float64), kind, plan((7, 9), 3, 2))
            np.testing.assert_allclose(found[..., channel], alone, rtol=1e-6)


def test_a_missing_value_spoils_its_windows_only() -> None:
    x = np.array([[1.0, 2, 3, 4], [5, np.nan, 7, 8]])
    for kind in ("max", "average"):
        assert np.isnan(pool(x, kind, plan(x.shape))).tolist() == [[True, False]]


def test_the_mean_of_the_largest_numbers_is_one_of_them_though_their_sum_is_none() -> None:
    assert pool(np.full((2, 2), 1e308), "average", plan((2, 2))).tolist() == [[1e308]]
    x = np.array([[1e308, -1e308, 5e-324, 1], [1e308, -1e308, 5e-324, np.nan]])
    assert pool(x, "average", plan(x.shape)).tolist()[0][0] == 0
    assert np.isnan(pool(x, "average", plan(x.shape))[0, 1])
    assert pool(x[:, :3], "average", plan((2, 3), (2, 1))).tolist() == [[1e308, -1e308, 5e-324]]


def test_impossible_windows_are_refused() -> None:
    with pytest.raises(InvalidInput, match="along axis 1 size is 4 and the input has 3 elements"):
        plan((5, 3), 4)
    with pytest.raises(InvalidInput, match="size has 3 values; expected 2 values, one per axis"):
        plan((5, 3), [1, 1, 1])
    with pytest.raises(InvalidInput, match="stride is 0; expected 1 or more"):
        plan((5, 3), 2, 0)
    with pytest.raises(InvalidInput, match="size is 10000000000000000000; expected at most 2147483647"):
        plan((5,), 10**19, 1, "same")
    assert pool(np.array([1.0, 2, 3]), "max", plan((3,), 10**9, padding="same")).tolist() == [3]
    with pytest.raises(TooLarge, match=r"windows of \[30\] over 1000 values cost as much as \d+ multiply-adds"):
        pool(np.zeros(1000), "max", plan((1000,), 30, 1), max_multiply_adds=10_000)


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_large_windows_are_the_definitions_and_cheap(kind: Any, padding: Any) -> None:
    """Each value is looked at a few times, however many windows it is in; band by band as well as whole."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=31_000)
    windows = plan(x.shape, 15_001, 1, padding)
    started = time.process_time()
    found = pool(x, kind, windows)
    assert time.process_time() - started < 2
    starts = np.arange(len(found)) - windows[0].before
    for i in rng.integers(0, len(found), 50):
        seen = x[max(starts[i], 0) : starts[i] + 15_001]
        assert found[i] == pytest.approx(seen.max() if kind == "max" else seen.mean(), rel=1e-9, abs=1e-12)


def test_a_large_picture_is_pooled_in_bands_and_little_memory() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), dtype=np.uint8)
    cases: list[tuple[Any, int, int]] = [("average", 2, 2), ("average", 800, 1), ("max", 800, 1)]
    for kind, size, stride in cases:
        pooling = Pooling(picture, kind, plan((1500, 2000), size, stride))
        tracemalloc.start()
        for (rows,), values in pooling.tiles():
            at = picture[rows.start * stride :][:size, :size].astype(float)
            expected = at.max(axis=(0, 1)) if kind == "max" else at.mean(axis=(0, 1))
            np.testing.assert_allclose(values[0, 0], expected, rtol=1e-5)
        assert tracemalloc.get_traced_memory()[1] < 200e6
        tracemalloc.stop()


def test_pooling_stops_at_a_checkpoint() -> None:
    def checkpoint() -> None:
        raise DeadlineExceeded("late")

    with pytest.raises(DeadlineExceeded):
        Pooling(np.zeros((9, 9)), "max", plan((9, 9))).rows(checkpoint)
