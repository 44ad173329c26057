"""What else decodes and filters as OpenCV does: milliseconds of processor time for each library that is installed.

    python -m benchmarks.decoders [--repeats 5]

Of each, the least of the repeats: a PNG of 32x32 pixels, PNG, WebP and JPEG of 1024x768, and a filter of 5x5 weights
over a million float32 values. imagecodecs, simplejpeg and pyspng are no part of this project: `pip install --target
FOLDER imagecodecs simplejpeg pyspng` and `PYTHONPATH=FOLDER` try them without changing its environment.
"""

import argparse
import io
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from benchmarks.peers.server import FROG
from training.release.card import table

SEVERAL = 200
"""Calls of what takes microseconds, for one repeat."""

Decode = Callable[[bytes], Any]


def decoders() -> dict[str, dict[str, Decode]]:
    """Each library's function for a format."""
    found: dict[str, dict[str, Decode]] = {
        "OpenCV": dict.fromkeys(("PNG", "WebP", "JPEG"), _opencv),
        "Pillow": dict.fromkeys(("PNG", "WebP", "JPEG"), lambda data: np.asarray(Image.open(io.BytesIO(data)))),
    }
    if codecs := _module("imagecodecs"):
        found["imagecodecs"] = {"PNG": codecs.png_decode, "WebP": codecs.webp_decode, "JPEG": codecs.jpeg8_decode}
    if spng := _module("pyspng"):
        found["pyspng"] = {"PNG": spng.load}
    if jpeg := _module("simplejpeg"):
        found["simplejpeg"] = {"JPEG": jpeg.decode_jpeg}
    return found


def filters(weights: NDArray[np.float32]) -> dict[str, Callable[[NDArray[np.float32]], Any]]:
    """Each library's correlation with the weights."""

    def own(values: NDArray[np.float32]) -> NDArray[np.float32]:
        size, (height, width) = len(weights), values.shape
        padded, total = np.pad(values, size // 2), np.zeros_like(values)
        for row, column in np.ndindex(weights.shape):
            total += weights[row, column] * padded[row : row + height, column : column + width]
        return total

    return {
        "OpenCV": lambda values: cv2.filter2D(values, -1, weights, borderType=cv2.BORDER_CONSTANT),
        "SciPy": lambda values: ndimage.correlate(values, weights, mode="constant"),
        "NumPy": own,
    }


def _opencv(data: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def _module(name: str) -> Any:
    return import_module(name) if find_spec(name) else None


def _photograph() -> Image.Image:
    """1024x768 pixels that are neither flat nor noise."""
    smooth = np.asarray(Image.open(FROG).convert("RGB").resize((1024, 768), Image.Resampling.BICUBIC))
    noise = np.random.default_rng(0).normal(0, 4, smooth.shape)
    return Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))


def _encoded(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def least(work: Callable[[], Any], repeats: int, calls: int = 1) -> str:
    """Milliseconds of processor time for a call."""
    found = []
    for _ in range(repeats):
        began = time.process_time()
        for _ in range(calls):
            work()
        found.append((time.process_time() - began) / calls * 1e3)
    return f"{min(found):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    cv2.setNumThreads(1)
    small, photograph, rows = FROG.read_bytes(), _photograph(), []
    large = {kind: _encoded(photograph, kind) for kind in ("PNG", "WebP", "JPEG")}
    for name, decode in decoders().items():
        one = least(lambda: decode["PNG"](small), repeats, SEVERAL) if "PNG" in decode else ""  # noqa: B023
        rest = [least(lambda: decode[kind](large[kind]), repeats) if kind in decode else "" for kind in large]  # noqa: B023
        rows.append((name, one, *rest))
    print(table(("library", "PNG 32x32", *(f"{kind} 1024x768" for kind in large)), rows), end="\n\n")
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=(1000, 1000)).astype(np.float32), rng.normal(size=(5, 5)).astype(np.float32)
    found = [(name, least(lambda: call(values), repeats)) for name, call in filters(weights).items()]  # noqa: B023
    print(table(("library", "filter 5x5"), found))


if __name__ == "__main__":
    main()
