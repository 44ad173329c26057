"""Whether the service has become slower: its rates against the bare engine's, measured in the same run.

    python -m benchmarks.guard [--write]

Prints ratios, medians of alternating rounds, and exits with 1 where one is more than a tenth below the one in
benchmarks/guard.json; `--write` replaces these. Ratios differ between machines, if less than times do: compare on the
machine that wrote them, with nothing else running. Takes under two minutes.
"""

import argparse
import io
import json
import statistics
import sys
from dataclasses import dataclass

import numpy as np

from benchmarks.peers import CONVOSCOPE, ROOT
from benchmarks.peers.bare import Bare, bare
from benchmarks.peers.load import Load, load
from benchmarks.peers.server import Server

COMMITTED = ROOT / "benchmarks" / "guard.json"
TOLERANCE = 0.1
ROUNDS = 4
PICTURES = 64

BATCHED = "32 connections, one PNG a request / the engine in batches of 32"
ALONE = "decoding and inferring one PNG / p50 of one connection"
MANY = "64 pictures a request, npy / the engine in batches of 32"
CROWDED = "512 connections / 32 connections"


@dataclass(frozen=True)
class Round:
    """The engine alone, and the service under each load, one after the other."""

    engine: Bare
    batched: Load
    alone: Load
    many: Load
    crowded: Load

    @property
    def ratios(self) -> dict[str, float]:
        """Each is better the higher it is."""
        return {
            BATCHED: self.batched.rate / self.engine.rate,
            ALONE: self.engine.milliseconds / self.alone.p50,
            MANY: self.many.rate * PICTURES / self.engine.rate,
            CROWDED: self.crowded.rate / self.batched.rate,
        }


def many_pictures() -> tuple[bytes, str]:
    """A body of PICTURES pictures and its content type."""
    file = io.BytesIO()
    np.save(file, np.random.default_rng(0).integers(0, 256, (PICTURES, 32, 32, 3), dtype=np.uint8))
    return file.getvalue(), "application/x-npy"


def measure(server: Server, model: str, seconds: float) -> Round:
    """One round with `model`. Raises RuntimeError where a request fails."""
    path = f"/predict?model={model}"
    found = Round(
        engine=bare(model, seconds),
        batched=load(server, 32, seconds, path=path),
        alone=load(server, 1, seconds, path=path),
        many=load(server, 4, seconds, path=path, request=many_pictures()),
        crowded=load(server, 512, seconds, path=path, each=True),
    )
    if failed := found.batched.failed + found.alone.failed + found.many.failed + found.crowded.failed:
        raise RuntimeError(f"{failed} requests failed")
    return found


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(found[name] for found in rounds) for name in rounds[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make this run the one to compare with")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    options = parser.parse_args()
    with Server(CONVOSCOPE) as server:
        load(server, 32, 1)
        found = medians([measure(server, "fast", options.seconds).ratios for _ in range(options.rounds)])
    if options.write:
        COMMITTED.write_text(json.dumps({name: round(value, 3) for name, value in found.items()}, indent=1) + "\n")
    committed = json.loads(COMMITTED.read_text())
    fallen = False
    for name, value in found.items():
        least = committed[name] * (1 - TOLERANCE)
        fallen |= value < least
        print(f"{name:66} {value:6.2f}  at least {least:.2f}{'  FALLEN' if value < least else ''}")
    sys.exit(1 if fallen else 0)


if __name__ == "__main__":
    main()
