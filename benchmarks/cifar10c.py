"""The fifteen corruptions of CIFAR-10-C at five severities (Hendrycks and Dietterich 2019), over batches of pictures.

Definitions and parameters are those of the script that made the published data set, including its habit of cutting off
fractions instead of rounding them. Two things differ. ImageMagick's motion blur is computed here. Frost takes textures
that are made here, because the published ones are photographs; its figures compare with those of other runs of this
module only.

Each corruption takes pictures (N, 32, 32, 3) uint8 RGB, a severity from 1 to 5 and a random generator, and returns
pictures of the same shape and type.

Nothing under training/ may import this module: a network that trained on these corruptions would not be measured by
them.
"""

import io
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Pictures = NDArray[np.uint8]
Values = NDArray[np.float64]
Corruption = Callable[[Pictures, int, np.random.Generator], Pictures]

SIZE = 32
SEVERITIES = (1, 2, 3, 4, 5)
BLOCK = 100
"""Pictures that share a random generator, so that a subset of whole blocks is corrupted as the whole set is."""


def corrupt(images: Pictures, name: str, severity: int, seed: int = 0) -> Pictures:
    """`images` under the corruption `name`: the same for the same pictures and seed, on every machine.

    Raises KeyError for an unknown name.
    """
    corruption, number = CORRUPTIONS[name], list(CORRUPTIONS).index(name)
    parts = [
        corruption(images[start : start + BLOCK], severity, np.random.default_rng((seed, number, severity, start)))
        for start in range(0, len(images), BLOCK)
    ]
    return np.concatenate(parts)


def gaussian_noise(images: Pictures, severity: int, rng: np.random.Generator) -> Pictures:
    """Normal noise of standard deviation 0.04 to 0.10, where white is 1."""
    sigma = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    return _bytes(images / 255 + rng.normal(scale=sigma, size=images.shape))


def shot_noise(images: Pictures, severity: int, rng: np.random.Generator) -> Pictures:
    """Poisson noise; white is 500 to 50 photons."""
    photons = (500, 250, 100, 75, 50)[severity - 1]
    return _bytes(rng.poisson(images / 255 * photons) / photons)


def impulse_noise(images: Pictures, severity: int, rng: np.random.Generator) -> Pictures:
    """A share of 1 to 7 % of all values becomes 0 or 255."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    hit, white = rng.random(images.shape) < share, rng.random(images.shape) < 0.5
    return np.where(hit, np.where(white, 255, 0), images).astype(np.uint8)


def defocus_blur(images: Pictures, severity: int, rng: np.random.Generator) -> Pictures:
    """A disk of radius 0.3 to 1.5 pixels, softened."""
    radius, alias_blur = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))[severity - 1]
    kernel = disk(radius, alias_blur)
    return _bytes(np.stack([cv2.filter2D(image, -1, kernel) for image in images / 255]))


def disk(radius: float, alias_blur: float) -> NDArray[np.float32]:
    """A disk's kernel (17, 17) with the sum 1, smoothed by a 3x3 Gaussian of standard deviation `alias_blur`."""
    row = np.arange(-8, 9)
    inside = (row**2 + row[:, None] ** 2 <= radius**2).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(inside / inside.sum(), (3, 3), alias_blur))


def glass_blur(images: Pictures, severity: int, rng: np.random.Generator) -> Pictures:
    """A blur, then each pixel from row and column 2 on is taken from one step up, left, both or neither; then a blur.

    The published code means to swap pixels, but its assignment of NumPy views copies them. The published pictures are
    made so. Its order, from the last pixel to the first, makes one pass the same as taking all pixels at once.
    """
    sigma, _, passes = ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))[severity - 1]
    moved = (_gaussian(images / 255, sigma) * 255).astype(np.uint8)
    picture, row, column = np.ix_(np.arange(len(images)), np.arange(2, SIZE), np.arange(2, SIZE))
    for _ in range(passes):
        across, down = rng.integers(-1, 1, (2, len(images), SIZE - 2, SIZE - 2))
        moved[:, 2:, 2:] = moved[picture, row + down, column + across]
    return _bytes(_gaussian(moved / 255, sigma))


def motion_blur(images: Pictures, severity: int, rng: np.random.Generator) -> Pictures:
    """The camera moves along a line between -45 and 45 degrees."""
    radius, sigma = ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))[severity - 1]
    return moved(images, radius, sigma, rng.uniform(-45, 45, len(images)))


def moved(images: Pictures, radius: int, sigma: float, degrees: Values) -> Pictures:
    """ImageMagick's motion blur of pictures (N, H, W) or (N, H, W, C), each in its own direction.

    A half Gaussian of 2 * radius + 1 weights lies along the direction, in whole pixels; the edge's pixels go on beyond
    it.
    """
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    angles = np.deg2rad(degrees)
    row, column = np.arange(images.shape[1])[:, None], np.arange(images.shape[2])
    picture = np.arange(len(images))[:, None, None]
    total = np.zeros(images.shape)
    for step, weight in enumerate(weights / weights.sum()):
        down, across = (np.ceil(step * ratio - 0.5).astype(int) for ratio in (np.sin(angles), np.cos(angles)))
        rows = np.clip(row + down[:, None, None], 0, images.shape[1] - 1)
        columns = np.clip(column + across[:, None, None], 0, images.shape[2] - 1)
        total += weight * images[picture, rows, columns]
    return np.rint(total).astype(np.uint8)


def zoom_blur(images: Pictures, severity: int, rng: np.random.Generator) -> Pictures:
    """The mean of the picture and its magnifications, 1 % apart, up to 6 to 26 %."""
    factors = np.arange(1, (1.06, 1.11, 1.16, 1.21, 1.26)[severity - 1], 0.01)
    values = images / 255
    return _bytes((values + sum(_zoomed(values, factor) for factor in factors)) / (len(factors) + 1))


def _zoomed(values: Values, factor: float) -> Values:
    """The middle of pictures (N, 32, 32, C), magnified, at the same size."""
    lines = _zoom_lines(factor)
    return np.asarray(np.einsum("ij,njkc,lk->nilc", lines, values, lines, optimize=True))


@lru_cache
def _zoom_lines(factor: float) -> Values:
    """How much of each of 32 pixels (columns) every magnified pixel (rows) takes, (32, 32)."""
    kept = int(np.ceil(SIZE / factor))
    lines = ndimage.zoom(np.eye(SIZE)[(SIZE - kept) // 2 :][:kept], (factor, 1), order=1)
    return np.asarray(lines[(len(lines) - SIZE) // 2 :][:SIZE])


def snow(images: Pictures, severity: int, rng: np.random.Generator) -> Pictures:
    """Flakes that fall at an angle, from both sides, before a whitened picture."""
    mean, deviation, factor, threshold, radius, sigma, kept = (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    )[severity - 1]
    layer = _zoomed(rng.normal(mean, deviation, (len(images), SIZE, SIZE, 1)), factor)[..., 0]
    layer[layer < threshold] = 0
    flakes = moved(_bytes(layer), radius, sigma, rng.uniform(-135, -45, len(images)))[..., None] / 255
    values = images / 255
    grey = values @ (0.299, 0.587, 0.114)
    whitened = kept * values + (1 - kept) * np.maximum(values, grey[..., None] * 1.5 + 0.5)
    return _bytes(whitened + flakes + np.rot90(flakes, 2, axes=(1, 2)))


def frost(images: Pictures, severity: int, rng: np.random.Generator) -> Pictures:
    """A darkened picture behind a frosted pane."""
    picture, pane = ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))[severity - 1]
    panes = frosted_panes()
    starts = rng.integers(0, panes.shape[1] - SIZE, (len(images), 2))
    chosen = rng.integers(len(panes), size=len(images))
    places = zip(chosen, starts, strict=True)
    ice = np.stack([panes[which, top : top + SIZE, left : left + SIZE] for which, (top, left) in places])
    return np.asarray(np.clip(picture * images.astype(np.float64) + pane * ice, 0, 255).astype(np.uint8))


@lru_cache
def frosted_panes(count: int = 5, size: int = 160) -> Pictures:
    """Textures (count, size, size, 3) that look like frost: needles of ice on dark blue glass.

    Each is Gaussian noise, smeared along a direction that turns slowly from place to place, at three scales.
    """
    return np.stack([_frosted_pane(np.random.default_rng((4_116, number)), size) for number in range(count)])


def _frosted_pane(rng: np.random.Generator, size: int) -> Pictures:
    turns = ndimage.gaussian_filter(rng.normal(size=(size, size)), 12, mode="wrap")
    angles = np.pi * turns / turns.std()
    ice = sum(2.0**-octave * _needles(rng, angles, 12 >> octave) for octave in range(3))
    share = ndimage.gaussian_filter(rng.normal(size=(size, size)), 20, mode="wrap")
    ice = ice / np.std(ice) + share / share.std()
    shine = 1 / (1 + np.exp(-1.5 * ice))[..., None]
    colours = (1 - shine) * (20, 50, 90) + shine * (225, 238, 250)
    return np.asarray(np.rint(colours).astype(np.uint8))


def _needles(rng: np.random.Generator, angles: Values, length: int) -> Values:
    """Noise (size, size) averaged over `length` pixels to both sides along `angles` (radians), deviation 1."""
    noise = rng.normal(size=angles.shape)
    places = np.indices(angles.shape)
    directions = np.stack([np.sin(angles), np.cos(angles)])
    steps = (places + step * directions for step in range(-length, length + 1))
    smeared = sum(ndimage.map_coordinates(noise, step, order=1, mode="grid-wrap") for step in steps)
    return np.asarray(smeared / np.std(smeared))


def fog(images: Pictures, severity: int, rng: np.random.Generator) -> Pictures:
    """A plasma fractal in front of the picture, which stays as bright as it was at most."""
    strength, decay = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))[severity - 1]
    values = images / 255
    brightest = values.max(axis=(1, 2, 3), keepdims=True)
    haze = values + strength * plasma(len(images), decay, rng)[..., None]
    return _bytes(haze * brightest / (brightest + strength))


def plasma(count: int, decay: float, rng: np.random.Generator) -> Values:
    """Height maps (count, 32, 32) in [0, 1] by the diamond-square algorithm, each level `decay` times as rough."""
    heights, step, roughness = np.zeros((count, SIZE, SIZE)), SIZE, 100.0

    def displaced(sums: Values) -> Values:
        return sums / 4 + roughness * rng.uniform(-roughness, roughness, sums.shape)

    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        heights[:, half::step, half::step] = displaced(_pairs(_pairs(corners, 1, -1), 2, -1))
        middles = heights[:, half::step, half::step]
        heights[:, ::step, half::step] = displaced(_pairs(middles, 1, 1) + _pairs(corners, 2, -1))
        heights[:, half::step, ::step] = displaced(_pairs(middles, 2, 1) + _pairs(corners, 1, -1))
        step, roughness = half, roughness / decay
    heights -= heights.min(axis=(1, 2), keepdims=True)
    return np.asarray(heights / heights.max(axis=(1, 2), keepdims=True))


def _pairs(values: Values, axis: int, shift: int) -> Values:
    """Sums of neighbours along an axis, around the edge."""
    return values + np.roll(values, shift, axis)


def brightness(images: Pictures, severity: int, rng: np.random.Generator) -> Pictures:
    """The value of HSV, a pixel's greatest channel, rises by 0.05 to 0.3; hue and saturation stay.

    With hue and saturation fixed, the three channels are proportional to the value; black becomes grey.
    """
    rise = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]
    values = images / 255
    greatest = values.max(axis=3, keepdims=True)
    risen = np.clip(greatest + rise, 0, 1)
    return _bytes(np.where(greatest > 0, values / np.where(greatest > 0, greatest, 1), 1) * risen)


def contrast(images: Pictures, severity: int, rng: np.random.Generator) -> Pictures:
    """Differences from each channel's mean shrink to 0.75 to 0.15 of themselves."""
    share = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    values = images / 255
    means = values.mean(axis=(1, 2), keepdims=True)
    return _bytes((values - means) * share + means)


def elastic_transform(images: Pictures, severity: int, rng: np.random.Generator) -> Pictures:
    """A random affine map, then pixels moved by smooth noise."""
    amplitude, sigma, corners = (
        SIZE * np.array(((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)))
    )[severity - 1]
    shifts = rng.uniform(-corners, corners, (len(images), 3, 2)).astype(np.float32)
    sheared = np.stack([_affine(image, shift) for image, shift in zip(images, shifts, strict=True)])
    noise = rng.uniform(-1, 1, (2, len(images), SIZE, SIZE))
    down, across = amplitude * ndimage.gaussian_filter(noise, (0, 0, sigma, sigma), mode="reflect", truncate=3)
    row, column = np.indices((SIZE, SIZE))
    places = np.stack([row + down, column + across], axis=1)
    warped = [_sampled(image, place) for image, place in zip(sheared, places, strict=True)]
    return _bytes(np.stack(warped))


def _affine(image: Pictures, shifts: NDArray[np.float32]) -> NDArray[np.float32]:
    """The picture (32, 32, 3), 0 to 1, under the affine map that moves three points by `shifts` (3, 2)."""
    middle, edge = SIZE // 2, SIZE // 3
    points = np.array([(middle + edge, middle + edge), (middle + edge, middle - edge), (middle - edge, middle - edge)])
    matrix = cv2.getAffineTransform(points.astype(np.float32), points.astype(np.float32) + shifts)
    values = (image / 255).astype(np.float32)
    return np.asarray(cv2.warpAffine(values, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT_101))


def _sampled(image: NDArray[np.float32], places: Values) -> Values:
    """The picture's values at rows and columns `places` (2, 32, 32), between pixels by bilinear interpolation."""
    channels = [ndimage.map_coordinates(image[..., c], places, order=1, mode="reflect") for c in range(3)]
    return np.stack(channels, axis=-1)


def pixelate(images: Pictures, severity: int, rng: np.random.Generator) -> Pictures:
    """Shrunk to 0.95 to 0.65 of its size and back, by areas."""
    small = int(SIZE * (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1])
    box = Image.Resampling.BOX
    return _each(images, lambda image: image.resize((small, small), box).resize((SIZE, SIZE), box))


def jpeg_compression(images: Pictures, severity: int, rng: np.random.Generator) -> Pictures:
    """JPEG of quality 80 to 40."""
    return _each(images, lambda image: _jpeg(image, (80, 65, 58, 50, 40)[severity - 1]))


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def _each(images: Pictures, change: Callable[[Image.Image], Image.Image]) -> Pictures:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def _gaussian(values: Values, sigma: float) -> Values:
    """A Gaussian blur of pictures (N, H, W, C), cut at four standard deviations; the edge's pixels go on beyond it."""
    return np.asarray(ndimage.gaussian_filter(values, (0, sigma, sigma, 0), mode="nearest", truncate=4))


def _bytes(values: NDArray[Any]) -> Pictures:
    """Values from 0 to 1 as bytes; fractions are cut off, as in the published pictures."""
    return np.asarray((np.clip(values, 0, 1) * 255).astype(np.uint8))


CORRUPTIONS: Mapping[str, Corruption] = {
    corruption.__name__: corruption
    for corruption in (
        gaussian_noise,
        shot_noise,
        impulse_noise,
        defocus_blur,
        glass_blur,
        motion_blur,
        zoom_blur,
        snow,
        frost,
        fog,
        brightness,
        contrast,
        elastic_transform,
        pixelate,
        jpeg_compression,
    )
}
"""By the published names and in the published order."""
