"""A network that starts with the weights of another."""

from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.samples import ACCURATE, FAST, TUTORIAL, vary
from training.models import start_from
from training.recipe import Recipe, RecipeError
from training.train import build


def test_a_wider_network_answers_as_the_one_it_started_from(
    cifar10: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    images = cifar10[0][:100]
    narrow, wide = keras.models.load_model("models/fast/model.keras"), build(ACCURATE)
    before = wide.get_weights()
    start_from(Path("models/fast"), wide)
    assert wide.predict(images, verbose=0) == pytest.approx(narrow.predict(images, verbose=0), abs=1e-5)
    for learnt, drawn, variable in zip(narrow.variables, before, wide.variables, strict=True):
        if variable.path.endswith("conv2/kernel"):
            units = learnt.shape[-1]
            assert np.array_equal(variable[..., units:], drawn[..., units:])
            assert np.abs(drawn[..., units:]).max() > 0


def test_a_network_may_go_on_without_the_dropout_it_began_with(tmp_path: Path) -> None:
    begun, wanted = build(TUTORIAL), build(vary(TUTORIAL, dropout=(0.0, 0.0), seed=1))
    begun.save(tmp_path / "model.keras")
    start_from(tmp_path, wanted)
    assert all(np.array_equal(*pair) for pair in zip(begun.get_weights(), wanted.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("begun", "wanted"),
    [
        (ACCURATE, FAST),
        (FAST, TUTORIAL),
        (TUTORIAL, vary(TUTORIAL, filters=(32, 64))),
        (TUTORIAL, vary(TUTORIAL, kernel=(5, 5), padding=("same", "same"))),
    ],
)
def test_a_network_that_cannot_hold_the_earlier_one_is_refused(begun: Recipe, wanted: Recipe, tmp_path: Path) -> None:
    build(begun).save(tmp_path / "model.keras")
    model = build(wanted)
    before = model.get_weights()
    with pytest.raises(
        RecipeError, match=r"start is .*; expected an artifact of the network that the recipe trains, or"
    ):
        start_from(tmp_path, model)
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
