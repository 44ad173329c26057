"""Where a prediction's processor time goes.

    python -m benchmarks.where_time_goes [--model fast] [--connections 32] [--seconds 8] [--peer floor] [--npy]

Drives the service, or a peer that is one process, with wrk on the server's own cores, one PNG a request or 64 pictures
as npy, and prints, for each of its threads, microseconds of processor time a picture; beside them what the bare engine
needs for one in batches of 32, and wrk itself. What the main thread does with its share, `py-spy record --native --pid
PID` shows while this runs.
"""

import argparse
import os
from pathlib import Path

from app import processors
from benchmarks.guard import PICTURES, many_pictures
from benchmarks.peers import CONVOSCOPE, PEERS
from benchmarks.peers.bare import bare
from benchmarks.peers.load import load
from benchmarks.peers.server import Server

LEAST = 0.5
"""Microseconds a picture below which a thread is not worth a line."""


def thread_seconds(pid: int) -> dict[int, float]:
    """Processor time of each thread of a process so far."""
    # Its first field is in nanoseconds; `stat` counts ticks of 10 ms.
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return {int(file.parent.name): int(file.read_text().split()[0]) / 1e9 for file in files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--peer", choices=[peer.name for peer in PEERS])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--npy", action="store_true", help=f"{PICTURES} pictures a request")
    options = parser.parse_args()
    engine, path = bare(options.model, 3), f"/predict?model={options.model}"
    peer = next((peer for peer in PEERS if peer.name == options.peer), CONVOSCOPE)
    request, pictures = (many_pictures(), PICTURES) if options.npy else (None, 1)
    with Server(peer) as server:
        load(server, options.connections, 2, path=path, request=request)
        before, children = thread_seconds(server.pid), os.times()
        found = load(server, options.connections, options.seconds, path=path, request=request)
        after, grown = thread_seconds(server.pid), os.times()
    driver = grown.children_user + grown.children_system - children.children_user - children.children_system
    spent = {tid: (seconds - before.get(tid, 0)) / (found.served * pictures) * 1e6 for tid, seconds in after.items()}
    print(f"{found.rate:,.0f} requests/s over {options.connections} connections, p50 {found.p50:.1f} ms")
    print(f"{spent.pop(server.pid):6.0f} us a picture  event loop: HTTP, decoding, batching, JSON")
    for one in sorted(spent.values(), reverse=True):
        if one > LEAST:
            print(f"{one:6.0f} us             a thread of the engine")
    print(f"{driver / (found.served * pictures) * 1e6:6.0f} us             wrk")
    print(f"{processors.usable() / engine.rate * 1e6:6.0f} us a picture  the bare engine, in batches of 32")


if __name__ == "__main__":
    main()
