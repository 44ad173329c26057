"""How 1 to 100 replicas behind a balancer would answer: a simulation from times that one real process took.

    python -m benchmarks.replicas [--model fast] [--seconds 3] [--requests 60000] [--seed 0] [--ray FILE]

Measures, in processor time, which other programs on the machine hardly change: the engine for each size of batch, and
the event loop for a request. Then simulates one replica under wrk's loads, beside the real process under them, which
shows how far the simulation can be trusted; and many replicas to which requests come at random (a Poisson process), at
a share of what the replicas can do, with three balancers. Needs wrk. Seeded: the same times give the same table.

A simulated replica batches as `app.inference.batcher` does. Its event loop shares the cores with its engine, so what
the loop needs for a batch's requests makes the batch longer while others wait. Networks and the balancer's own time are
left out, and balancers know at once what is in flight.

FILE is what `benchmarks.cluster --json FILE` measured. For each server on Ray with one replica in it, a further table
has replicas on Ray, each on a node of its own with a proxy: what a request costs more there than in one process counts
as time of the node's cores, and what one lone request takes longer is added to every answer.
"""

import argparse
import heapq
import json
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from app import processors
from app.inference.artifact import Place, read
from app.inference.batcher import batch_sizes
from app.inference.engine import Engine, supported_precision
from app.inference.network import BATCH_STEP
from app.settings import Settings
from benchmarks.peers import CONVOSCOPE, ROOT
from benchmarks.peers.load import Load, load
from benchmarks.peers.server import Server
from benchmarks.where_time_goes import thread_seconds

REPLICAS = (1, 2, 5, 10, 20, 50, 100)
LOADS = (0.5, 0.7, 0.9)
CONNECTIONS = (1, 8, 32, 128)
DEPTH = 2
"""Batches in flight, as `Engine.depth`: one runs, and the next one waits, so that the engine never idles."""

MAX_BATCH = Settings.model_fields["max_batch"].default


@dataclass(frozen=True)
class Times:
    """Seconds that a replica's cores are busy: all of them for a batch by its size, and one for a request's loop."""

    batch: dict[int, float]
    loop: float
    cores: int
    proxy: float = 0.0
    """The cores' seconds for a request in a proxy on the same node."""

    @property
    def capacity(self) -> float:
        """Requests per second that one replica can answer at most, in batches of the largest size."""
        largest = max(self.batch)
        return largest / (self.batch[largest] + largest * (self.loop + self.proxy) / self.cores)


@dataclass
class Replica:
    """One simulated process: the requests that wait, and how many batches and requests are in flight."""

    times: Times
    waiting: deque[float] = field(default_factory=deque)
    batches: int = 0
    in_flight: int = 0
    free: float = 0.0
    """When the engine has finished what it has."""

    def start(self, now: float) -> tuple[float, list[float]] | None:
        """When the next batch will end, and the arrivals in it; None if the batcher would start none now."""
        most = max(self.times.batch)
        if not self.waiting or self.batches >= DEPTH or (self.batches and 2 * len(self.waiting) < most):
            return None
        size = max(size for size in self.times.batch if size <= len(self.waiting))
        taken = [self.waiting.popleft() for _ in range(size)]
        seconds = self.times.batch[size]
        if self.waiting or self.batches:
            seconds += size * (self.times.loop + self.times.proxy) / self.times.cores
        self.batches += 1
        self.free = max(self.free, now) + seconds
        return self.free, taken


Choose = Callable[[Sequence[Replica], random.Random, int], int]
"""The replica for the request of this number."""


def least_in_flight(replicas: Sequence[Replica], chance: random.Random, number: int) -> int:
    """One of those with the fewest requests in flight."""
    least = min(replica.in_flight for replica in replicas)
    return chance.choice([index for index, replica in enumerate(replicas) if replica.in_flight == least])


def round_robin(replicas: Sequence[Replica], chance: random.Random, number: int) -> int:
    """Each in turn."""
    return number % len(replicas)


def random_two(replicas: Sequence[Replica], chance: random.Random, number: int) -> int:
    """The one with fewer requests in flight, of two at random (Mitzenmacher 2001)."""
    two = chance.randrange(len(replicas)), chance.randrange(len(replicas))
    return min(two, key=lambda index: replicas[index].in_flight)


BALANCERS: dict[str, Choose] = {
    "least in flight": least_in_flight,
    "random two": random_two,
    "round robin": round_robin,
}


def simulate(
    times: Times,
    replicas: int,
    requests: int,
    *,
    rate: float = 0.0,
    connections: int = 0,
    choose: Choose = least_in_flight,
    seed: int = 0,
) -> tuple[list[float], float]:
    """Seconds of each request but the first tenth, in order of their ends, and requests per second.

    Requests come at random `rate` times a second; or from so many `connections`, each of which sends the next when it
    has its answer.
    """
    chance = random.Random(seed)
    all_ = [Replica(times) for _ in range(replicas)]
    events: list[tuple[float, int, int, list[float]]] = []
    """Time, order, the replica whose batch ends or -1 for an arrival, and when the batch's requests arrived."""
    number = arrived = 0
    took: list[float] = []
    ends: list[float] = []

    def push(when: float, replica: int, arrivals: list[float]) -> None:
        nonlocal number
        number += 1
        heapq.heappush(events, (when, number, replica, arrivals))

    for index in range(connections or 1):
        push(index * times.loop, -1, [])
    while len(took) < requests:
        now, _, index, arrivals = heapq.heappop(events)
        if index < 0:
            index = choose(all_, chance, arrived)
            arrived += 1
            all_[index].waiting.append(now)
            all_[index].in_flight += 1
            if not connections:
                push(now + chance.expovariate(rate), -1, [])
        else:
            all_[index].batches -= 1
            all_[index].in_flight -= len(arrivals)
            for place, began in enumerate(arrivals, 1):
                took.append(now - began + times.loop)
                ends.append(now)
                if connections:  # the loop answers one after the other
                    push(now + place * times.loop, -1, [])
        if started := all_[index].start(now):
            push(started[0], index, started[1])
    skipped = requests // 10
    return took[skipped:requests], (requests - skipped) / (ends[requests - 1] - ends[skipped - 1])


def percentile(seconds: Sequence[float], share: float) -> float:
    """Milliseconds within which this share of the requests was answered."""
    return float(np.quantile(np.asarray(seconds), share)) * 1e3


def measured_batches(model: str, seconds: float) -> dict[int, float]:
    """For each size of batch, processor seconds over cores: the median of rounds in which the sizes alternate."""
    artifact = read(ROOT / "models", Place(model))
    precision = supported_precision(Settings().precision, artifact.metadata.precision.exact)
    engine = Engine(artifact.graph(precision), precision=precision)
    picture = np.zeros(engine.picture, np.uint8)
    sizes = batch_sizes(MAX_BATCH, BATCH_STEP)
    engine.prepare(sizes)
    found: dict[int, list[float]] = {size: [] for size in sizes}
    stop = time.perf_counter() + seconds * 4
    while time.perf_counter() < stop:
        for size in sizes:
            before = time.process_time()
            for _ in range(repeats := max(1, MAX_BATCH // size)):
                engine.logits([picture] * size)
            found[size].append((time.process_time() - before) / repeats)
    engine.close()
    return {size: statistics.median(values) / processors.usable() for size, values in found.items()}


def measured(model: str, seconds: float) -> tuple[Times, dict[int, Load], dict[int, float]]:
    """What one real process took, and how it answered each load, with processor seconds per request beside it."""
    path, loads, spent = f"/predict?model={model}", {}, {}
    with Server(CONVOSCOPE) as server:
        load(server, 32, 2, path=path)
        loop = 0.0
        for connections in CONNECTIONS:
            before = thread_seconds(server.pid)
            loads[connections] = found = load(server, connections, seconds, path=path)
            after = thread_seconds(server.pid)
            loop = (after[server.pid] - before[server.pid]) / found.served  # the last: of a process that is busy
            spent[connections] = sum(after[tid] - before.get(tid, 0.0) for tid in after) / found.served
    return Times(measured_batches(model, seconds), loop, processors.usable()), loads, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load on the real process")
    parser.add_argument("--requests", type=int, default=60_000, help="of each simulation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray", type=Path, help="a file that benchmarks.cluster --json has written")
    options = parser.parse_args()
    times, loads, spent = measured(options.model, options.seconds)
    batches = ", ".join(f"{size}: {seconds * 1e3:.2f}" for size, seconds in times.batch.items())
    print(
        f"{times.cores} cores; ms of all of them for a batch of {batches}; "
        f"event loop {times.loop * 1e6:.0f} us a request"
    )
    print()
    print(
        "| connections | requests/s: real | simulated | p50 ms: real | simulated "
        "| processor us a request: real | simulated |"
    )
    print("|---|---|---|---|---|---|---|")
    for connections, real in loads.items():
        took, rate = simulate(times, 1, 20_000, connections=connections, seed=options.seed)
        core = times.cores / rate * 1e6
        print(
            f"| {connections} | {real.rate:,.0f} | {rate:,.0f} | {real.p50:.1f} | {percentile(took, 0.5):.1f} "
            f"| {spent[connections] * 1e6:.0f} | {core:.0f} |"
        )
    show("", times, 0.0, options.requests, options.seed)
    for name, dearer, later in prices(json.loads(options.ray.read_text())) if options.ray else ():
        show(f" on Ray ({name})", replace(times, proxy=dearer), later, options.requests, options.seed)


def prices(found: dict[str, dict[str, float]]) -> list[tuple[str, float, float]]:
    """Each server on Ray with one replica: seconds of the cores and of waiting that it adds to a request."""

    def more(name: str, figure: str) -> float:
        return max(0.0, found[name][figure] - found["process"][figure]) / 1e3

    return [(name, more(name, "cpu_ms"), more(name, "p50_ms")) for name in ("ray", "ray-fast") if name in found]


def show(where: str, times: Times, later: float, requests: int, seed: int) -> None:
    """Print how many replicas answer, each `later` seconds after the simulated time."""
    print(f"\ncapacity of a replica{where}: {times.capacity:,.0f} requests/s")
    print("p50 and p99 in ms, by balancer and by the share of the capacity that is asked for:\n")
    columns = [(name, share) for name in BALANCERS for share in LOADS]
    print("| replicas | " + " | ".join(f"{name}, {share:.0%}" for name, share in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for replicas in REPLICAS:
        cells = []
        for name, share in columns:
            rate = share * replicas * times.capacity
            took, _ = simulate(times, replicas, requests, rate=rate, choose=BALANCERS[name], seed=seed)
            cells.append(", ".join(f"{percentile(took, part) + later * 1e3:.1f}" for part in (0.5, 0.99)))
        print(f"| {replicas} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
