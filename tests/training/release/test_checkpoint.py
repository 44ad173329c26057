"""model.keras in half precision: what it keeps, and that the service's network is the same."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.training.samples import FAST, RANDOM, shaken, vary
from training.recipe import Recipe
from training.release import checkpoint, export
from training.train import build

NETWORKS = pytest.mark.parametrize("recipe", [RANDOM, vary(FAST, width=0.1)], ids=["tutorial", "residual"])


@NETWORKS
def test_the_served_network_is_the_same_to_the_byte(recipe: Recipe, tmp_path: Path) -> None:
    model = shaken(build(recipe))
    whole = export.to_onnx(model).SerializeToString()
    checkpoint.save(model, tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert export.to_onnx(loaded).SerializeToString() == whole


@NETWORKS
def test_only_kernels_are_rounded_and_the_file_has_the_very_weights(recipe: Recipe, tmp_path: Path) -> None:
    model = shaken(build(recipe))
    before = [weight.numpy() for weight in model.weights]
    checkpoint.save(model, tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    rounded = 0
    for old, new, kept in zip(before, model.weights, loaded.weights, strict=True):
        assert np.array_equal(new, kept)
        assert kept.dtype == old.dtype
        assert np.array_equal(kept, old.astype(np.float16) if old.ndim > 1 else old)
        rounded += not np.array_equal(kept, old)
    assert rounded == sum(weight.ndim > 1 for weight in before)


def test_the_file_has_half_the_size(tmp_path: Path) -> None:
    model = build(vary(FAST, width=0.5))
    model.save(tmp_path / "whole.keras")
    checkpoint.save(model, tmp_path / "half.keras")
    half, whole = ((tmp_path / name).stat().st_size for name in ("half.keras", "whole.keras"))
    assert half < 0.53 * whole
