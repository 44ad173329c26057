"""What Ray Serve costs in front of the same application, and what more replicas of it are worth.

    python -m benchmarks.cluster [--rounds 3] [--seconds 3] [--only ray ray-fast] [--json FILE]

Serves `fast` from one process, and from one and four replicas on a Ray cluster of this machine: behind Ray's own
proxy, and with its documented fast settings, under which HAProxy speaks HTTP with the replicas. Drives each with wrk,
one 32x32 PNG a request, on the server's own cores, in alternating rounds, and prints medians of the rounds: requests a
second with 1 and 32 connections, the rate with 32 as a share of the one process's in the same round, p50, processor
time per request and memory of all processes, Ray's included, and seconds until the first answer.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.peers import CONVOSCOPE, Peer
from benchmarks.peers.load import Load, load
from benchmarks.peers.server import Server
from training.release.card import table

FAST = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_HAPROXY_MAXCONN": "1000"}
FOUR = {"CONVOSCOPE_WORKERS": "4", "RAY_OVERRIDE_RESOURCES": '{"CPU": 4}'}  # on any machine


def on_ray(title: str, **environment: str) -> Peer:
    """The application on a cluster that Ray starts for it."""
    environment |= CONVOSCOPE.environment
    return replace(CONVOSCOPE, title=title, command=("-m", "app", "serve", "--ray"), environment=environment)


SERVERS = {
    "process": CONVOSCOPE,
    "ray": on_ray("Ray, one replica"),
    "ray-fast": on_ray("Ray with HAProxy, one replica", **FAST),
    "ray-four": on_ray("Ray, four replicas", **FOUR),
    "ray-four-fast": on_ray("Ray with HAProxy, four replicas", **FOUR, **FAST),
}


@dataclass(frozen=True)
class Run:
    """One server in one round."""

    lone: Load
    many: Load
    milliseconds: float
    """Of processor time per request, with 32 connections."""
    megabytes: float
    cold_start: float


def measured(server: Server, seconds: float) -> Run:
    """Drive a server that has answered once."""
    load(server, 32, 2)
    lone = load(server, 1, seconds)
    before = server.cpu_seconds()
    many = load(server, 32, seconds)
    spent = server.cpu_seconds() - before
    return Run(lone, many, spent / max(many.served, 1) * 1e3, server.megabytes(), server.cold_start)


def row(title: str, runs: list[Run], plain: list[Run]) -> tuple[str, ...]:
    """A line of the table."""

    def median(figure: Callable[[Run], float]) -> float:
        return statistics.median(map(figure, runs))

    share = statistics.median(run.many.rate / one.many.rate for run, one in zip(runs, plain, strict=True))
    lost = sum(run.lone.failed + run.many.failed + run.lone.refused + run.many.refused for run in runs)
    return (
        title,
        f"{median(lambda run: run.lone.rate):,.0f}",
        f"{median(lambda run: run.many.rate):,.0f}",
        f"{share:.2f}",
        f"{median(lambda run: run.lone.p50):.1f}, {median(lambda run: run.many.p50):.1f}",
        f"{median(lambda run: run.milliseconds):.2f}",
        f"{median(lambda run: run.megabytes):,.0f}",
        f"{median(lambda run: run.cold_start):.1f}",
        str(lost),
    )


def figures(runs: list[Run]) -> dict[str, float]:
    """Medians for the simulation: milliseconds of processor time per request, and p50 with one connection."""
    return {
        "cpu_ms": statistics.median(run.milliseconds for run in runs),
        "p50_ms": statistics.median(run.lone.p50 for run in runs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load")
    parser.add_argument("--only", nargs="+", choices=list(SERVERS)[1:], default=list(SERVERS)[1:])
    parser.add_argument("--json", type=Path, help="a file to write, for benchmarks.replicas")
    options = parser.parse_args()
    runs: dict[str, list[Run]] = {name: [] for name in ("process", *options.only)}
    for number in range(options.rounds):
        for name, found in runs.items():
            print(f"round {number + 1} of {options.rounds}: {SERVERS[name].title}", file=sys.stderr)
            with Server(SERVERS[name]) as server:
                found.append(measured(server, options.seconds))
    header = (
        "",
        "requests a second, 1 connection",
        "32",
        "to one process",
        "p50 ms, 1 and 32",
        "CPU ms",
        "MB",
        "start s",
    )
    rows = [row(SERVERS[name].title, found, runs["process"]) for name, found in runs.items()]
    print(table((*header, "lost"), rows))
    if options.json:
        options.json.write_text(json.dumps({name: figures(found) for name, found in runs.items()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
