"""What `convoscope train --data FOLDER` reaches: accuracy against minutes, for several sets of pictures.

    python -m benchmarks.own [digits cifar10-50 cifar10-500 cifar10-5000 turntable hands FOLDER ...] [--time 20m]
        [--from scratch] [--size 64] [--keep FOLDER]

`digits` are scikit-learn's 1,797 handwritten digits of 8 x 8 pixels. `cifar10-N` is N of CIFAR-10's training pictures
for each label. The shipped networks were trained on them, so only new weights (`--from scratch`, the default) show
anything. Its 10,000 test pictures are asked about at the end. `turntable` has 205 views of each of ten spotted bodies,
drawn by `turntable.py`: 100 x 100 pixels on white, each view nearly the same as the next. `hands` are the hands of 205
people who show ten numbers, drawn by `hands.py`: they differ in shape, not in colour. Any folder or CSV will do.

Prints, for each, what the command itself reported, and what it cost in minutes, CPU minutes and peak memory. On a busy
machine compare CPU minutes: fewer of them fit into the same time.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import app.imaging as imaging
from app.inference.metadata import Input
from benchmarks import hands, turntable
from training import data
from training.data import LABELS, Pictures
from training.own.graph import Graph
from training.release.card import table

CIFAR10 = re.compile(r"cifar10-(\d+)")
COLUMNS = ("set", "pictures", "time", "took", "CPU", "first result", "held out", "CIFAR-10 test", "memory")


@dataclass(frozen=True)
class Outcome:
    """What a run of the command said and cost. `seconds` is wall time, `memory` the peak in bytes."""

    folder: Path
    said: str
    seconds: float
    cpu_seconds: float
    memory: int


def digits(place: Path) -> None:
    """scikit-learn's handwritten digits, 0 to 16 in its file, as grey pictures."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        sys.exit("digits come with scikit-learn, which is not installed: pip install scikit-learn")
    found = load_digits()
    images = np.rint(found.images * (255 / 16)).astype(np.uint8)
    _write(place, images, found.target, [str(label) for label in range(10)])


def cifar10(place: Path, count: int) -> None:
    """`count` training pictures of each label, always the same."""
    pictures = data.load_training(data.find())
    order = np.random.default_rng(7).permutation(len(pictures.labels))
    chosen = np.concatenate([order[pictures.labels[order] == label][:count] for label in range(len(LABELS))])
    _write(place, pictures.images[chosen], pictures.labels[chosen], LABELS)


def _write(
    place: Path, images: NDArray[np.uint8], labels: NDArray[np.integer], names: list[str] | tuple[str, ...]
) -> None:
    for name in names:
        (place / name).mkdir(parents=True)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        Image.fromarray(image).save(place / names[label] / f"{number}.png")


def maker(name: str) -> Callable[[Path], None] | None:
    """What writes the set of that name into a new folder; None where it is a folder of the reader's own."""
    if found := CIFAR10.fullmatch(name):
        return lambda place: cifar10(place, int(found[1]))
    return {"digits": digits, "turntable": turntable.write, "hands": hands.write}.get(name)


def train(pictures: Path, place: Path, options: argparse.Namespace) -> Outcome:
    """Run the command as a process of its own, showing what it says."""
    words = ["train", "--data", str(pictures), "--name", "mine", "--time", options.time, "--from", options.start]
    words += ["--models", str(place / "models"), "--runs", str(place / "runs")]
    words += ["--size", str(options.size)] if options.size else []
    began, said = time.monotonic(), []
    process = subprocess.Popen([sys.executable, "-m", "training", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        print(line, end="", flush=True)
        said.append(line)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"training on {pictures} failed")
    (folder,) = (place / "models" / "mine").glob("[!.]*")
    unit = 1 if sys.platform == "darwin" else 1024
    cpu = usage.ru_utime + usage.ru_stime
    return Outcome(folder, "".join(said), time.monotonic() - began, cpu, usage.ru_maxrss * unit)


def row(name: str, asked: str, outcome: Outcome) -> tuple[str, ...]:
    """The line of the table for one run."""

    def found(pattern: str) -> tuple[str, ...]:
        match = re.search(pattern, outcome.said)
        return match.groups() if match else ("-",) * 2

    first = found(r"First result after (\d+) s: .* recognises ([\d.]+%)")
    held_out = found(r"([\d.]+%) of [\d,]+ test pictures are recognised \(95 %: ([^)]+)\)")
    return (
        name,
        found(r": ([\d,]+) files under")[0],
        asked,
        f"{outcome.seconds / 60:.1f} min",
        f"{outcome.cpu_seconds / 60:.1f} min",
        "-" if first[0] == "-" else f"{first[1]} after {first[0]} s",
        f"{held_out[0]} ({held_out[1]})",
        _on_test_pictures(outcome.folder, data.load_test(data.find())) if CIFAR10.fullmatch(name) else "-",
        f"{outcome.memory / 1e9:.2f} GB",
    )


def _on_test_pictures(folder: Path, pictures: Pictures) -> str:
    """The share that the network recognises of pictures that neither trained nor chose it."""
    seen = Input.model_validate(json.loads((folder / "metadata.json").read_text())["input"])
    batches = (
        imaging.resize(pictures.images[start : start + 250], seen) for start in range(0, len(pictures.images), 250)
    )
    (logits,) = Graph(folder / "model.onnx")(batches)
    return f"{np.mean(logits.argmax(axis=1) == pictures.labels):.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=["digits", "cifar10-50", "cifar10-500", "turntable"])
    parser.add_argument("--time", default="20m")
    parser.add_argument("--from", dest="start", default="scratch")
    parser.add_argument("--size", type=int)
    parser.add_argument(
        "--keep", type=Path, help="a new folder for the pictures and networks, by default a temporary one"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rows = []
        for name in options.sets:
            place = (options.keep or Path(temporary)) / Path(name).name
            make, pictures = maker(name), place / "pictures"
            if make:
                make(pictures)
            rows.append(row(name, options.time, train(pictures if make else Path(name), place, options)))
    print("\n" + table(COLUMNS, rows))


if __name__ == "__main__":
    main()
