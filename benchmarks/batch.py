"""How fast `convoscope batch` is compared with the bare engine, and how much memory it takes.

    python -m benchmarks.batch [--model fast] [--pictures 20000] [--rounds 3]

Writes 32x32 pictures as a folder of PNG files, a zip, a tar and a Parquet file, and predicts each in a process of its
own, in turn with the engine in batches of 32. Prints medians of the rounds: pictures a second, their ratio to the
engine's in the same round, CPU milliseconds a picture without what the start takes, the engine's own share of them, and
the memory that the process had at most. The last row reads the tar five times over: memory must not grow with it. On a
machine that others use too, the share of CPU time says more than the ratio of rates.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow
from pyarrow import parquet

from benchmarks.peers import ROOT
from benchmarks.peers.bare import Bare, bare
from training.release.card import table

FEW = 32
"""Pictures of a job that does little more than start."""


@dataclass(frozen=True)
class Run:
    """One job."""

    pictures: int
    rate: float
    seconds: float
    """CPU time of the whole process."""
    megabytes: float


def encoded(count: int) -> Iterable[tuple[str, bytes]]:
    """So many PNG files, all different, with names in their order."""
    with np.load(ROOT / "tests" / "pictures" / "cifar10.npz") as file:
        images = file["images"]
    for i in range(count):
        picture = np.roll(images[i % len(images)], i // len(images), axis=1)
        yield f"{i:07}.png", cv2.imencode(".png", picture)[1].tobytes()


def prepare(folder: Path, count: int) -> dict[str, list[Path]]:
    """The inputs of each job."""
    files, zipped, tarred, table = (folder / name for name in ("files", "a.zip", "a.tar", "a.parquet"))
    files.mkdir()
    rows = []
    with zipfile.ZipFile(zipped, "w") as archive, tarfile.open(tarred, "w") as tape:
        for name, data in encoded(count):
            (files / name).write_bytes(data)
            archive.writestr(name, data)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tape.addfile(entry, io.BytesIO(data))
            rows.append(data)
    parquet.write_table(pyarrow.table({"image": rows}), table)
    return {"folder": [files], "zip": [zipped], "tar": [tarred], "Parquet": [table], "five tars": [tarred] * 5}


def job(inputs: list[Path], out: Path, model: str) -> Run:
    """Do one job in a process of its own. Raises RuntimeError where it fails."""
    command = [sys.executable, "-m", "app", "batch", *map(str, inputs), "--out", str(out), "--model", model, "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}")
    summary = json.loads(said)
    return Run(summary["pictures"], summary["rate"], used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def row(name: str, found: list[tuple[Run, Bare]], start: Run) -> tuple[str, ...]:
    """A line of the table: medians of the runs and of the engine's beside each."""

    def median(figure: Callable[[Run, Bare], float]) -> float:
        return statistics.median(figure(run, engine) for run, engine in found)

    def cpu(run: Run) -> float:
        return (run.seconds - start.seconds) / (run.pictures - start.pictures) * 1e3

    return (
        name,
        f"{median(lambda run, engine: run.rate):,.0f}",
        f"{median(lambda run, engine: run.rate / engine.rate):.2f}",
        f"{median(lambda run, engine: cpu(run)):.2f}",
        f"{median(lambda run, engine: engine.cpu / cpu(run)):.2f}",
        f"{median(lambda run, engine: run.megabytes):.0f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of the engine alone, beside each job")
    options = parser.parse_args()
    runs: dict[str, list[tuple[Run, Bare]]] = {}
    starts = []
    with tempfile.TemporaryDirectory() as place:
        jobs = prepare(Path(place), options.pictures)
        few = sorted((Path(place) / "files").iterdir())[:FEW]
        for number in range(options.rounds):
            starts.append(job(few, Path(place) / f"start{number}.csv", options.model))
            for name, inputs in jobs.items():
                out = Path(place) / f"{name}{number}.csv"
                runs.setdefault(name, []).append(
                    (job(inputs, out, options.model), bare(options.model, options.seconds))
                )
    start = min(starts, key=lambda run: run.seconds)
    header = ("input", "pictures a second", "to the engine's", "CPU ms a picture", "the engine's share", "MB at most")
    print(table(header, [row(name, found, start) for name, found in runs.items()]))


if __name__ == "__main__":
    main()
