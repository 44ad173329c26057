"""Importing a network: read it, compare what would be served with the original, measure it if asked, write it."""

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.data import Pictures
from training.foreign import keras_file, onnx_eight_bits, onnx_file
from training.foreign.network import Foreign, Images, ImportFailure, Layout, Preprocessing
from training.own import listing, release, report, store
from training.own.graph import Graph
from training.own.listing import MOST_LABELS
from training.release import artifact, calibrate, evaluate, precision, provenance

READERS = {".onnx": onnx_file.read, ".keras": keras_file.read}
MOST_DIFFERENCE = 1e-3
"""Of a probability, between the original and what is served."""

MOST_CHANGED = 0.01
"""The share of answers that may change in a precision besides float32, which may also lose no accuracy."""

COMPARED, MOST_CHECKED, CALIBRATING = 200, 2000, 400
BATCH = 32


@dataclass(frozen=True)
class Options:
    """What the command line says; `check` is a folder of pictures under the network's labels, as for `train`."""

    network: Path
    labels: Path
    name: str
    models: Path
    runs: Path
    preprocessing: Preprocessing
    layout: Layout | None = None
    check: Path | None = None


def import_(options: Options) -> Path:
    """Write the network as an artifact and say what was found; returns its folder.

    Raises ImportFailure, OwnPicturesError.
    """
    release.check_name(options.name, options.models)
    reader = READERS.get(options.network.suffix.lower())
    if reader is None:
        raise ImportFailure(f"{options.network}: expected a file that ends in {' or '.join(READERS)}")
    if not options.network.is_file():
        raise ImportFailure(f"{options.network}: {'not a file' if options.network.exists() else 'no such file'}")
    if not options.network.stat().st_size:
        raise ImportFailure(f"{options.network}: an empty file (0 bytes)")
    labels = read_labels(options.labels)
    release.check_writable(options.models)
    found = reader(options.network, len(labels), options.preprocessing, options.layout)
    print(
        f"{options.network}: {found.size} x {found.size} pixels, {found.channels} channels, {found.layout}, "
        f"{len(labels)} labels, {len(found.layers)} layers",
        flush=True,
    )
    checked = _checked(options, found, labels) if options.check else None
    compare(options.network, found, checked.images if checked else None)
    return _write(options, found, labels, checked)


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels in a text file, one per line, in the order of the scores. Raises ImportFailure."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ImportFailure(f"{path}: cannot be read ({error.strerror}); expected a label per line") from error
    except UnicodeDecodeError as error:
        raise ImportFailure(f"{path}: byte {error.start} is not UTF-8; expected a label per line") from error
    labels = tuple(unicodedata.normalize("NFC", line.strip()) for line in lines if line.strip())
    if not 2 <= len(labels) <= MOST_LABELS:
        raise ImportFailure(f"{path}: {len(labels):,} labels; expected 2 to {MOST_LABELS:,}, one per line")
    for number, label in enumerate(labels):
        if label in labels[:number]:
            raise ImportFailure(f"{path}: the label {label!r:.100} is there twice; expected different ones")
        if not listing.is_label(label):
            raise ImportFailure(f"{path}: the label {label!r:.120}; expected {listing.LABEL}")
    return labels


@dataclass(frozen=True)
class _Checked:
    """Pictures (N, size, size, channels) and the positions of their labels, every second for choosing."""

    images: Images
    labels: NDArray[np.int64]

    @property
    def choosing(self) -> slice:
        return slice(0, None, 2)

    @property
    def measuring(self) -> slice:
        return slice(1, None, 2)


def _checked(options: Options, found: Foreign, labels: tuple[str, ...]) -> _Checked:
    assert options.check
    listed = listing.find(options.check)
    unknown = [label for label in listed.labels if label not in labels]
    if unknown:
        raise ImportFailure(f"{options.check}: the label {unknown[0]!r} is not in {options.labels}")
    folder = options.runs / "own" / options.name
    release.check_writable(folder)
    kept = store.keep(listed, found.size, folder)
    for skipped in kept.skipped[:10]:
        print(f"  skipped {skipped.name}: {skipped.reason}")
    order = np.random.default_rng(0).permutation(len(kept.entries))[:MOST_CHECKED]
    order = order[np.argsort(kept.labels[order], kind="stable")]  # so that every second is of every label
    with kept.open() as pictures:
        images = pictures[order]
    positions = np.array([labels.index(label) for label in listed.labels])
    return _Checked(_with_channels(images, found.channels), positions[kept.labels[order]])


def _with_channels(images: Images, channels: int) -> Images:
    """Pictures (N, H, W, 3) in grey where `channels` is 1, as the service makes them."""
    if channels == 3:
        return images
    return np.stack([np.asarray(Image.fromarray(image).convert("L"))[..., None] for image in images])


def compare(path: Path, found: Foreign, images: Images | None) -> None:
    """Raises ImportFailure where what would be served answers differently from the file itself."""
    shape = (COMPARED if images is None else 8, found.size, found.size, found.channels)
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, 256, shape).astype(np.uint8)
    drawn[1::2] = (drawn[1::2].astype(np.float32) * rng.random((len(drawn[1::2]), 1, 1, 1))).astype(np.uint8)
    graph = Graph(found.proto)
    worst, count = 0.0, 0
    for pictures in (drawn, images[:: max(1, len(images) // COMPARED)] if images is not None else drawn[:0]):
        for start in range(0, len(pictures), BATCH):
            batch = np.ascontiguousarray(pictures[start : start + BATCH])
            served = calibrate.softmax(graph([batch])[0])
            difference = np.abs(served - found.original(batch)).max()
            worst, count = max(worst, float(difference)), count + len(batch)
            if not np.isfinite(served).all():
                raise ImportFailure(f"{path}: its answers are not all numbers (NaN or infinite). Nothing was written")
            if not difference <= MOST_DIFFERENCE:
                raise ImportFailure(
                    f"{path}: what would be served differs from it by {difference:.3g} in a probability; expected at "
                    f"most {MOST_DIFFERENCE}. Nothing was written"
                )
    print(f"served and original differ by at most {worst:.1g} in a probability on {count} pictures", flush=True)


def _write(options: Options, found: Foreign, labels: tuple[str, ...], checked: _Checked | None) -> Path:
    content = found.proto.SerializeToString()
    version = release.version_of(content, labels)
    folder = options.models / options.name / version
    with release.writing(folder) as place:
        (place / "model.onnx").write_bytes(content)
        metadata: dict[str, Any] = {
            "format": 1,
            "name": options.name,
            "version": version,
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "labels": list(labels),
            "input": {"size": found.size, "channels": found.channels},
            "preprocessing": options.preprocessing.as_dict(found.layout),
            "parameters": sum(layer["parameters"] for layer in found.layers),
            "multiply_adds": sum(layer["multiply_adds"] for layer in found.layers),
            "layers": found.layers,
            "precision": {"exact": ["float32"]},
            "source": {
                "kind": "imported",
                "file": options.network.name,
                "sha256": artifact.digest(options.network),
            },
        }
        if checked:
            metadata |= _measured(place, found, labels, checked)
        release.seal(place, metadata, _card(metadata))
    print(f"{folder} is written; `convoscope serve` serves it", flush=True)
    return folder


def _measured(place: Path, found: Foreign, labels: tuple[str, ...], checked: _Checked) -> dict[str, Any]:
    """Accuracy on one half of the pictures, and what the other half chooses: temperature and precision."""
    images = checked.images
    shown: Any = checked.labels
    (logits,) = Graph(place / "model.onnx")(images[start : start + BATCH] for start in range(0, len(images), BATCH))
    choosing, measuring = checked.choosing, checked.measuring
    tested = evaluate.evaluate(logits[measuring], shown[measuring], labels)
    low, high = report.wilson(int(tested.confusion.trace()), int(tested.confusion.sum()))
    print(f"{tested.accuracy:.1%} of {len(shown[measuring]):,} pictures (95 %: {low:.1%} to {high:.1%})", flush=True)
    evaluate.plot_confusion(tested.confusion, place / "confusion.png", labels)
    members: dict[str, Any] = {
        "accuracy": {
            "test": tested.accuracy,
            "test_interval": [low, high],
            "per_class": report.measured(tested),
            "served": None,
        },
        "confusion": tested.confusion.tolist(),
        "data": {"name": "check", "validation": len(shown[choosing]), "test": len(shown[measuring])},
    }
    if len(shown[choosing]) >= release.FOR_TEMPERATURE:
        temperature = round(calibrate.fit_temperature(logits[choosing], shown[choosing]), 4)
        before = calibrate.reliability(calibrate.softmax(logits[measuring]), shown[measuring])
        after = calibrate.reliability(calibrate.softmax(logits[measuring], temperature), shown[measuring])
        evaluate.plot_reliability(before, after, place / "reliability.png")
        members["calibration"] = {
            "temperature": temperature,
            "ece_test_uncalibrated": round(before.error, 5),
            "ece_test": round(after.error, 5),
        }
    if len(shown[choosing]) >= release.FOR_PRECISION // 2:
        members["precision"] = _precision(place, found, images[choosing], shown[choosing])
    return members


def _precision(place: Path, found: Foreign, images: Images, labels: Any) -> dict[str, Any]:
    """What it may be computed in besides float32: what costs no accuracy, and changes next to no answer."""
    path = place / precision.GRAPHS["int8"]
    if eight := onnx_eight_bits.quantized(found.proto, images[:: -(-len(images) // CALIBRATING)]):
        path.write_bytes(eight.SerializeToString())
    measured = precision.measure(place, Pictures(np.ascontiguousarray(images), labels), provenance.machine(), {})
    rows = measured["measured"]
    measured["exact"] = [name for name in measured["exact"] if rows[name]["changed"] <= MOST_CHANGED]
    for name, row in rows.items():
        if name != "float32":
            print(
                f"{name}: {row['changed']:.1%} of the answers change, {row['validation']:.1%} are right instead of "
                f"{rows['float32']['validation']:.1%}: {'may' if name in measured['exact'] else 'may not'} be served",
                flush=True,
            )
    if "int8" not in measured["exact"]:
        path.unlink(missing_ok=True)
    return measured


def _card(metadata: dict[str, Any]) -> str:
    """A short README.md: what was imported from where, and what was measured."""
    source, accuracy = metadata["source"], metadata.get("accuracy")
    lines = [
        f"# {metadata['name']}, version {metadata['version']}",
        f"Imported from `{source['file']}` (SHA-256 `{source['sha256']}`). It sees {metadata['input']['size']} x "
        f"{metadata['input']['size']} pixels and knows {len(metadata['labels'])} labels.",
        "In float32, what is served answers within 0.001 of the original in every probability, on the pictures that "
        "were compared.",
    ]
    rows = metadata["precision"].get("measured", {})
    if others := [name for name in metadata["precision"]["exact"] if name in rows and name != "float32"]:
        changed = ", ".join(f"{rows[name]['changed']:.1%} in {name}" for name in others)
        lines.append(f"It may be computed in {' and '.join(others)}, too: {changed} of the answers are others then.")
    if accuracy:
        low, high = accuracy["test_interval"]
        lines.append(
            f"**{accuracy['test']:.1%}** of {metadata['data']['test']:,} pictures are recognised (95 %: {low:.1%} to "
            f"{high:.1%})."
        )
        lines.append("![Confusion matrix](confusion.png)")
    else:
        lines.append("Its accuracy was not measured (`--check FOLDER` does), and its probabilities are not calibrated.")
    return "\n\n".join(lines) + "\n"
