"""What API keys and access lines cost: processor time per request with both, compared with neither.

    python -m benchmarks.keys_and_logs [--model fast] [--connections 32] [--rounds 9] [--seconds 2]

Two services run at the same time, one with keys and access lines, one without, and wrk asks them in turn, one PNG a
request. Prints, for the whole process and for its event loop alone, microseconds of processor time per request (medians
of the rounds), and the median of the rounds' ratios. Processor time holds on a machine that others use too.
"""

import argparse
import statistics
from dataclasses import replace

from benchmarks.peers import CONVOSCOPE
from benchmarks.peers.load import load
from benchmarks.peers.server import Server
from benchmarks.where_time_goes import thread_seconds

KEY = "a-key-for-this-measurement"
ASKED = {"CONVOSCOPE_API_KEYS": f"wrk:{KEY}", "CONVOSCOPE_ACCESS_LOG": "on"}


def spent(server: Server, model: str, connections: int, seconds: float) -> tuple[float, float]:
    """Microseconds of processor time per request: of all threads, and of the event loop's. Raises RuntimeError."""
    before = thread_seconds(server.pid)
    found = load(server, connections, seconds, path=f"/predict?model={model}")
    after = thread_seconds(server.pid)
    if found.failed or found.refused or not found.served:
        raise RuntimeError(f"{found.failed} requests failed, {found.refused} were refused")
    grown = {thread: after[thread] - before.get(thread, 0) for thread in after}
    return sum(grown.values()) / found.served * 1e6, grown[server.pid] / found.served * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    peer = replace(CONVOSCOPE, headers={"X-API-Key": KEY})  # to both, so that they read the same bytes
    with Server(peer) as without, Server(peer, **ASKED) as both:
        for server in (without, both):
            spent(server, options.model, options.connections, options.seconds)
        rounds = []
        for number in range(options.rounds):
            pair = (without, both) if number % 2 else (both, without)
            found = {server: spent(server, options.model, options.connections, options.seconds) for server in pair}
            rounds.append((found[without], found[both]))
    for index, name in enumerate(("all threads", "the event loop")):
        off, on = (statistics.median(pair[which][index] for pair in rounds) for which in (0, 1))
        ratio = statistics.median(pair[1][index] / pair[0][index] for pair in rounds)
        print(f"{name}: {off:.0f} us a request without keys and access lines, {on:.0f} with both, {ratio:.3f} times")


if __name__ == "__main__":
    main()
