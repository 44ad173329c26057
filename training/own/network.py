"""The network for one's own pictures: `models.residual` at their size, and where its first weights come from."""

from dataclasses import dataclass
from pathlib import Path

import keras

from training import models
from training.models import WHITENING
from training.own.errors import OwnPicturesError
from training.recipe import ResidualNetwork
from training.release import artifact

SHIPPED = Path(__file__).parents[2] / "models"
DEFAULT_START = "fast"
SCRATCH = "scratch"
WIDTH = 1.0
"""Of a network from new weights; that of `fast`."""

SIZES = (32, 64, 96, 128)
"""Pixels along each side of a picture; multiples of SHRUNK."""

SHRUNK = 32
"""Pixels at which a head sees what a shipped network was trained to see."""


@dataclass(frozen=True)
class Start:
    """A trained network to begin with: its folder, the SHA-256 of its weights, and what kind of network it is."""

    folder: Path
    weights: str
    config: ResidualNetwork

    @property
    def name(self) -> str:
        return self.folder.name


def find_start(asked: str | None, places: tuple[Path, ...]) -> Start | None:
    """The network called `asked` in the first of the folders `places` that has it; None for new weights.

    By default it is DEFAULT_START, or new weights where that is nowhere. Raises OwnPicturesError, and ArtifactError for
    a damaged one.
    """
    if asked == SCRATCH:
        return None
    name = asked or DEFAULT_START
    for place in places:
        folder = place / name
        if (folder / artifact.CHECKPOINT).is_file():
            return _start(folder)
    if asked is None:
        return None
    raise OwnPicturesError(f"--from is {asked!r}; expected {SCRATCH}, or a network in {' or '.join(map(str, places))}")


def _start(folder: Path) -> Start:
    metadata = artifact.read(folder, (artifact.CHECKPOINT,))
    recipe = metadata.get("recipe", {})
    if recipe.get("architecture") != "residual":
        raise OwnPicturesError(f"--from is {folder.name!r}; expected a residual network, such as fast or accurate")
    config = ResidualNetwork.model_validate(recipe["network"] | {"soften": 0})  # that was done before its training
    return Start(folder, metadata["files"][artifact.CHECKPOINT], config)


def config_of(start: Start | None) -> ResidualNetwork:
    """The kind of network to train."""
    return start.config if start else ResidualNetwork(width=WIDTH)


def build(start: Start | None, side: int, labels: int, *, shrunk: bool = False) -> keras.Model:
    """The network for pictures of side x side pixels, in the current precision, with the weights of `start` but for
    its head, which is drawn at random; without `start`, all are.

    `shrunk`: it averages pixels until SHRUNK are left along each side.
    """
    model = models.residual(config_of(start), side, labels, shrink=side // SHRUNK if shrunk else 1, bias=True)
    if start:
        trained = keras.models.load_model(start.folder / artifact.CHECKPOINT)
        for layer in trained.layers:
            if layer.weights and layer.name != "head":
                model.get_layer(layer.name).set_weights(layer.get_weights())
        model.get_layer(WHITENING).kernel.trainable = False
    return model


def build_in(precision: str, start: Start | None, side: int, labels: int) -> keras.Model:
    """As `build`, computing in `precision`, a Keras dtype policy's name."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return build(start, side, labels)
    finally:
        keras.config.set_dtype_policy(before)
