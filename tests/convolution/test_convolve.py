"""Convolution against SciPy, TensorFlow and the definition, on generated cases."""

import math
import time
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage, signal

from app.convolution.convolve import Convolution, planned
from app.convolution.description import Description
from app.convolution.plan import dense, spread, windows
from app.convolution.pool import Pooling
from app.convolution.pool import plan as pooling_plan
from app.convolution.trace import trace
from app.errors import DeadlineExceeded, InvalidInput, TooLarge

Array = NDArray[np.float64]
NUMPYS_NAMES: dict[Any, Any] = {
    "constant": "constant",
    "reflect": "symmetric",
    "mirror": "reflect",
    "nearest": "edge",
    "wrap": "wrap",
}
WAYS = ["direct", "fft", "spread", "windows"]
LONGEST = {1: 40, 2: 12, 3: 6}
IMAGE = np.array([[2.0, 4, 6], [8, 10, 12], [14, 16, 18]])
MASK = np.arange(1.0, 10).reshape(3, 3)


def convolution_of(values: Any, mask: Array, *, absent: Any = None, **options: Any) -> Convolution:
    return planned(values, mask, Description(**options), absent=absent)


def taking(convolution: Convolution, way: Any) -> Convolution:
    """The same convolution, computed in another way."""
    channels, taps = (
        math.prod(convolution.shape[convolution.weights.ndim :]),
        int(np.count_nonzero(convolution.weights)),
    )
    if way == "spread":
        plan = spread(convolution.axes, channels, taps)
    elif way == "windows":
        plan = windows(convolution.axes, channels, taps)
    else:
        plan = dense(convolution.axes, channels, taps, fft=way == "fft")
    return replace(convolution, plan=plan)


def cases(count: int) -> settings:
    """The same `count` generated cases in every run."""
    return settings(max_examples=count, deadline=None, derandomize=True, database=None)


def arrays(rank: int, longest: int) -> st.SearchStrategy[Array]:
    """Numbers from -1000 to 1000, zeros among them; hypothesis chooses the shape and the seed, which is cheap."""

    def filled(shape: tuple[int, ...], seed: int) -> Array:
        rng = np.random.default_rng(seed)
        return np.where(rng.random(shape) < 0.1, 0.0, rng.uniform(-1e3, 1e3, shape))

    return st.builds(filled, st.tuples(*[st.integers(1, longest)] * rank), st.integers(0, 2**32))


def masked(shape: tuple[int, ...]) -> st.SearchStrategy[NDArray[np.bool_]]:
    """Booleans of that shape, few or many of them true."""

    def filled(seed: int, share: float) -> NDArray[np.bool_]:
        return np.asarray(np.random.default_rng(seed).random(shape) < share)

    return st.builds(filled, st.integers(0, 2**32), st.sampled_from([0.05, 0.5, 0.95]))


@st.composite
def operands(draw: st.DrawFn) -> tuple[Array, Array]:
    """An input and a mask of one rank, either of which may be the larger."""
    rank = draw(st.integers(1, 3))
    return draw(arrays(rank, LONGEST[rank])), draw(arrays(rank, LONGEST[rank] // 2 + 2))


def assert_close(found: Array, expected: Array, x: Array, mask: Array) -> None:
    """Within 1e-9 of what the result could be at most, and far closer element by element."""
    assert found.shape == expected.shape
    scale = np.abs(x).max() * np.abs(mask).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13 * scale)


def by_definition(
    x: Array,
    mask: Array,
    operation: str,
    padding: list[tuple[int, int]],
    boundary: str,
    stride: list[int],
    dilation: list[int],
) -> Array:
    """Pad, take every window, multiply, add."""
    flipped = mask[(slice(None, None, -1),) * mask.ndim] if operation == "convolution" else mask
    extent = [(k - 1) * d + 1 for k, d in zip(mask.shape, dilation, strict=True)]
    padded = np.pad(x, padding, mode=NUMPYS_NAMES[boundary])
    windows = sliding_window_view(padded, extent)[tuple(slice(None, None, s) for s in stride)]
    windows = windows[(slice(None),) * x.ndim + tuple(slice(None, None, d) for d in dilation)]
    return np.asarray((windows * flipped).sum(axis=tuple(range(x.ndim, 2 * x.ndim))))


def test_the_tutorials_example_gives_52() -> None:
    convolution = convolution_of(IMAGE, MASK)
    assert convolution.rows().tolist() == [[52, 112, 108], [168, 330, 288], [268, 472, 372]]
    steps: Any = trace(convolution, [0, 0])[0]
    assert steps["sum"] == steps["output"] == 52
    products = steps["products"]
    assert sorted(products[products != 0]) == [10, 10, 16, 16]


@pytest.mark.parametrize(("stride", "size"), [(1, 5), (2, 3), (3, 2)])
def test_the_tutorials_sizes(stride: int, size: int) -> None:
    image = np.arange(25.0).reshape(5, 5)
    assert convolution_of(image, MASK, stride=stride).shape == (size, size)
    assert convolution_of(image, MASK, padding="valid").shape == (3, 3)
    assert convolution_of(image, MASK, padding="full").shape == (7, 7)


@cases(400)
@given(operands(), st.sampled_from(sorted(NUMPYS_NAMES)), st.booleans())
def test_same_is_scipys_ndimage(pair: tuple[Array, Array], boundary: Any, flips: bool) -> None:
    x, mask = pair
    # Where a mask reaches far beyond a small input, SciPy's n-dimensional filters misplace some reflections.
    assume(all(k // 2 <= n for n, k in zip(x.shape, mask.shape, strict=True)))
    assume(boundary != "mirror" or min(x.shape) > 1)
    reference = ndimage.convolve if flips else ndimage.correlate
    operation: Any = "convolution" if flips else "correlation"
    found = convolution_of(x, mask, operation=operation, boundary=boundary).rows()
    assert_close(found, reference(x, mask, mode=boundary), x, mask)


@cases(300)
@given(operands(), st.sampled_from(["full", "valid"]), st.booleans())
def test_full_and_valid_are_scipys_signal(pair: tuple[Array, Array], padding: Any, flips: bool) -> None:
    x, mask = pair
    # With the mask the larger, SciPy's valid swaps the operands; here that is refused.
    assume(padding == "full" or all(k <= n for n, k in zip(x.shape, mask.shape, strict=True)))
    reference = signal.convolve if flips else signal.correlate
    found = convolution_of(x, mask, operation="convolution" if flips else "correlation", padding=padding).rows()
    assert_close(found, reference(x, mask, mode=padding, method="direct"), x, mask)


@cases(500)
@given(operands(), st.data())
def test_padding_stride_and_dilation_are_the_definitions(pair: tuple[Array, Array], data: st.DataObject) -> None:
    x, mask = pair
    operation: Any = data.draw(st.sampled_from(["convolution", "correlation"]))
    boundary: Any = data.draw(st.sampled_from(sorted(NUMPYS_NAMES)))
    axes = range(x.ndim)
    padding = [data.draw(st.tuples(st.integers(0, 9), st.integers(0, 9))) for _ in axes]
    stride = [data.draw(st.integers(1, 6)) for _ in axes]
    dilation = [data.draw(st.integers(1, 6)) for _ in axes]
    extents = [(k - 1) * d + 1 for k, d in zip(mask.shape, dilation, strict=True)]
    fits = all(e <= n + sum(p) for e, n, p in zip(extents, x.shape, padding, strict=True))
    options: Any = {"operation": operation, "boundary": boundary, "stride": stride, "dilation": dilation}
    if not fits:
        with pytest.raises(InvalidInput, match="expected no more than that"):
            convolution_of(x, mask, padding=padding, **options)
        return
    found = convolution_of(x, mask, padding=padding, **options)
    expected = by_definition(x, mask, operation, padding, boundary, stride, dilation)
    assert found.shape == expected.shape
    assert_close(found.rows(), expected, x, mask)
    for way in WAYS:
        assert_close(taking(found, way).rows(), expected, x, mask)
    plan = replace(found.plan, tile=tuple(data.draw(st.integers(1, n)) for n in found.shape))
    assert_close(replace(found, plan=plan).rows(), expected, x, mask)


@cases(200)
@given(arrays(2, 12), arrays(2, 4), st.integers(1, 3), st.integers(1, 3), st.sampled_from(["SAME", "VALID"]))
def test_correlation_is_tensorflows_convolution(
    x: Array, mask: Array, stride: int, dilation: int, padding: Any
) -> None:
    assume(min(stride, dilation) == 1)  # TensorFlow knows one of them at a time
    extents = [(k - 1) * dilation + 1 for k in mask.shape]
    assume(padding == "SAME" or all(e <= n for e, n in zip(extents, x.shape, strict=True)))
    expected = tf.nn.convolution(
        x[None, :, :, None], mask[:, :, None, None], strides=stride, padding=padding, dilations=dilation
    ).numpy()[0, :, :, 0]
    ours: Any = "valid"
    if padding == "SAME":  # TensorFlow pads for the outputs it keeps, not for all of stride 1
        needed = [max((-(-n // stride) - 1) * stride + e - n, 0) for n, e in zip(x.shape, extents, strict=True)]
        ours = [(total // 2, total - total // 2) for total in needed]
    found = convolution_of(x, mask, operation="correlation", padding=ours, stride=stride, dilation=dilation).rows()
    assert_close(found, expected, x, mask)


@pytest.mark.parametrize("shape", [(10_000,), (200, 220), (40, 42, 44)])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_method_changes_nothing(shape: tuple[int, ...], stride: int) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=shape)
    mask = generator.normal(size={1: (1501,), 2: (31, 30), 3: (3, 23, 21)}[len(shape)])
    convolution = convolution_of(x, mask, stride=stride)
    assert convolution.method == "fft"
    by_transform = convolution.rows()
    assert convolution.plan.way == "fft"
    assert_close(by_transform, taking(convolution, "direct").rows(), x, mask)


@pytest.mark.parametrize("spoil", [1e20, 1e200, 1e300, 1e-300])
def test_one_huge_value_drowns_no_other(spoil: float) -> None:
    x, mask = np.full((200, 200), 1.0), np.full((21, 21), 1 / 441)
    x[0, 0] = spoil
    if spoil < 1:
        x *= spoil
    convolution = convolution_of(x, mask)
    assert convolution.method == "direct"
    assert convolution.rows()[100, 100] == pytest.approx(x[100, 100], rel=1e-12)
    assert convolution_of(np.ones((200, 200)), mask).method == "fft"


@pytest.mark.parametrize("way", WAYS)
def test_a_missing_value_spoils_its_windows_only(way: Any) -> None:
    x = np.random.default_rng(0).normal(size=(200, 200)) + 5
    absent = np.zeros(x.shape, np.bool_)
    absent[60, 70] = True
    x[absent] = np.nan
    convolution = convolution_of(x, np.ones((21, 21)), absent=absent)
    convolution = taking(convolution, way)
    missing = np.isnan(convolution.rows())
    expected = np.zeros_like(missing)
    expected[50:71, 60:81] = True
    assert np.array_equal(missing, expected)


@cases(300)
@given(arrays(2, 9), arrays(2, 4), st.data())
def test_missing_values_follow_their_policy(x: Array, mask: Array, data: st.DataObject) -> None:
    absent = data.draw(masked(x.shape))
    mask = np.where(data.draw(masked(mask.shape)), mask, 0.0)
    policy: Any = data.draw(st.sampled_from(["propagate", "ignore", "zero"]))
    boundary: Any = data.draw(st.sampled_from(["constant", "nearest", "wrap"]))
    total = mask.sum()
    assume(policy != "ignore" or abs(total) > 1e-6 * np.abs(mask).sum() > 0)
    convolution = convolution_of(x, mask, operation="correlation", absent=absent, missing=policy, boundary=boundary)
    found = convolution.rows()
    padding = [(axis.before, axis.after) for axis in convolution.axes]
    mode = NUMPYS_NAMES[boundary]
    windows = sliding_window_view(np.pad(np.where(absent, 0, x), padding, mode=mode), mask.shape)
    gone = sliding_window_view(np.pad(absent, padding, mode=mode), mask.shape) & (mask != 0)
    expected = (windows * mask).sum(axis=(2, 3))
    if policy == "propagate":
        expected[gone.any(axis=(2, 3))] = np.nan
    elif policy == "ignore":
        present = np.where(gone, 0, mask).sum(axis=(2, 3))
        assume(not ((np.abs(present) < 1e-6 * np.abs(mask).sum()) & (present != 0)).any())
        with np.errstate(all="ignore"):
            scaled = np.where(present == 0, np.nan, expected * total / present)
        expected = np.where(gone.any(axis=(2, 3)), scaled, expected)
    scale = np.abs(x).max() * np.abs(mask).sum() * 1e6
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13 * scale)
    for at in [(0, 0), (x.shape[0] - 1, x.shape[1] // 2)]:
        steps: Any = trace(convolution, at)[0]
        np.testing.assert_allclose(steps["output"], found[at], rtol=1e-9, atol=1e-13 * scale)


@cases(150)
@given(operands(), st.data())
def test_a_trace_adds_up_to_its_output(pair: tuple[Array, Array], data: st.DataObject) -> None:
    x, mask = pair
    convolution = convolution_of(
        x,
        mask,
        padding="full",
        boundary=data.draw(st.sampled_from(sorted(NUMPYS_NAMES))),
        stride=data.draw(st.integers(1, 3)),
        dilation=data.draw(st.integers(1, 3)),
        fill_value=2.5,
    )
    at = [data.draw(st.integers(0, n - 1)) for n in convolution.shape]
    steps: Any = trace(convolution, at)[0]
    window = steps["window"]
    assert window.shape == mask.shape
    np.testing.assert_allclose(window * convolution.weights, steps["products"])
    assert_close(np.array([steps["output"]]), np.array([convolution.rows()[tuple(at)]]), np.append(x, 2.5), mask)


def test_an_even_masks_centre_is_the_later_middle_element_for_both_operations_and_methods() -> None:
    x = np.zeros((80, 90))
    x[40, 50] = 1.0
    for size in (2, 4, 20):
        mask = np.zeros((size, size))
        mask[size // 2, size // 2] = 1.0
        for operation in ("convolution", "correlation"):
            convolution = convolution_of(x, mask + 0.0, operation=operation)
            for way in WAYS:
                assert taking(convolution, way).rows().argmax() == 40 * 90 + 50


def test_a_picture_is_convolved_channel_by_channel_and_band_by_band() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    for mask in (MASK - 5, np.random.default_rng(1).normal(size=(31, 24))):
        variants: list[tuple[int, Any]] = [(1, "mirror"), (3, "wrap")]
        for stride, boundary in variants:
            convolution = convolution_of(picture, mask, boundary=boundary, stride=stride)
            tiles = list(convolution.tiles())
            assert len(tiles) > 1 or stride > 1
            found = convolution.rows()
            assert found.dtype == np.float32
            assert found.shape == convolution.shape
            for channel in range(3):
                alone = convolution_of(picture[..., channel].astype(np.float64), mask, boundary=boundary, stride=stride)
                np.testing.assert_allclose(
                    found[..., channel], alone.rows(), atol=3e-7 * 255 * np.abs(mask).sum(), rtol=1e-5
                )


@pytest.mark.parametrize("boundary", sorted(NUMPYS_NAMES))
@pytest.mark.parametrize("stride", [1, 7, 100])
def test_tiles_that_lie_wholly_in_the_padding(boundary: Any, stride: int) -> None:
    x = np.arange(1.0, 11)
    convolution = convolution_of(x, np.array([1.0, 2]), padding=30, stride=stride, boundary=boundary)
    expected = by_definition(x, np.array([1.0, 2]), "convolution", [(30, 30)], boundary, [stride], [1])
    assert_close(convolution.rows(), expected, x, np.array([1.0, 2]))
    small = replace(convolution, plan=replace(convolution.plan, tile=(1,)))
    assert_close(small.rows(), expected, x, np.array([1.0, 2]))


def test_a_picture_under_a_padding_higher_than_a_band() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 640, 3), dtype=np.uint8)
    convolution = convolution_of(picture, MASK, padding=600)
    found = convolution.rows()
    assert found.shape == convolution.shape == (1246, 1838, 3)
    np.testing.assert_allclose(
        found[598:648, 598:1240], convolution_of(picture, MASK, padding="full").rows(), rtol=1e-5
    )
    found[598:648, 598:1240] = 0
    assert not found.any()


@pytest.mark.parametrize(("weight", "fill", "normalize"), [(1e-3, 1e39, False), (1e-4, 1e39, True), (1e36, 1e3, False)])
def test_a_picture_under_a_fill_value_too_large_is_refused(weight: float, fill: float, normalize: bool) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    convolution = convolution_of(picture, np.full((3, 3), weight), fill_value=fill, normalize=normalize)
    with pytest.raises(InvalidInput, match="exceeds what float32 can hold"):
        convolution.rows()


def test_a_great_fill_value_does_not_blur_a_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    mask = np.random.default_rng(1).normal(0, 1, (15, 15))
    inside = (slice(20, -20), slice(20, -20))
    found = convolution_of(picture, mask, fill_value=1e15).rows()[inside]
    np.testing.assert_allclose(found, convolution_of(picture, mask).rows()[inside], atol=0.01)
    assert convolution_of(picture, mask).method == "fft"


def test_normalize_divides_by_the_sum_and_refuses_a_sum_of_zero() -> None:
    assert convolution_of(IMAGE, MASK, normalize=True).rows()[1, 1] == pytest.approx(330 / 45)
    with pytest.raises(InvalidInput, match="the mask's sum is"):
        convolution_of(IMAGE, np.array([[0.1, 0.2, -0.3]]), normalize=True)
    absent = np.eye(3, dtype=np.bool_)
    with pytest.raises(InvalidInput, match="the mask's sum is 0"):
        convolution_of(IMAGE, MASK - 5, absent=absent, missing="ignore")


def test_activations() -> None:
    x = np.array([-800.0, -2, 0, 2, 800])
    one = np.ones(1)
    assert convolution_of(x, one, activation="relu").rows().tolist() == [0, 0, 0, 2, 800]
    np.testing.assert_allclose(convolution_of(x, one, activation="tanh").rows(), np.tanh(x))
    sigmoid = convolution_of(x, one, activation="sigmoid").rows()
    np.testing.assert_allclose(sigmoid, [0, 1 / (1 + np.e**2), 0.5, 1 / (1 + np.e**-2), 1])


@pytest.mark.parametrize("way", WAYS)
def test_an_overflow_is_rejected_by_its_place(way: Any) -> None:
    convolution = convolution_of(np.full((4, 4), 1e308), np.ones((8, 8)), padding="full")
    convolution = taking(convolution, way)
    with pytest.raises(InvalidInput, match="exceeds what float64 can hold"):
        convolution.rows()


def test_an_overflow_through_scaling_up_is_refused() -> None:
    x, absent = np.array([1e300, 0, 0]), np.array([False, False, True])
    mask = np.array([1, -0.999999999, 1])
    ignoring = convolution_of(x, mask, operation="correlation", padding="valid", absent=absent, missing="ignore")
    with pytest.raises(InvalidInput, match=r"output \[0\] exceeds what float64 can hold"):
        ignoring.rows()


@pytest.mark.parametrize("option", ["stride", "dilation"])
def test_steps_beyond_any_array_are_refused(option: str) -> None:
    options: Any = {option: 10**19}
    with pytest.raises(InvalidInput, match=f"{option} is 10000000000000000000; expected at most 2147483647"):
        convolution_of(np.ones(3), np.ones(1), **options)
    options = {option: 2**31 - 1}
    assert convolution_of(np.ones(3), np.ones(1), **options).rows().tolist() in ([1], [1, 1, 1])


def test_too_much_is_refused_before_any_of_it_is_done() -> None:
    with pytest.raises(TooLarge, match="1000000000004 elements; expected at most 200000000"):
        convolution_of(np.ones(4), np.ones(1), padding=[[0, 10**12]])
    with pytest.raises(TooLarge, match="need 9000000000000 multiply-adds; expected at most 10000000000"):
        convolution_of(np.zeros((3000, 1000)), np.ones((3000, 1000)), padding="same")


@pytest.mark.parametrize("boundary", ["constant", "wrap"])
@pytest.mark.parametrize(
    ("shape", "mask", "dilation", "stride"),
    [
        ((9,), (3,), [50_000], [3]),
        ((9,), (2,), [100_000], [40_000]),
        ((40, 5), (2, 3), [300, 400], [4, 1]),
        ((7, 8), (3, 2), [20_000, 1], [1, 3]),
        ((4, 3, 5), (2, 2, 2), [60, 50, 80], [25, 1, 60]),
    ],
)
def test_a_dilation_far_beyond_the_input(
    shape: Any, mask: Any, dilation: list[int], stride: list[int], boundary: Any
) -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=shape), rng.normal(size=mask)
    options: Any = {"boundary": boundary, "stride": stride, "dilation": dilation}
    reach = [(k - 1) * d for k, d in zip(mask, dilation, strict=True)]
    for padding in ([(r // 2, r - r // 2) for r in reach], [(r + 2, r) for r in reach]):
        found = convolution_of(x, weights, padding=padding, **options).rows()
        expected = by_definition(x, weights, "convolution", padding, boundary, stride, dilation)
        assert_close(found, expected, x, weights)


WORST: list[dict[str, Any]] = [
    {"mask": np.ones(2), "dilation": 4_000_000, "stride": 4_000_001, "padding": "full"},
    {"mask": np.ones(8001), "dilation": 12_500, "stride": 8001, "padding": [[0, 199_204_399]]},
    {"mask": np.ones((90, 90)), "dilation": [53, 47], "stride": [41, 43], "padding": "full"},
    {"mask": np.ones((2, 2)), "dilation": 10_000, "padding": "same"},
    {"mask": np.ones((1, 1)), "dilation": 1, "padding": [[0, 0], [30_000_000, 0]]},
    {"mask": np.ones((9, 9, 9)), "dilation": [11, 13, 17], "stride": [7, 9, 5], "padding": "full"},
]


@pytest.mark.parametrize("fields", WORST, ids=range(len(WORST)))
def test_work_is_what_is_done_and_not_what_the_steps_suggest(fields: dict[str, Any]) -> None:
    """Not a pass for each of many million phases, and nowhere the padded input as a whole."""
    fields = dict(fields)
    mask = fields.pop("mask")
    x = np.ones((2,) * mask.ndim)
    started = time.process_time()
    tracemalloc.start()
    for _, values in convolution_of(x, mask, **fields).tiles():
        assert values.max() <= x.size
    assert tracemalloc.get_traced_memory()[1] < 250e6
    tracemalloc.stop()
    assert time.process_time() - started < 12


@pytest.mark.parametrize(
    ("shape", "mask", "options"),
    [
        ((1500, 1500), (60, 60), {"missing": "propagate"}),
        ((1000, 1000), (5, 5), {"stride": 97, "dilation": 89, "padding": 4000}),
        ((30, 300, 300), (9, 9, 9), {}),
    ],
)
def test_work_stops_at_a_checkpoint(shape: Any, mask: Any, options: Any) -> None:
    """At each of many moments, a processor's second apart at most, work asks whether it may go on."""
    moments = [time.thread_time()]

    def checkpoint() -> None:
        moments.append(time.thread_time())
        if moments[-1] - moments[0] > 3:
            raise DeadlineExceeded("late")

    x = np.random.default_rng(0).normal(size=shape)
    x.flat[0] = 1e20  # so that the direct method is taken
    with suppress(DeadlineExceeded):
        for _ in convolution_of(x, np.ones(mask), **options).tiles(checkpoint):
            pass
    moments.append(time.thread_time())
    assert len(moments) > 3
    assert max(np.diff(moments)) < 1


@pytest.mark.parametrize(
    ("mask", "options"),
    [
        ((20, 20, 20), {"dilation": [11, 13, 17], "stride": [7, 9, 5], "padding": "full"}),
        ((10, 1000, 50), {"padding": [[900, 9], [0, 998], [100, 98]]}),
    ],
)
def test_passes_and_discarded_rows_count_as_work(mask: Any, options: Any) -> None:
    with pytest.raises(TooLarge, match="multiply-adds; expected at most"):
        convolution_of(np.ones((2, 2, 2)), np.ones(mask), **options)


@pytest.mark.parametrize(
    ("way", "shape", "mask", "options"),
    [
        ("direct", (300, 300), np.ones((5, 5)), {}),
        ("fft", (300, 300), np.ones((200, 200)), {}),
        ("fft", (20, 40, 40), np.ones((20, 40, 40)), {}),
        ("spread", (300, 300), np.ones((3, 3)), {"dilation": 20}),
        ("windows", (3000,), np.ones(3000), {"dilation": 3001, "stride": 2999, "padding": 9_000_000}),
    ],
)
def test_every_way_obeys_a_low_limit(way: str, shape: tuple[int, ...], mask: Array, options: dict[str, Any]) -> None:
    """What reading and copying cost counts too."""
    values = np.random.default_rng(0).random(shape)
    assert planned(values, mask, Description(**options)).plan.way == way
    with pytest.raises(TooLarge, match="multiply-adds; expected at most"):
        planned(values, mask, Description(**options), max_multiply_adds=1_000_000)


def test_a_low_limit_does_not_reject_what_costs_little() -> None:
    assert planned(IMAGE, MASK, max_multiply_adds=1_000).rows()[0, 0] == 52


@pytest.mark.parametrize(("missing", "slides"), [("zero", 1), ("propagate", 2), ("ignore", 3)])
def test_missing_values_cost_another_convolution(missing: Any, slides: int) -> None:
    values, sums = np.random.default_rng(0).random((1000, 1000)), 9_000_000
    limits: dict[str, Any] = {"absent": values > 0.9, "max_multiply_adds": slides * sums}
    planned(values, MASK, Description(missing=missing), **limits)
    with pytest.raises(TooLarge, match=f"need {slides * sums} multiply-adds"):
        planned(values, MASK, Description(missing=missing), **limits | {"max_multiply_adds": slides * sums - 1})


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", ">i2", "u4", ">f2", "f4"])
def test_arrays_of_any_dtype_are_convolved_and_pooled_in_float64(dtype: str) -> None:
    values = (np.random.default_rng(0).random((40, 50)) * 255 - 128).astype("i2").astype(dtype)
    float64 = np.dtype(np.float64)
    for mask in (MASK, np.ones((30, 30))):
        convolution = planned(values, mask, arithmetic=float64)
        assert np.array_equal(convolution.rows(), planned(values.astype(float64), mask).rows())
    kinds: list[Any] = ["max", "average"]
    for kind in kinds:
        found = Pooling(values, kind, pooling_plan((40, 50), 3, 2), arithmetic=float64).rows()
        assert found.dtype == float64
        assert np.array_equal(found, Pooling(values.astype(float64), kind, pooling_plan((40, 50), 3, 2)).rows())
