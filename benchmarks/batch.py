"""How fast `convoscope batch` is beside the bare engine, and how much memory it takes.

    python -m benchmarks.batch [--model fast] [--pictures 20000] [--rounds 3]

Writes 32x32 pictures as a folder of PNG files, a zip, a tar and a Parquet file, and predicts each in a process of its
own, in turn with the engine in batches of 32. Prints medians of the rounds: pictures a second, their ratio to the
engine's in the same round, CPU milliseconds a picture, and the memory that the process had at most. The last row reads
the tar ten times over, which shows whether memory grows with the input.
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
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow
from pyarrow import parquet

from benchmarks.peers import ROOT
from benchmarks.peers.bare import bare
from training.release.card import table

SECONDS = 4.0


@dataclass(frozen=True)
class Run:
    """One job."""

    rate: float
    ratio: float
    cpu: float
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
    return {"folder": [files], "zip": [zipped], "tar": [tarred], "Parquet": [table], "ten tars": [tarred] * 10}


def job(inputs: list[Path], out: Path, model: str, engine: float) -> Run:
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
    cpu = (used.ru_utime + used.ru_stime) * 1e3 / summary["pictures"]
    return Run(summary["rate"], summary["rate"] / engine, cpu, used.ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    runs: dict[str, list[Run]] = {}
    with tempfile.TemporaryDirectory() as place:
        jobs = prepare(Path(place), options.pictures)
        for number in range(options.rounds):
            for name, inputs in jobs.items():
                engine = bare(options.model, SECONDS).rate
                out = Path(place) / f"{name}{number}.csv"
                runs.setdefault(name, []).append(job(inputs, out, options.model, engine))
    rows = [(name, *(f"{value:{form}}" for value, form in medians(found))) for name, found in runs.items()]
    print(table(("input", "pictures a second", "of the engine's", "CPU ms a picture", "MB"), rows))


def medians(found: list[Run]) -> list[tuple[float, str]]:
    """Of each figure, and how to write it."""
    forms = {"rate": ",.0f", "ratio": ".2f", "cpu": ".2f", "megabytes": ".0f"}
    return [(statistics.median(getattr(run, name) for run in found), form) for name, form in forms.items()]


if __name__ == "__main__":
    main()
