"""Scores of how typical a picture is, from one forward pass, side by side: which tells `other` photographs best?

    python -m benchmarks.typicality FOLDER [--model models/fast] [--pictures 4000]

FOLDER is that of `benchmarks.photographs`. Every score is fitted without the photographs and measured on them: the area
under the ROC curve, and the 90 % bootstrap interval of what it is above the energy score's (Liu et al. 2020).
Nearest neighbours: Sun et al. 2022; relative Mahalanobis distance: Ren et al. 2021; generalised entropy: Liu et al.
2023; residual (ViM's): Wang et al. 2022; discriminant, from three kinds of disturbed training pictures: that of
`training/release/out_of_distribution.py`, served from turned negatives and `pool`. Features are those of layers that
pool, and channel maxima of activations.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app import imaging
from app.inference.artifact import Place, read
from app.inference.engine import Activations
from benchmarks.photographs import auroc
from training.data import find, load_training, split
from training.release.out_of_distribution import direction, of_length_one, turned_negatives

Values = NDArray[np.float64]
RESAMPLES = 500


def features(network: Activations, pictures: list[NDArray[np.uint8]], layers: list[str]) -> dict[str, Values]:
    """Each layer's (N, channels), a map by its channels' maxima."""
    rows = [network(picture, layers) for picture in pictures]
    return {
        name: np.array([row[name].max(axis=(0, 1)) if row[name].ndim == 3 else row[name] for row in rows], np.float64)
        for name in layers
    }


def relative_mahalanobis(train: Values, labels: NDArray[np.uint8], asked: Values) -> Values:
    """Higher is more typical."""
    means = np.stack([train[labels == label].mean(axis=0) for label in np.unique(labels)])

    def inverse(rest: Values) -> Values:
        covariance = rest.T @ rest / len(rest)
        return np.linalg.inv(covariance + 0.01 * np.trace(covariance) / len(covariance) * np.eye(len(covariance)))

    within, across = inverse(train - means[labels]), inverse(train - train.mean(axis=0))
    nearest = np.min([np.einsum("ij,jk,ik->i", asked - m, within, asked - m) for m in means], axis=0)
    rest = asked - train.mean(axis=0)
    return np.asarray(np.einsum("ij,jk,ik->i", rest, across, rest) - nearest)


def neighbours(train: Values, asked: Values, k: int = 50) -> Values:
    train, asked = of_length_one(train), of_length_one(asked)
    return np.asarray(np.partition(asked @ train.T, -k, axis=1)[:, -k])


def residual(train: Values, asked: Values, kept: int = 64) -> Values:
    _, axes = np.linalg.eigh(np.cov(train.T))
    return np.asarray(-np.linalg.norm((asked - train.mean(axis=0)) @ axes[:, :-kept], axis=1))


def discriminant(held: Values, disturbed: Values, asked: Values) -> Values:
    return of_length_one(asked) @ direction(of_length_one(held), of_length_one(disturbed))


def scores(
    train: dict[str, Values],
    labels: NDArray[np.uint8],
    held: dict[str, Values],
    disturbed: dict[str, dict[str, Values]],
    asked: dict[str, Values],
) -> dict[str, Values]:
    """(N,) a score, higher is more typical; the energy is first."""
    logits = asked["logits"]
    energy = np.logaddexp.reduce(logits, axis=1)
    shares = np.exp(logits - energy[:, None])
    found = {
        "energy": energy,
        "largest logit": logits.max(axis=1),
        "largest probability": shares.max(axis=1),
        "generalised entropy": -((shares * (1 - shares)) ** 0.1).sum(axis=1),
    }
    for name in train:
        found[f"relative Mahalanobis, {name}"] = relative_mahalanobis(train[name], labels, asked[name])
        found[f"50th neighbour, {name}"] = neighbours(train[name], asked[name])
        if train[name].shape[1] > 100:
            found[f"residual, {name}"] = residual(train[name], asked[name])
        if name != "logits":
            for kind, rest in disturbed.items():
                found[f"discriminant, {kind}, {name}"] = discriminant(held[name], rest[name], asked[name])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, default=Path("models/fast"))
    parser.add_argument("--pictures", type=int, default=4000, help="training and held-out pictures to fit on, each")
    options = parser.parse_args()
    artifact = read(options.model.parent, Place(options.model.name))
    names = [layer.name for layer in artifact.metadata.layers]
    layers = ["logits", *(name for name in names if name == "pool" or name.endswith(("_act1", "_act3")))]
    network = Activations(artifact.graph, list(dict.fromkeys(["logits", *names])), threads=1)
    held_out = json.loads((options.model / "metadata.json").read_text())["data"]["validation"]
    training, validation = split(load_training(find()), validation=held_out)
    pictures, labels = training.images[: options.pictures], training.labels[: options.pictures]
    negatives = turned_negatives(pictures)
    disturbed = {"negatives": 255 - pictures, "turned": 255 - negatives, "turned negatives": negatives}
    train = features(network, list(pictures), layers)
    held = features(network, list(validation.images[: options.pictures]), layers)
    others = {kind: features(network, list(images), layers) for kind, images in disturbed.items()}
    paths = sorted(options.folder.glob("*/*"))
    asked = features(network, [imaging.thumbnail(path.read_bytes(), artifact.metadata.input) for path in paths], layers)
    other = np.array([path.parent.name == "other" for path in paths])
    rng = np.random.default_rng(0)
    draws = [[rng.choice(np.flatnonzero(part), part.sum()) for part in (~other, other)] for _ in range(RESAMPLES)]
    energies: list[float] = []
    for name, typical in scores(train, labels, held, others, asked).items():
        areas = [auroc((-typical[known]).tolist(), (-typical[unknown]).tolist()) for known, unknown in draws]
        energies = energies or areas
        low, high = np.quantile(np.subtract(areas, energies), [0.05, 0.95])
        whole = auroc((-typical[~other]).tolist(), (-typical[other]).tolist())
        print(f"{name:45} AUROC {whole:.3f}  above energy [{low:+.3f}, {high:+.3f}]", flush=True)


if __name__ == "__main__":
    main()
