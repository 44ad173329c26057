"""What it costs to replace a network while the service answers with it.

    python -m benchmarks.reload [--model fast] [--rounds 4] [--seconds 6]

Posts a small PNG over 32 connections with wrk, in alternating rounds: nothing changes, or the artifact is replaced by
another version at the start of the round. Prints the median rates, their ratio, and how many requests failed.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

from benchmarks.peers import CONVOSCOPE, ROOT
from benchmarks.peers.load import load
from benchmarks.peers.server import Server
from convoscope_client import Client

CONNECTIONS = 32


def publish(folder: Path, version: str) -> None:
    """Put a copy of the shipped artifact of that name in the place of `folder`, as another version."""
    hidden, old = (folder.with_name(f".{folder.name}.{kind}") for kind in ("new", "old"))
    shutil.copytree(ROOT / "models" / folder.name, hidden, ignore=shutil.ignore_patterns("*.keras"))
    metadata = json.loads((hidden / "metadata.json").read_text())
    (hidden / "metadata.json").write_text(json.dumps(metadata | {"version": version}))
    if folder.exists():
        os.replace(folder, old)
    os.replace(hidden, folder)
    shutil.rmtree(old, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=6)
    options = parser.parse_args()
    rates: dict[bool, list[float]] = {False: [], True: []}
    failed = refused = 0
    with tempfile.TemporaryDirectory() as models:
        folder = Path(models) / options.model
        publish(folder, "0")
        environment = {**CONVOSCOPE.environment, "CONVOSCOPE_MODELS": models}
        with Server(replace(CONVOSCOPE, environment=environment)) as server, Client(server.url) as client:
            load(server, CONNECTIONS, 2)
            for number in range(2 * options.rounds):
                changing = number % 2 == 1
                if changing:
                    threading.Timer(0.5, publish, (folder, f"{number}")).start()
                found = load(server, CONNECTIONS, options.seconds)
                rates[changing].append(found.rate)
                failed, refused = failed + found.failed, refused + found.refused
                if changing and (served := client.models().models[0].version) != f"{number}":
                    parser.exit(1, f"version {served} is served; expected {number}: the round was too short\n")
    still, changing_rate = (statistics.median(rates[kind]) for kind in (False, True))
    print(f"{options.model}, {CONNECTIONS} connections, {options.rounds} rounds of {options.seconds:g} s each")
    print(f"nothing changes  {still:8.0f} requests/s")
    print(f"one replacement  {changing_rate:8.0f} requests/s, {changing_rate / still:.0%} of it")
    print(f"failed {failed}, refused {refused}")


if __name__ == "__main__":
    main()
