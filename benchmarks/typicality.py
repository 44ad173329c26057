"""Scores of how typical a picture is, from one forward pass, side by side: which tells pictures of other things best?

    python -m benchmarks.typicality [NAME] [--pictures 2000]

Scores are fitted on training pictures and one half of those held out. The table has the area under the ROC curve by
which each tells the other half from each kind of `benchmarks.others`, and the means. Half of that half is disturbed
(`training/disturbances.py`), for noise should not make a picture strange. The photographs by which the served score is
judged (`benchmarks.photographs`), the test pictures and the kinds of `benchmarks.nothing` have no part in it.

Energy: Liu et al. 2020; generalised entropy: Liu et al. 2023; relative Mahalanobis distance: Ren et al. 2021; nearest
neighbours: Sun et al. 2022; residual (ViM's): Wang et al. 2022; the discriminant, and what is served:
`training/release/out_of_distribution.py`.
"a + b" is the sum of both, each over its deviation among held-out pictures.
"""

import argparse
import json
from itertools import combinations
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

import training.models  # noqa: F401 (its layers are registered with Keras)
from benchmarks import others
from benchmarks.photographs import auroc
from training.data import Pictures, find, load_training, split
from training.disturbances import disturb
from training.release import artifact
from training.release.card import table
from training.release.out_of_distribution import classifier, direction, of_length_one, turned_negatives

Values = NDArray[np.float64]
MODELS = Path(__file__).parent.parent / "models"


class Network:
    """The last features (N, C) and the logits (N, 10) of pictures."""

    def __init__(self, folder: Path) -> None:
        model = keras.models.load_model(folder / artifact.CHECKPOINT)
        self._model = keras.Model(model.input, [classifier(model).input, model.get_layer("logits").output])

    def __call__(self, images: NDArray[np.uint8]) -> tuple[Values, Values]:
        features, logits = self._model.predict(images, batch_size=500, verbose=0)
        return features.astype(np.float64), logits.astype(np.float64)


class Scores:
    """Fitted to `training` pictures and to what is typical among `held_out` ones (N, 32, 32, 3)."""

    def __init__(self, network: Network, training: Pictures, held_out: NDArray[np.uint8]) -> None:
        self._network, self._labels = network, training.labels
        self._train, _ = network(training.images)
        negatives, _ = network(turned_negatives(training.images))
        known, _ = network(held_out)
        self._direction = direction(of_length_one(known), of_length_one(negatives))
        self._scales = {name: (values.mean(), values.std()) for name, values in self._single(held_out).items()}

    def __call__(self, images: NDArray[np.uint8]) -> dict[str, Values]:
        """(N,) a score, higher is more typical."""
        found = {
            name: (values - self._scales[name][0]) / self._scales[name][1]
            for name, values in self._single(images).items()
        }
        return found | {f"{one} + {two}": found[one] + found[two] for one, two in combinations(found, 2)}

    def _single(self, images: NDArray[np.uint8]) -> dict[str, Values]:
        features, logits = self._network(images)
        energy = np.logaddexp.reduce(logits, axis=1)
        shares = np.exp(logits - energy[:, None])
        return {
            "energy": energy,
            "largest probability": shares.max(axis=1),
            "generalised entropy": -((shares * (1 - shares)) ** 0.1).sum(axis=1),
            "relative Mahalanobis": relative_mahalanobis(self._train, self._labels, features),
            "50th neighbour": neighbours(self._train, features),
            "residual": residual(self._train, features),
            "discriminant": of_length_one(features) @ self._direction,
        }


def relative_mahalanobis(train: Values, labels: NDArray[np.uint8], asked: Values) -> Values:
    means = np.stack([train[labels == label].mean(axis=0) for label in np.unique(labels)])

    def inverse(rest: Values) -> Values:
        covariance = rest.T @ rest / len(rest)
        return np.linalg.inv(covariance + 0.01 * np.trace(covariance) / len(covariance) * np.eye(len(covariance)))

    within, across = inverse(train - means[labels]), inverse(train - train.mean(axis=0))
    nearest = np.min([np.einsum("ij,jk,ik->i", asked - m, within, asked - m, optimize=True) for m in means], axis=0)
    rest = asked - train.mean(axis=0)
    return np.asarray(np.einsum("ij,jk,ik->i", rest, across, rest, optimize=True) - nearest)


def neighbours(train: Values, asked: Values, k: int = 50) -> Values:
    train, asked = of_length_one(train), of_length_one(asked)
    return np.asarray(np.partition(asked @ train.T, -k, axis=1)[:, -k])


def residual(train: Values, asked: Values, kept: int = 64) -> Values:
    _, axes = np.linalg.eigh(np.cov(train.T))
    return np.asarray(-np.linalg.norm((asked - train.mean(axis=0)) @ axes[:, :-kept], axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="fast")
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--pictures", type=int, default=2000, help="training pictures to fit on")
    options = parser.parse_args()
    folder = options.models / options.name
    size = json.loads((folder / "metadata.json").read_text())["data"]["validation"]
    training, validation = split(load_training(find()), validation=size)
    fitting, asked = np.array_split(validation.images, 2)
    half = len(asked) // 2
    asked = np.concatenate([asked[:half], disturb(asked[half:], 0.7, 0.6, 0.5, np.random.default_rng(0))])
    some = Pictures(training.images[: options.pictures], training.labels[: options.pictures])
    scores = Scores(Network(folder), some, fitting)
    known = scores(asked)
    areas: dict[str, list[float]] = {name: [] for name in known}
    for kind in others.KINDS:
        for name, values in scores(others.draw(kind, 500, fitting)).items():
            areas[name].append(auroc((-known[name]).tolist(), (-values).tolist()))
    best = sorted(areas.items(), key=lambda item: -np.mean(item[1]))
    rows = [(name, *(f"{area:.3f}" for area in found), f"{np.mean(found):.3f}") for name, found in best]
    print(table(("score", *others.KINDS, "mean"), rows))


if __name__ == "__main__":
    main()
