"""Requests while workers are stopped and killed: which answers are lost.

    python -m benchmarks.campaigns.kills [--requests 100000] [--signals 20] [--pause 9]

Starts a service of two workers on loopback and sends it requests of every kind, half of them on connections that are
kept, while one worker after the other gets SIGTERM and SIGKILL in turn, `--signals` of each. The pause between signals
matters: the supervisor gives up when workers die faster than eight a minute.

Prints how many requests were answered, by status, and how many were lost. A request counts as lost if it was sent whole
and the connection ended without an answer. Only a kill may lose any: those that the killed worker had accepted. A kept
connection that the service closes just as the next request is sent is counted apart, because no server can answer that
one (RFC 9112, section 9.5). Fails if anything was lost without a kill, if the service answered 5xx other than 503, or
if it did not survive.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from app.imaging import render
from benchmarks.campaigns.asking import PATIENCE, Connection, print_table, request
from benchmarks.service import serving

CONNECTIONS = 16
AROUND_A_KILL = 2.0
"""Seconds after a kill in which answers may be missing."""

PNG = render.png(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
LARGE = render.png(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))
ASKED = (
    ("POST", "/predict", PNG, "image/png"),
    ("POST", "/predict", LARGE, "image/png"),
    ("POST", "/convolve", b'{"input": [[1, 2], [3, 4]], "mask": "sobel_x"}', "application/json"),
    ("POST", "/pool", b'{"input": [1, 2, 3]}', "application/json"),
    ("POST", "/explain", PNG, "image/png"),
    ("POST", "/predict", b"nothing", "image/png"),
    ("GET", "/models", b"", ""),
    ("GET", "/healthz", b"", ""),
)


class Campaign:
    """Clients, and what they were answered."""

    def __init__(self, url: str, supervisor: int, requests: int) -> None:
        self.statuses: Counter[int] = Counter()
        self.lost: Counter[str] = Counter()
        self.signals: Counter[str] = Counter()
        self._url, self._supervisor = url, supervisor
        self._left = requests
        self._last_kill = -AROUND_A_KILL

    async def run(self, signals: int, pause: float) -> None:
        """Ask until all requests are sent and all signals given."""
        killing = asyncio.ensure_future(self._signal(signals, pause))
        await asyncio.gather(*[self._ask(kept=number % 2 == 0, until=killing) for number in range(CONNECTIONS)])

    async def _signal(self, count: int, pause: float) -> None:
        chance = random.Random(0)
        for number in range(2 * count):
            await asyncio.sleep(pause)
            chosen = (signal.SIGTERM, signal.SIGKILL)[number % 2]
            if workers := _workers(self._supervisor):
                os.kill(chance.choice(workers), chosen)
                self.signals[chosen.name] += 1
            if chosen == signal.SIGKILL:
                self._last_kill = time.monotonic()

    async def _ask(self, kept: bool, until: "asyncio.Future[None]") -> None:
        chance = random.Random(self._left)
        connection: Connection | None = None
        while self._left > 0 or not until.done():
            self._left -= 1
            method, path, body, kind = chance.choice(ASKED)
            content = request(method, path, body, {"Content-Type": kind}, keep=kept)
            fresh = connection is None
            try:
                connection = connection or await Connection.open(self._url)
                status = await asyncio.wait_for(connection.ask(content), PATIENCE)
            except (OSError, TimeoutError):
                status = 0
            if status:
                self.statuses[status] += 1
            elif time.monotonic() - self._last_kill < AROUND_A_KILL:
                self.lost["after a kill"] += 1
            else:
                self.lost["on a new connection" if fresh else "on a kept connection"] += 1
            if connection and (connection.ends or not (kept and status)):
                connection.close()
                connection = None


def _workers(supervisor: int) -> list[int]:
    """The service's workers: its children that are not multiprocessing's resource tracker."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--signals", type=int, default=20, help="of each kind")
    parser.add_argument("--pause", type=float, default=9.0, help="seconds between two signals")
    options = parser.parse_args()
    settings = {"CONVOSCOPE_DEFAULT_MODEL": "tutorial", "CONVOSCOPE_WORKERS": "2", "CONVOSCOPE_CLIENT_SHARE": "1"}
    with serving(**settings) as (_, pid, client):
        campaign = Campaign(str(client.base_url), pid, options.requests)
        asyncio.run(campaign.run(options.signals, options.pause))
        survived = client.get("/healthz").status_code == 200
    answered = [["answered", status, count] for status, count in sorted(campaign.statuses.items())]
    print_table(["", "", "requests"], answered + [["lost", how, count] for how, count in campaign.lost.items()])
    print(f"signals: {dict(campaign.signals)}; the service {'survived' if survived else 'did not survive'}")
    faults = campaign.lost["on a new connection"] + sum(
        count for status, count in campaign.statuses.items() if status >= 500 and status != 503
    )
    sys.exit(bool(faults) or not survived)


if __name__ == "__main__":
    main()
