"""Twelve ways to spoil held-out training pictures by which recipes for robust networks are compared.

    python -m benchmarks.held_out MODEL.keras [MODEL.keras ...] [--pictures 2000]

They are neither CIFAR-10-C's corruptions, by which finished networks are reported, nor the disturbances that networks
train on (`training/disturbances.py`). So neither the test pictures nor the corruptions of the report choose anything.
Prints accuracy for each way, clean, and in the mean.
"""

import argparse
import io
from collections.abc import Callable, Mapping
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training import data

Pictures = NDArray[np.uint8]
Way = Callable[[Pictures, np.random.Generator], Pictures]


def uniform_noise(images: Pictures, rng: np.random.Generator) -> Pictures:
    """Evenly distributed noise of up to 36 of 255 in both directions, a standard deviation of 0.08."""
    return _bytes(images + rng.uniform(-36, 36, images.shape))


def grey_noise(images: Pictures, rng: np.random.Generator) -> Pictures:
    """Noise that is the same in the three channels, of a standard deviation of 0.06."""
    return _bytes(images + rng.normal(0, 15, (*images.shape[:3], 1)))


def coarse_noise(images: Pictures, rng: np.random.Generator) -> Pictures:
    """Noise in blocks of 2x2 pixels, of a standard deviation of 0.06."""
    return _bytes(images + rng.normal(0, 15, (len(images), 16, 16, 3)).repeat(2, axis=1).repeat(2, axis=2))


def lost_pixels(images: Pictures, rng: np.random.Generator) -> Pictures:
    """One pixel in twelve is grey."""
    return np.where(rng.random((*images.shape[:3], 1)) < 1 / 12, np.uint8(128), images)


def box_blur(images: Pictures, rng: np.random.Generator) -> Pictures:
    """The mean of 3x3 pixels."""
    return _each(images, lambda image: cv2.blur(image, (3, 3)))


def median_blur(images: Pictures, rng: np.random.Generator) -> Pictures:
    """The median of 3x3 pixels."""
    return _each(images, lambda image: cv2.medianBlur(image, 3))


def ghost(images: Pictures, rng: np.random.Generator) -> Pictures:
    """The picture over itself, three pixels lower and two to the left."""
    return _bytes(images * 0.55 + np.roll(images, (3, -2), axis=(1, 2)) * 0.45)


def dark(images: Pictures, rng: np.random.Generator) -> Pictures:
    """A gamma of 2.2."""
    return _bytes(255 * (images / 255) ** 2.2)


def pale(images: Pictures, rng: np.random.Generator) -> Pictures:
    """A gamma of 0.5 and a quarter of the contrast."""
    return _bytes(160 + (255 * (images / 255) ** 0.5 - 160) * 0.25)


def few_colours(images: Pictures, rng: np.random.Generator) -> Pictures:
    """Five levels for each channel."""
    return _bytes(np.rint(images / 255 * 4) / 4 * 255)


def blinds(images: Pictures, rng: np.random.Generator) -> Pictures:
    """Every fifth column is white."""
    spoilt = images.copy()
    spoilt[:, :, 2::5] = 235
    return spoilt


def webp(images: Pictures, rng: np.random.Generator) -> Pictures:
    """WebP of quality 10."""
    return _each(images, _webp)


def _webp(image: Pictures) -> Pictures:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "WEBP", quality=10)
    return np.asarray(Image.open(file).convert("RGB"))


def _each(images: Pictures, change: Callable[[Pictures], Pictures]) -> Pictures:
    return np.stack([change(image) for image in images])


def _bytes(values: NDArray[np.float64]) -> Pictures:
    return np.asarray(np.rint(np.clip(values, 0, 255)).astype(np.uint8))


WAYS: Mapping[str, Way] = {
    way.__name__: way
    for way in (
        uniform_noise,
        grey_noise,
        coarse_noise,
        lost_pixels,
        box_blur,
        median_blur,
        ghost,
        dark,
        pale,
        few_colours,
        blinds,
        webp,
    )
}


def accuracies(
    predict: Callable[[Pictures], NDArray[np.float32]], images: Pictures, labels: NDArray[np.uint8]
) -> dict[str, float]:
    """Shares in [0, 1] of the pictures that are right `clean`, in each of WAYS, and in the `mean` of these."""
    spoilt = {name: way(images, np.random.default_rng(number)) for number, (name, way) in enumerate(WAYS.items())}
    found = {
        name: float(np.mean(predict(pictures).argmax(axis=1) == labels))
        for name, pictures in {"clean": images, **spoilt}.items()
    }
    return {**found, "mean": float(np.mean([found[name] for name in WAYS]))}


def main() -> None:
    import keras

    import training.models  # noqa: F401  (Keras has to know its classes)

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL.keras")
    parser.add_argument(
        "--pictures",
        type=int,
        default=2000,
        help="held-out training pictures, at most those of the recipe that held out fewest (default: %(default)s)",
    )
    options = parser.parse_args()
    # Recipes hold out the end of one permutation, so a smaller share of it is held out by them all.
    _, held_out = data.split(data.load_training(data.find()), validation=options.pictures)
    for path in options.models:
        predict = partial(keras.models.load_model(path).predict, batch_size=250, verbose=0)
        found = accuracies(predict, held_out.images, held_out.labels)
        print(path, *(f"{name} {share:.1%}" for name, share in found.items()), sep="\n  ", flush=True)


if __name__ == "__main__":
    main()
