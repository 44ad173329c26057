"""Ways from a photograph of any size to 32x32, side by side.

    python -m benchmarks.reduction FOLDER [--model models/fast]

FOLDER holds a folder of photographs for each label, and `other` for those that show none of the ten. A row is a
policy: mean share right a label, share right, mean log loss of the right label (steadier on few photographs, and
calibrated), how many photographs it puts right and wrong against the first row, the 90 % bootstrap interval of its
change in log loss, the area under the ROC curve of typicality against `other`, and, as a control, whether a
32x32 picture stays as it is. Policies that lie within each other's intervals are not told apart by so few photographs.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app import imaging
from app.inference.artifact import Place, read
from app.inference.engine import Engine, supported_precision
from app.inference.prediction import probabilities
from app.settings import Settings
from benchmarks.photographs import auroc

Picture = NDArray[np.uint8]
Policy = Callable[[Picture], Picture]
FILTERS = {name.lower(): Image.Resampling[name] for name in ("LANCZOS", "BICUBIC", "BILINEAR", "HAMMING", "BOX")}
RESAMPLES = 1000


def cut(filter: Image.Resampling, squash: float = 0.0, share: float = 1.0) -> Policy:
    """The middle: `share` of the shorter side and, of the longer, more by the aspect to the power of `squash`."""

    def policy(pixels: Picture) -> Picture:
        height, width = pixels.shape[:2]
        side = min(width, height)
        half = [share * extent * (side / extent) ** (1 - squash) / 2 for extent in (width, height)]
        box = (*(max(0, e / 2 - h) for e, h in zip((width, height), half, strict=True)),)
        end = (*(min(e, e / 2 + h) for e, h in zip((width, height), half, strict=True)),)
        return np.asarray(Image.fromarray(pixels).resize((32, 32), filter, (*box, *end)))

    return policy


def padded(mode: str, **options: int) -> Policy:
    """All of a picture, made square by numpy's padding of this mode."""

    def policy(pixels: Picture) -> Picture:
        height, width = pixels.shape[:2]
        gaps = [max(height, width) - extent for extent in (height, width)]
        sides = [*((gap // 2, gap - gap // 2) for gap in gaps), (0, 0)]
        return cut(Image.Resampling.LANCZOS)(np.pad(pixels, sides, mode, **options))  # type: ignore[call-overload]

    return policy


def policies() -> dict[str, Policy]:
    found = {f"centred square, {name}": cut(filter) for name, filter in FILTERS.items()}
    for share in (0.9, 0.8):
        found[f"{share:.0%} of the square, lanczos"] = cut(Image.Resampling.LANCZOS, share=share)
    for squash in (0.25, 0.5, 1.0):
        for name in ("lanczos", "bicubic"):
            found[f"squash {squash}, {name}"] = cut(FILTERS[name], squash)
    for mode in ("edge", "reflect"):
        found[f"padded, {mode}"] = padded(mode)
    return found | {"padded, white": padded("constant", constant_values=255)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, default=Path("models/fast"))
    options = parser.parse_args()
    artifact = read(options.model.parent, Place(options.model.name))
    precision = supported_precision(Settings().precision, artifact.metadata.precision.exact)
    engine = Engine(artifact.graph(precision), precision=precision)
    paths = sorted(options.folder.glob("*/*"))
    labels, form = artifact.metadata.labels, artifact.metadata.input
    truth = np.array([labels.index(p.parent.name) if p.parent.name in labels else -1 for p in paths])
    known = np.flatnonzero(truth >= 0)
    rng = np.random.default_rng(0)
    draws = rng.choice(len(known), (RESAMPLES, len(known)))
    control = rng.integers(0, 256, (32, 32, 3), np.uint8)
    originals = [imaging.full(path.read_bytes()) for path in paths]
    ways = {name: ([policy(p) for p in originals], policy(control)) for name, policy in policies().items()}
    ways["as served"] = [imaging.thumbnail(path.read_bytes(), form) for path in paths], imaging.resize(control, form)[0]
    first = None
    for name, (pictures, same) in ways.items():
        logits, typicality = engine.submit(pictures, lambda *found: found).result()
        right = (logits.argmax(axis=1) == truth)[known]
        shares = probabilities(logits, artifact.metadata.temperature)[known, truth[known]]
        loss = -np.log(shares)
        first = first or (right, loss)
        low, high = np.quantile((loss - first[1])[draws].mean(axis=1), [0.05, 0.95])
        mean = np.mean([right[truth[known] == label].mean() for label in np.unique(truth[known])])
        other = (-typicality[truth < 0]).tolist()
        print(
            f"{name:28} {mean:6.1%} {right.mean():6.1%}  loss {loss.mean():.3f} [{low:+.3f}, {high:+.3f}]"
            f"  +{(right & ~first[0]).sum()} -{(~right & first[0]).sum()}"
            f"  AUROC {auroc((-typicality[known]).tolist(), other) if other else float('nan'):.3f}"
            f"  32x32 {'kept' if np.array_equal(same, control) else 'CHANGED'}"
        )


if __name__ == "__main__":
    main()
