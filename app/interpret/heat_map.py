"""An explanation over the whole picture that was sent: as numbers, and as a picture."""

import numpy as np
from numpy.typing import NDArray

from app import imaging
from app.deadline import Checkpoint
from app.imaging import render
from app.interpret import attribution
from app.interpret.attribution import Map
from app.interpret.explain import Method
from app.interpret.question import Explanation, Patch, Question

LONGEST = 1600
"""Pixels along the longer side of the picture that a map is laid over."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, as shares of a picture's width and height."""


def document(method: Method, question: Question, found: Explanation, original: NDArray[np.uint8]) -> dict[str, object]:
    """The map, its values rounded, and what it is of, over the picture `original` (height, width, 3).

    It has the fields of `app.wire.schemas.Explanation`.
    """
    height, width = original.shape[:2]
    metadata = question.metadata
    box = imaging.seen(width, height, metadata.input.fit)
    heat = attribution.over_picture(found.heat, width, height, metadata.input.fit)
    document: dict[str, object] = {
        "model": metadata.name,
        "version": metadata.version,
        "method": method,
        "how": found.how,
        "label": metadata.labels[question.index],
        "index": question.index,
        "probability": question.probability,
        "seen": box,
        "shape": heat.shape,
        "heatmap": np.round(heat, 4),
        "drop": found.hottest and found.hottest.drop,
        "hottest": found.hottest and _box(found.hottest, question.side, box),
    }
    if found.patches is not None:
        document["patches"] = [_placed(patch, question.side, box) for patch in found.patches]
    return document


def _placed(patch: Patch, side: int, seen: Box) -> dict[str, object]:
    """A patch with its place. It has the fields of `app.wire.schemas.Patch`."""
    return {"box": _box(patch, side, seen), "probability": patch.probability, "drop": patch.drop}


def _box(patch: Patch, side: int, seen: Box) -> list[float]:
    """Where a patch is: left, top, right, bottom as shares of the whole picture, of which the network sees `seen`."""
    left, top, right, bottom = seen
    row, column = patch.corner
    across, down = (right - left) / side, (bottom - top) / side
    ends = column + patch.size, row + patch.size
    return [left + column * across, top + row * down, left + ends[0] * across, top + ends[1] * down]


def overlaid(original: NDArray[np.uint8], heat: Map, fit: imaging.Fit, opacity: float, checkpoint: Checkpoint) -> bytes:
    """A PNG of the picture (height, width, 3), reduced to LONGEST, with the map over what the network sees of it.

    Raises what `checkpoint` raises.
    """
    original = render.reduced(original, LONGEST)
    height, width = original.shape[:2]
    left, top, right, bottom = imaging.seen(width, height, fit)
    box = round(left * width), round(top * height), round(right * width), round(bottom * height)
    return render.png(render.overlay(original, heat, box, opacity), checkpoint)
