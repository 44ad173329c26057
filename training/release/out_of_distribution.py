"""How typical a picture is of those a network has learnt to tell apart, from its last features and its logits.

Features are what the last dense layer is given, scaled to length 1. Typicality is the sum of two scores, each over its
deviation among held-out pictures. One is the features' product with a direction, the linear discriminant (Fisher
1936) between pictures and the negatives of pictures, upright or on a side or head: these have edges and textures
enough, but nothing in them is what it seems. The other is the energy, the logarithm of the sum of the exponentials of
the logits (Liu et al. 2020). `benchmarks.typicality` compares them with others.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

SHRINKAGE = 1.0
"""What is added to each feature's variance, in mean variances: there are few pictures for so many features."""

THRESHOLD = 0.95
"""Pictures less typical than this share of the held-out ones are called out of distribution."""


METHOD = "discriminant + energy"


@dataclass(frozen=True)
class Typicality:
    """What a graph computes it with: features times `direction` (C,), plus `energy` times what is above `level`."""

    direction: NDArray[np.float32]
    energy: float
    level: float


def classifier(model: keras.Model) -> keras.layers.Dense:
    """The last dense layer of `model`, which makes ten scores of its features."""
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)][-1]


def features(model: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What `classifier` is given, (N, C) of pictures (N, 32, 32, 3), as it is."""
    found = keras.Model(model.input, classifier(model).input).predict(images, batch_size=500, verbose=0)
    return np.asarray(found)


def of_length_one(features: NDArray[np.floating]) -> NDArray[Any]:
    """Each of the features (N, C) over its Euclidean length; those that are all 0 stay so."""
    return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True).clip(min=1e-6))


def turned_negatives(images: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint8]:
    """Pictures (N, 32, 32, 3) with every value taken from 255, each turned by 0 to 3 quarters, drawn from `seed`."""
    quarters = np.random.default_rng(seed).integers(0, 4, len(images))
    turned = np.empty_like(images)
    for count in range(4):
        turned[quarters == count] = np.rot90(255 - images[quarters == count], count, axes=(1, 2))
    return turned


def fitted(
    known: NDArray[np.floating], logits: NDArray[np.floating], negatives: NDArray[np.floating]
) -> tuple[Typicality, NDArray[np.float64]]:
    """What typicality is for a network, and how typical the held-out pictures are: (N,).

    Takes features (N, C) and logits (N, L) of held-out pictures, and features (M, C) of turned negatives.
    """
    known, negatives = of_length_one(known), of_length_one(negatives)
    products = cross_fitted(known, negatives)
    energies = np.logaddexp.reduce(np.asarray(logits, np.float64), axis=1)
    across, along = (1 / max(float(values.std()), 1e-6) for values in (products, energies))
    level = float(energies.mean())  # around 0, bfloat16 is finest
    found = Typicality(direction(known, negatives) * np.float32(across), along, level)
    return found, products * across + (energies - level) * along


def direction(typical: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float32]:
    """The direction (C,) of length 1 along which features (N, C) and (M, C) lie farthest apart for their spread.

    That is the difference of the means over the covariance within, `SHRINKAGE` times its mean variance added to the
    diagonal (Friedman 1989). A higher product with it is more typical.
    """
    within = (np.cov(typical.T) + np.cov(other.T)) / 2
    within += SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    found = np.linalg.solve(within, typical.mean(axis=0) - other.mean(axis=0))
    return np.asarray(found / np.linalg.norm(found), np.float32)


def cross_fitted(typical: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float32]:
    """How typical each of the features (N, C) is along a direction that it had no part in: (N,).

    That is the other half's, so that these are as typical as pictures that `direction` has not seen either.
    """
    one, two = np.array_split(typical, 2)
    return np.concatenate([one @ direction(two, other), two @ direction(one, other)])


def quantiles(typicalities: NDArray[np.floating], count: int = 101) -> list[float]:
    """Evenly spaced quantiles, ascending, of held-out pictures' typicalities (N,).

    The service gives, as `ood_score`, the share of these that are more typical than what it is asked about.
    """
    return [round(value, 6) for value in np.quantile(typicalities, np.linspace(0, 1, count)).tolist()]
