"""Convoscope beside others that serve the same network with the same engine on the same cores.

    python -m benchmarks.serving [--peers mosec,bentoml] [--rounds 3] [--seconds 4]

Installs the peers (once), checks that all give the same answers, and drives each with wrk, one 32x32 PNG a request, on
the server's own cores, in alternating rounds: every server is started anew, warmed up and measured at each number of
connections while no other runs. Figures are medians of the rounds. Convoscope serves every network there is, as it is
shipped, and is asked for `fast`; it is also measured against the bare engine in the same rounds, and against the
targets. Writes Markdown to standard output, and serving.png and serving.json into docs/benchmarks. Takes under 20
minutes.
"""

import argparse
import dataclasses
import datetime
import json
import platform
import shutil
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import version

from app import processors
from app.settings import Settings
from benchmarks import guard
from benchmarks.peers import CONVOSCOPE, ENGINE, PEERS, ROOT, Peer
from benchmarks.peers.load import load
from benchmarks.peers.report import CONNECTIONS, Row, Target, markdown, median, plot
from benchmarks.peers.server import PICTURES, Server

TOLERANCE = 0.01
WARM_UP = 1.0
PAGES = ROOT / "docs" / "benchmarks"
SHORT_QUEUE = 64


def check(servers: Sequence[Peer]) -> None:
    """Every server says of each picture what the first one says. Raises RuntimeError where one does not."""
    expected: list[dict[str, float]] = []
    for peer in servers:
        progress(f"checking {peer.title}")
        with Server(peer) as server:
            answers = [server.top(picture) for picture in PICTURES]
        expected = expected or answers
        for picture, theirs, ours in zip(PICTURES, answers, expected, strict=True):
            # Of labels that are hardly probable, another may be the third.
            apart = max(abs(theirs.get(label, 0) - ours.get(label, 0)) for label in theirs | ours)
            if next(iter(theirs)) != next(iter(ours)) or apart > TOLERANCE:
                raise RuntimeError(f"{peer.title} says of {picture.name} {theirs}; expected {ours}")


def measure(server: Server, seconds: float) -> Row:
    """One round of one server."""
    warm = load(server, 8, WARM_UP)
    found, cpu = {}, {}
    for count in CONNECTIONS:
        before = server.cpu_seconds()
        enough = 2 * count / max(warm.rate, 1)  # for the slowest to answer every connection at all
        found[count] = load(server, count, max(seconds, enough))
        cpu[count] = server.cpu_seconds() - before
    lost = sum(one.failed + one.refused for one in found.values())
    return Row(
        rate={count: one.rate for count, one in found.items()},
        p50={count: one.p50 for count, one in found.items()},
        p99={count: one.p99 for count, one in found.items()},
        cpu=cpu[32] / max(found[32].served, 1) * 1000,
        megabytes=server.megabytes(),
        cold_start=server.cold_start,
        failed=lost / max(1, lost + sum(one.served for one in found.values())),
    )


def against_peers(rows: dict[str, list[Row]]) -> list[Target]:
    """Convoscope's rates to those of each peer, medians of the ratios of each round."""

    def ratio(name: str, connections: int) -> float:
        pairs = zip(rows[CONVOSCOPE.name], rows[name], strict=True)
        return statistics.median(ours.rate[connections] / max(theirs.rate[connections], 1e-9) for ours, theirs in pairs)

    targets = []
    for name, connections, wanted in (
        ("mosec", 32, 1.1),
        ("litserve", 32, 4.0),
        ("bentoml", 32, 4.0),
        ("mlserver", 32, 4.0),
        ("mosec", 1, 4.0),
    ):
        if name in rows:
            found = ratio(name, connections)
            title = f"{connections} connection{'s' * (connections > 1)}, to {name}"
            targets.append(Target(title, f"{found:.2f}", f"{wanted:g}", found >= wanted))
    return targets


def against_engine(rounds: list[guard.Round]) -> list[Target]:
    """Convoscope to the bare engine, medians of the rounds."""
    ratios = guard.medians([one.ratios for one in rounds])
    wanted = {guard.BATCHED: 0.75, guard.MANY: 0.95, guard.CROWDED: 0.9}
    targets = [
        Target(name, f"{ratios[name]:.2f}", f"{least:g}", ratios[name] >= least) for name, least in wanted.items()
    ]
    over = statistics.median(one.alone.p50 - one.engine.milliseconds for one in rounds)
    targets.append(Target("1 connection, p50 over decoding and inferring", f"{over:.2f} ms", "0.6 ms", over <= 0.6))
    slowest = statistics.median(one.crowded.p99 / 1e3 for one in rounds)
    limit = 4 * Settings().max_queue / statistics.median(one.batched.rate for one in rounds)
    name = "512 connections, p99 of what is served"
    return [*targets, Target(name, f"{slowest:.2f} s", f"{limit:.2f} s", slowest <= limit)]


def of_accurate(rounds: int, seconds: float) -> list[Target]:
    """The larger network's rate to its bare engine's, where it is there."""
    if not (ROOT / "models" / "accurate").exists():
        return []
    with Server(CONVOSCOPE) as server:
        found = guard.medians([guard.measure(server, "accurate", seconds).ratios for _ in range(rounds)])[guard.BATCHED]
    return [Target(f"`accurate`, {guard.BATCHED}", f"{found:.2f}", "0.9", found >= 0.9)]


def of_a_full_queue(rounds: int, seconds: float) -> list[Target]:
    """512 connections on a queue too short for them: what is served, and how the rest is refused."""
    limits = {"CONVOSCOPE_MAX_QUEUE": str(SHORT_QUEUE), "CONVOSCOPE_MAX_PICTURES": str(SHORT_QUEUE)}
    shares, slowest, refused = [], [], 0
    with Server(CONVOSCOPE, **limits) as server:
        load(server, 8, WARM_UP)
        for _ in range(rounds):
            calm, crowded = load(server, 32, seconds), load(server, 512, seconds, each=True)
            if crowded.failed:
                raise RuntimeError(f"{crowded.failed} requests failed instead of being refused")
            shares.append(crowded.rate / calm.rate)
            slowest.append(crowded.p99 / 1e3 * calm.rate / SHORT_QUEUE)
            refused += crowded.refused
    share, times = statistics.median(shares), statistics.median(slowest)
    name = f"the same with a queue of {SHORT_QUEUE}, {refused:,} requests refused with 503 and Retry-After"
    return [
        Target(f"{guard.CROWDED}: {name}", f"{share:.2f}", "0.9", share >= 0.9 and refused > 0),
        Target("p99 of what is then served, in queue limits / rate", f"{times:.1f}", "4", times <= 4),
    ]


def of_one_process(rows: list[Row], requests: int) -> list[Target]:
    """Cold start, and memory over many requests."""
    cold = statistics.median(row.cold_start for row in rows)
    with Server(CONVOSCOPE) as server:
        served = load(server, 32, 5).served
        before = server.megabytes()
        while served < requests:
            served += max(1, load(server, 32, 10).served)
        after = server.megabytes()
    name = f"memory after {served:,} requests (at first {before:.0f} MB)"
    return [
        Target("cold start", f"{cold:.2f} s", "1.0 s", cold <= 1.0),
        Target(name, f"{after:.0f} MB", "200 MB, flat", after <= 200 and after <= 1.03 * before),
    ]


def machine() -> str:
    """The processor, its cores, and the versions that matter most."""
    with open("/proc/cpuinfo") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")
    return f"{model}, {processors.usable()} cores, Python {platform.python_version()}, {', '.join(ENGINE)}"


def progress(line: str) -> None:
    print(f"{datetime.datetime.now():%H:%M:%S} {line}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=",".join(peer.name for peer in PEERS), help="which ones (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load")
    parser.add_argument("--requests", type=int, default=200_000, help="over which memory is to stay flat")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk, the load generator, is not installed (Debian's package wrk)")
    known = {peer.name: peer for peer in PEERS}
    if unknown := set(filter(None, options.peers.split(","))) - set(known):
        parser.error(f"--peers names {', '.join(sorted(unknown))}; expected some of {', '.join(known)}")
    servers = [CONVOSCOPE, *(known[name] for name in options.peers.split(",") if name)]
    for peer in servers:
        peer.install()
    check(servers)

    rows: dict[str, list[Row]] = {peer.name: [] for peer in servers}
    rounds: list[guard.Round] = []
    for number in range(options.rounds):
        for peer in servers:
            progress(f"round {number + 1} of {options.rounds}: {peer.title}")
            with Server(peer) as server:
                rows[peer.name].append(measure(server, options.seconds))
                if peer is CONVOSCOPE:
                    rounds.append(guard.measure(server, "fast", options.seconds))
    progress("the targets")
    targets = [
        *against_peers(rows),
        *against_engine(rounds),
        *of_a_full_queue(options.rounds, options.seconds),
        *of_accurate(options.rounds, options.seconds),
        *of_one_process(rows[CONVOSCOPE.name], options.requests),
    ]
    medians = {peer.title: median(rows[peer.name]) for peer in servers}
    engine = statistics.median(one.engine.rate for one in rounds)
    today = f"{datetime.date.today()}"
    print(markdown(medians, targets, engine))
    print(f"\n{today}, {machine()}; {options.rounds} rounds of {options.seconds:g} s.")
    plot(medians, PAGES / "serving.png")
    results = {
        "date": today,
        "machine": machine(),
        "versions": {
            "convoscope": version("convoscope"),
            **{p.name: p.requirements for p in servers if p.requirements},
        },
        "rounds": options.rounds,
        "seconds": options.seconds,
        "engine": engine,
        "servers": {title: dataclasses.asdict(row) for title, row in medians.items()},
        "targets": [dataclasses.asdict(target) for target in targets],
    }
    (PAGES / "serving.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
