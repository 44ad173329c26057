import keras
import numpy as np
import pytest

from training.optim import Muon, orthogonal

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


@pytest.mark.parametrize("shape", [(27, 8), (8, 27), (16, 16)])
def test_a_matrix_becomes_nearly_orthogonal_and_keeps_its_directions(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = keras.ops.convert_to_numpy(orthogonal(keras.ops.convert_to_tensor(matrix), 5, COEFFICIENTS))
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ found @ right.T
    assert np.abs(turned - np.diag(np.diag(turned))).max() < 0.05
    large = np.diag(turned)[values > 0.1 * values.max()]
    assert large.min() > 0.4
    assert large.max() < 1.4


def optimizer(*variables: keras.Variable, nesterov: bool = False) -> Muon:
    made = Muon(0.5, 0.8, 0.2, 3, COEFFICIENTS, nesterov=nesterov)
    made.build(list(variables))
    return made


def test_a_kernel_keeps_its_norm_and_moves_by_its_share_of_the_rate() -> None:
    rng = np.random.default_rng(0)
    kernel = keras.Variable(rng.normal(size=(3, 3, 4, 8)).astype(np.float32))
    gradient = keras.ops.convert_to_tensor(rng.normal(size=(3, 3, 4, 8)).astype(np.float32))
    scaled = kernel.numpy() * (8**0.5 / np.linalg.norm(kernel.numpy()))
    optimizer(kernel).apply([gradient], [kernel])
    expected = keras.ops.convert_to_numpy(orthogonal(keras.ops.reshape(gradient, (36, 8)), 3, COEFFICIENTS)).reshape(
        3, 3, 4, 8
    )
    np.testing.assert_allclose(kernel, scaled - 0.1 * expected, rtol=0, atol=1e-5)


def test_the_size_of_a_kernels_gradient_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    start, gradient = rng.normal(size=(2, 3, 3, 4, 8)).astype(np.float32)
    ends = []
    for size in (1, 1000):
        kernel = keras.Variable(start)
        optimizer(kernel).apply([keras.ops.convert_to_tensor(size * gradient)], [kernel])
        ends.append(kernel.numpy())
    assert ends[0] == pytest.approx(ends[1], abs=2e-3)


@pytest.mark.parametrize("nesterov", [False, True])
def test_everything_else_is_trained_by_gradient_descent(nesterov: bool) -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=(5, 3)).astype(np.float32)
    one, other = keras.Variable(start), keras.Variable(start)
    usual = keras.optimizers.SGD(0.5, 0.8, nesterov)
    usual.build([other])
    muon = optimizer(one, nesterov=nesterov)
    for _ in range(3):
        gradient = keras.ops.convert_to_tensor(rng.normal(size=(5, 3)).astype(np.float32))
        muon.apply([gradient], [one])
        usual.apply([gradient], [other])
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
