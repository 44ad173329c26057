"""A network that starts with the weights of an earlier one, as wide as itself or narrower."""

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from training.recipe import RecipeError


def start_from(artifact: Path, model: keras.Model) -> None:
    """Give `model` the weights of the network in the folder `artifact`; where it is wider, it answers as that one does.

    Raises RecipeError where it cannot hold that network.
    """
    found = keras.models.load_model(artifact / "model.keras")
    if not _holds(model, found):
        raise RecipeError(
            f"start is {artifact}; expected an artifact of the network that the recipe trains, or of a narrower one "
            "without a flatten layer"
        )
    for weight, learnt in zip(model.weights, found.weights, strict=True):
        weight.assign(_widened(weight.numpy(), learnt.numpy()))


def _holds(wide: keras.Model, narrow: keras.Model) -> bool:
    """Whether `wide` has the layers of `narrow` with at least as many channels.

    Behind a flatten layer, more channels would be other pixels.
    """
    shapes, room = ([weight.shape for weight in model.weights] for model in (narrow, wide))
    if shapes == room:
        return True
    if any(isinstance(layer, keras.layers.Flatten) for layer in wide.layers) or len(shapes) != len(room):
        return False
    pairs = list(zip(shapes, room, strict=True))
    return all(
        len(few) == len(many) and few[:-2] == many[:-2] and np.all(np.less_equal(few, many)) for few, many in pairs
    )


def _widened(drawn: NDArray[np.float32], learnt: NDArray[np.float32]) -> NDArray[np.float32]:
    """`learnt` in the first corner of a wider layer's freshly `drawn` values.

    The layer's last axis is its units. Those it had heed none of the new ones before them, so that they answer as they
    did; the new ones start as they were drawn, after Net2Net (Chen, Goodfellow and Shlens 2016).
    """
    widened = drawn.copy()
    widened[..., : learnt.shape[-1]] = 0
    widened[tuple(map(slice, learnt.shape))] = learnt
    return widened
