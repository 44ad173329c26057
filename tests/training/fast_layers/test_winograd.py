"""Winograd's convolution and its gradients against TensorFlow's own."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from training.fast_layers import winograd

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    if not {"avx2", "fma"} <= set(winograd._processor().split()):
        pytest.skip("this processor has no AVX2")
    if winograd.operations() is None and not os.environ.get("CONVOSCOPE_REQUIRE_ALL"):
        pytest.skip("there is no C++ compiler")
    assert winograd.operations() is not None


@pytest.fixture
def anew() -> Iterator[None]:
    """The operations are looked for again, and once more afterwards."""
    winograd.operations.cache_clear()
    yield
    winograd.operations.cache_clear()


def normal(*shape: int) -> tf.Tensor:
    return tf.constant(RNG.normal(size=shape).astype(np.float32))


def with_gradients(convolve: Any, images: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor) -> tuple[Any, ...]:
    with tf.GradientTape() as tape:
        tape.watch([images, kernel])
        output = convolve(images, kernel)
        loss = tf.reduce_sum(output * upstream)
    return output, *tape.gradient(loss, [images, kernel])


@pytest.mark.parametrize(
    ("images", "filters"),
    [
        pytest.param((2, 4, 4, 32), 32, id="one tile"),
        pytest.param((1, 1, 1, 32), 32, id="one pixel"),
        pytest.param((3, 5, 9, 32), 64, id="tiles beyond the edge, more filters"),
        pytest.param((3, 6, 2, 96), 32, id="more channels"),
        pytest.param((9, 31, 31, 24), 20, id="channels and filters to fill up, many blocks"),
        pytest.param((40, 7, 7, 512), 64, id="the smallest blocks"),
    ],
)
def test_a_convolution_and_its_gradients_are_tensorflows(images: tuple[int, ...], filters: int) -> None:
    values, kernel = normal(*images), normal(3, 3, images[3], filters)
    upstream = normal(*images[:3], filters)
    ours = with_gradients(winograd.convolve, values, kernel, upstream)
    theirs = with_gradients(lambda x, g: tf.nn.conv2d(x, g, 1, "SAME"), values, kernel, upstream)
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-4 * float(tf.math.reduce_std(other)))


def test_no_pictures_give_no_output() -> None:
    assert winograd.convolve(normal(0, 7, 7, 32), normal(3, 3, 32, 32)).shape == (0, 7, 7, 32)


def test_shapes_are_known_in_a_graph() -> None:
    graph = tf.function(winograd.convolve).get_concrete_function(
        tf.TensorSpec((None, 7, 7, 32), tf.float32), tf.TensorSpec((3, 3, 32, 64), tf.float32)
    )
    assert graph.output_shapes == (None, 7, 7, 64)


@pytest.mark.parametrize(("channels", "kernel"), [(32, (3, 3, 32, 40)), (32, (5, 5, 32, 32)), (32, (3, 3, 64, 32))])
def test_the_operations_refuse_what_they_cannot_multiply(channels: int, kernel: tuple[int, ...]) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="kernel: expected 3 x 3"):
        winograd.operations().winograd_convolution(normal(1, 4, 4, channels), normal(*kernel))


@pytest.mark.parametrize("shape", [(1, 4, 4, 40), (1, 8, 4, 32), (2, 4, 4, 32), (1, 3, 4, 32)])
def test_the_gradient_refuses_an_upstream_of_another_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="upstream: expected the size of images"):
        winograd.operations().winograd_kernel_gradient(normal(1, 4, 4, 32), normal(*shape))


def test_they_are_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, anew: None) -> None:
    compiler = tmp_path / "c++"  # a stand-in: the real one takes ten seconds, and the other tests need what it makes
    compiler.write_text('#!/bin/sh\nuntil [ "$1" = -o ]; do shift; done\necho compiled > "$2"\n')
    compiler.chmod(0o700)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tf, "load_op_library", lambda path: path)  # TensorFlow cannot have an operation twice
    library = winograd.operations()
    assert [str(path) for path in (tmp_path / "convoscope").iterdir()] == [library]
    winograd.operations.cache_clear()
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("compiled again"))
    assert winograd.operations() == library


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_compiler_there_are_none(
    compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, anew: None, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", compiler)
    assert winograd.operations() is None
    assert "winograd.cc cannot be compiled, so float32 trains more slowly" in capsys.readouterr().err
    assert list((tmp_path / "convoscope").iterdir()) == []


def test_another_processor_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, anew: None) -> None:
    monkeypatch.setattr(winograd, "PROCESSOR", tmp_path / "nowhere")
    assert winograd.operations() is None
