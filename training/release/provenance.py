"""Where a network comes from: its recipe, the networks it was made from, and what its training took."""

import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tensorflow as tf

from app import processors
from training import lineage
from training.data import DIGESTS, LABELS
from training.recipe import Precision, Recipe
from training.release import artifact
from training.run import Progress


@dataclass(frozen=True)
class Origin:
    """What a network was made by: its recipe, that recipe's digest, the precision, and its `ancestors`' training."""

    recipe: Recipe
    digest: str
    precision: Precision
    ancestors: list[dict[str, Any]]


def ancestors(parents: Iterable[Path]) -> list[dict[str, Any]]:
    """What metadata.json keeps of the networks in the folders `parents` and all they were made from, in order.

    Raises ArtifactError.
    """
    found: dict[str, dict[str, Any]] = {}
    for folder in parents:
        metadata = artifact.read(folder, (artifact.CHECKPOINT,))
        try:
            own = {"recipe": metadata["recipe"]["name"], "digest": metadata["recipe"]["digest"]}
            own |= {"weights": metadata["files"][artifact.CHECKPOINT], **metadata["training"]}
            found |= {entry["digest"]: entry for entry in [*metadata["lineage"], own]}
        except (KeyError, TypeError) as error:
            raise artifact.ArtifactError(f"{folder / 'metadata.json'}: damaged (no {error})") from error
    return list(found.values())


def describe(origin: Origin, progress: Progress, pictures: tuple[int, int, int]) -> dict[str, Any]:
    """What metadata.json says of a training on so many training, validation and test `pictures`."""
    return {
        "format": 1,
        "name": origin.recipe.artifact,
        "version": lineage.version(origin.recipe, origin.digest),
        "labels": list(LABELS),
        "recipe": {**origin.recipe.as_dict(), "digest": origin.digest},
        "data": {"digests": dict(DIGESTS), **dict(zip(("training", "validation", "test"), pictures, strict=True))},
        "training": {
            "seconds": round(progress.seconds),
            "epochs": progress.epoch,
            "updates": progress.history[-1]["updates"],
            "best_epoch": progress.best_epoch,
            "precision": origin.precision,
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "commit": commit(),
        },
        "lineage": origin.ancestors,
    }


def operations(recipe: Recipe, progress: Progress, multiply_adds: int) -> int:
    """Floating-point operations of a training's updates: two for each multiply-add, of one pass forward and two back.

    Teachers' answers and validation are not counted; the search for the worst point of `sharpness` is.
    """
    passes = 3 * (1 + 1 / recipe.sharpness.every) if recipe.sharpness else 3
    return round(2 * passes * multiply_adds * recipe.batch_size * progress.history[-1]["updates"])


def commit() -> str | None:
    """The commit of the program, with + where files differ from it; None outside a git checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def machine() -> str:
    """Processor, cores and versions, in one line."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.machine()
    return f"{processor}, {processors.usable()} cores, Python {platform.python_version()}, TensorFlow {tf.__version__}"
