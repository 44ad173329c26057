"""What was measured of a finished artifact as it is served, on its card, and how long that holds."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import numpy_helper

from training.release import artifact
from training.release.precision import GRAPHS

RECORDS = ("served", "photographs", "corrupted")
"""What `accuracy` in metadata.json may have of answers that were measured as they are served."""

ROUNDING = 1e-4
"""By how much of the largest number processors may differ that add in another order."""


def record(
    folder: Path, measured: Literal["served", "photographs", "corrupted"], found: Mapping[str, Any], *, graph: str
) -> None:
    """Put on the card, with today's date, what was `measured` of an artifact's accuracy as served.

    That is `served`, of the test pictures (`accuracy` and the share `flagged` in [0, 1], and `precision`), or
    `photographs` (`mean_per_class` in [0, 1], `count` of them and of their `labels`, and where there are `others`, how
    many, the `auroc` and the `fpr_at_95` in [0, 1]), or `corrupted` test pictures (`app.inference.metadata.Corrupted`
    has the fields). Raises OSError, and ArtifactError where the artifact is damaged or its model.onnx is not the
    `graph` that was measured, by SHA-256.
    """
    with _rewritten(folder, graph) as metadata:
        metadata["accuracy"][measured] = {**found, "date": datetime.now(UTC).date().isoformat()}


def record_precisions(folder: Path, found: Mapping[str, Any], *, graph: str) -> None:
    """Put on the card what `precision.measure` found. Raises as `record` does."""
    with _rewritten(folder, graph) as metadata:
        metadata["precision"] = found


@contextmanager
def _rewritten(folder: Path, graph: str) -> Iterator[dict[str, Any]]:
    """The metadata of a whole artifact, to be changed; then it is written, and the card with it."""
    with artifact.replacing(folder) as temporary:
        metadata = artifact.read(folder)
        if metadata["files"]["model.onnx"] != graph:
            raise artifact.ArtifactError(f"{folder}: holds another network than was measured; not written down")
        yield metadata
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        artifact.seal(temporary, metadata)


def keep(before: Mapping[str, Any], folder: Path, after: dict[str, Any], renewed: Path) -> None:
    """Put into `renewed`, and its metadata `after`, what still holds of the artifact in `folder`, which it replaces.

    Graphs and the scale of typicality that differ only by rounding stay as they were. What was recorded holds as long
    as it was measured with the same graphs, temperature and scale of typicality.
    """
    graphs = sorted(set(GRAPHS.values()))
    for name in graphs:
        old = folder / name
        if old.exists() and artifact.digest(old) == before["files"].get(name) and _alike(old, renewed / name):
            shutil.copyfile(old, renewed / name)
    after["files"] = {name: artifact.digest(renewed / name) for name in graphs}
    if _close(*(metadata["out_of_distribution"]["quantiles"] for metadata in (before, after))):
        after["out_of_distribution"] = before["out_of_distribution"]
    after["accuracy"] |= still_true(before, after)


def still_true(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What was recorded in `before`, an artifact's metadata, and holds for `after`: it is answered as it was.

    Both have the digests of their graphs in `files`.
    """
    temperature = [metadata["calibration"]["temperature"] for metadata in (before, after)]
    if len(set(temperature)) > 1 or before["out_of_distribution"] != after["out_of_distribution"]:
        return {}
    found = {kind: before["accuracy"].get(kind) for kind in RECORDS}
    return {
        kind: about
        for kind, about in found.items()
        if about and all(before["files"].get(name) == after["files"][name] for name in _answering(about))
    }


def _answering(found: Mapping[str, Any]) -> set[str]:
    """The graphs that may have given what was recorded: that of its precision, or all where it names none."""
    return {GRAPHS[found["precision"]]} if "precision" in found else set(GRAPHS.values())


def _alike(one: Path, other: Path) -> bool:
    """Whether two graphs are the same but for rounding."""
    graphs = [onnx.load(path) for path in (one, other)]
    weights = [{each.name: numpy_helper.to_array(each) for each in graph.graph.initializer} for graph in graphs]
    for graph in graphs:
        del graph.graph.initializer[:]
    if graphs[0] != graphs[1] or weights[0].keys() != weights[1].keys():
        return False
    pairs = [(values, weights[1][name]) for name, values in weights[0].items()]
    return all(values.dtype == others.dtype and _close(values, others) for values, others in pairs)


def _close(one: ArrayLike, other: ArrayLike) -> bool:
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if first.shape != second.shape:
        return False
    return bool(np.abs(first - second).max(initial=0) <= ROUNDING * np.abs(first).max(initial=0))
