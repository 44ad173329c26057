"""Networks that are distilled, computed by the engine that serves them."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from app.inference import engine
from training.release import artifact, precision
from training.release.artifact import ArtifactError
from training.release.calibrate import softmax
from training.train import Teacher


def load(folders: Sequence[Path]) -> Teacher:
    """The artifacts in `folders` as one teacher, each in the precision that the service would compute it in here.

    Of a batch's pictures each answers its share, and every second one of these as its mirror image. What is learnt of a
    target is linear in it, so that over the epochs the network learns the mean of them all for the price of one.
    Probabilities are at temperature 1. Raises ArtifactError where there is no artifact, or it is damaged.
    """
    views = list(product(map(_load, folders), (1, -1)))

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        answers = np.empty((len(images), 10), np.float32)
        for turn, (network, columns) in enumerate(views[: len(images)]):
            share = slice(turn, None, len(views))
            answers[share] = network(np.ascontiguousarray(images[share, :, ::columns]))
        return answers

    return answer


def _load(folder: Path) -> Teacher:
    core = ov.Core()
    try:
        exact = artifact.read(folder, ())["precision"]["exact"]
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{folder / 'metadata.json'}: damaged (no {error})") from error
    chosen = next((name for name in engine.precisions() if name in exact), "float32")
    artifact.read(folder, (precision.GRAPHS[chosen],))
    request = precision.compiled(core, folder / precision.GRAPHS[chosen], chosen)
    return lambda images: softmax(precision.logits(request, images)).astype(np.float32)
