"""The engine with no web around it, set as Convoscope sets it: what any server of it could reach at most.

    python -m benchmarks.peers.bare MODEL SECONDS

Prints JSON: pictures a second in batches of 32, as many in hand as the engine takes, the milliseconds (median) of
decoding and inferring one PNG after the other, and the CPU milliseconds of a picture in batches. Each is measured for
SECONDS, in a process of its own.
"""

import json
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from app.imaging import thumbnail
from app.inference.artifact import Place, read
from app.inference.engine import Engine, supported_precision
from app.inference.metadata import Input
from app.settings import Settings
from benchmarks.peers import ROOT

FROG = ROOT / "tests" / "pictures" / "frog.png"
INPUT = Input()
BATCH = 32


@dataclass(frozen=True)
class Bare:
    """Pictures a second in batches, and milliseconds of one alone."""

    rate: float
    milliseconds: float
    cpu: float
    """Milliseconds of all cores together for a picture in batches."""


def bare(model: str, seconds: float) -> Bare:
    """Measure `model` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.peers.bare", model, str(seconds)]
    return Bare(**json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout))


def _rate(engine: Engine, seconds: float) -> float:
    batch = [thumbnail(FROG.read_bytes(), INPUT)] * BATCH
    counts = [0] * engine.depth
    started = time.perf_counter()

    def work(number: int) -> None:
        while time.perf_counter() - started < seconds:
            engine.logits(batch)
            counts[number] += BATCH

    threads = [threading.Thread(target=work, args=(number,)) for number in range(engine.depth)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def _milliseconds(engine: Engine, seconds: float) -> float:
    body = FROG.read_bytes()
    took = []
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop:
        started = time.perf_counter()
        engine.logits([thumbnail(body, INPUT)])
        took.append((time.perf_counter() - started) * 1e3)
    return statistics.median(took)


def main() -> None:
    model, seconds = sys.argv[1], float(sys.argv[2])
    artifact = read(ROOT / "models", Place(model))
    precision = supported_precision(Settings().precision, artifact.metadata.precision.exact)
    engine = Engine(artifact.graph(precision), precision=precision)
    _rate(engine, 0.3)
    before = time.process_time()
    rate = _rate(engine, seconds)
    cpu = (time.process_time() - before) / (rate * seconds) * 1e3
    print(json.dumps({"rate": rate, "milliseconds": _milliseconds(engine, seconds), "cpu": cpu}))


if __name__ == "__main__":
    main()
