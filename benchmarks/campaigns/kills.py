"""Requests of every kind while workers are stopped and killed: which answers are lost.

    python -m benchmarks.campaigns.kills [--requests 100000] [--signals 20]

Starts a service of two workers on loopback and sends it requests of every kind, half of them on connections that are
kept, while one worker after the other gets SIGTERM and SIGKILL in turn, `--signals` of each, spread evenly over the
requests. With few requests it takes longer than they need, because signals are at least
SHORTEST_PAUSE apart: the supervisor gives up when workers die faster than eight a minute.

Prints how many requests were answered, by status, and how many were lost. A request counts as lost if it was sent whole
and the connection ended without an answer. Only a kill may lose any: those on connections that the killed worker had
accepted, which the script looks up in /proc while the worker is stopped (SIGSTOP), just before it kills it. A kept
connection that the service closes just as the next request is sent is counted apart, because no server can answer that
one (RFC 9112, section 9.5). Fails if anything was lost without a kill, if the service answered another status than
the request should get or 503, or if it did not survive.
"""

import argparse
import asyncio
import base64
import io
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.imaging import render
from benchmarks.campaigns.asking import PATIENCE, Connection, print_table, request
from benchmarks.service import serving

CONNECTIONS = 16

SHORTEST_PAUSE = 9.0
"""Seconds between two signals."""

JSON, NPY, FORM = "application/json", "application/x-npy", "multipart/form-data; boundary=x"
PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
PNG = render.png(PIXELS)
LARGE = render.png(np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8))
BASE64 = base64.b64encode(PNG).decode()
V2 = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [BASE64]}]}


def _npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _form(**parts: bytes) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    return b"".join(head % (name.encode(), content) for name, content in parts.items()) + b"--x--\r\n"


@dataclass(frozen=True)
class Asked:
    """A request, the status that it should get, and how often it is sent compared with the others."""

    path: str
    body: bytes = b""
    kind: str = ""
    accept: str = "*/*"
    status: int = 200
    weight: int = 10

    def content(self, keep: bool) -> bytes:
        headers = {"Accept": self.accept} | ({"Content-Type": self.kind} if self.kind else {})
        return request("POST" if self.kind else "GET", self.path, self.body, headers, keep=keep)


ASKED = (
    Asked("/predict", PNG, "image/png"),
    Asked("/predict?views=4", LARGE, "image/png", weight=3),
    Asked("/predict", _npy(PIXELS), NPY),
    Asked("/predict", _form(a=PNG, b=PNG, c=LARGE), FORM),
    Asked("/predict", json.dumps({"images": [BASE64] * 3}).encode(), JSON),
    Asked("/predict", b"nothing", "image/png", status=415),
    Asked("/predict", PNG[:-30], "image/png", status=422),
    Asked("/predict?model=nope", PNG, "image/png", status=404),
    Asked("/convolve", b'{"input": [[1, 2], [3, 4]], "mask": "sobel_x"}', JSON),
    Asked("/convolve", b'{"input": [[1, 2], [3, 4]], "mask": "sobel_x", "stride": 0}', JSON, status=422),
    Asked("/convolve", _form(image=PNG, options=b'{"mask": "emboss"}'), FORM, accept="image/png"),
    Asked("/pool", b'{"input": [1, 2, 3]}', JSON),
    Asked("/pool", b'{"input": [1, 2', JSON, status=400),
    Asked("/explain", PNG, "image/png", weight=1),
    Asked("/explain", PNG, "image/png", accept="image/png", weight=1),
    Asked("/feature-maps?top=2", PNG, "image/png", weight=2),
    Asked("/feature-maps", PNG, "image/png", accept="image/png", weight=1),
    Asked("/v2/models/tutorial/infer", json.dumps(V2).encode(), JSON),
    Asked("/v1/models/tutorial:predict", json.dumps({"instances": [{"b64": BASE64}]}).encode(), JSON),
    Asked("/invocations", PNG, "image/png"),
    Asked("/models"),
    Asked("/models/tutorial"),
    Asked("/masks"),
    Asked("/metrics", weight=1),
    Asked("/healthz"),
    Asked("/readyz"),
    Asked("/nowhere", status=404),
    Asked("/"),
)

WEIGHTS = [asked.weight for asked in ASKED]


class Campaign:
    """Clients, and what they were answered."""

    def __init__(self, url: str, supervisor: int, requests: int) -> None:
        self.right: Counter[int] = Counter()
        self.wrong: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.signals: Counter[str] = Counter()
        self._url, self._supervisor = url, supervisor
        self._requests = self._left = requests
        self._killed: set[int] = set()
        """The ports of the clients that the last killed worker was connected to."""
        self._last_signal = 0.0

    async def run(self, signals: int) -> None:
        """Ask until all requests are sent and all signals given."""
        killing = asyncio.ensure_future(self._signal(2 * signals))
        await asyncio.gather(*[self._ask(kept=number % 2 == 0, until=killing) for number in range(CONNECTIONS)])

    async def _signal(self, count: int) -> None:
        chance = random.Random(0)
        for number in range(count):
            await asyncio.sleep(SHORTEST_PAUSE)
            while self._left > self._requests * (1 - (number + 1) / (count + 1)):
                await asyncio.sleep(0.1)
            chosen = (signal.SIGTERM, signal.SIGKILL)[number % 2]
            if not (workers := _workers(self._supervisor)):
                continue
            worker = chance.choice(workers)
            if chosen == signal.SIGKILL:
                self._killed = _ports_of_clients(worker)
            os.kill(worker, chosen)
            self.signals[chosen.name] += 1
            self._last_signal = time.monotonic()
            print(f"{chosen.name} after {self._requests - self._left} requests", file=sys.stderr, flush=True)

    async def _ask(self, kept: bool, until: "asyncio.Future[None]") -> None:
        chance = random.Random(self._left)
        connection: Connection | None = None
        while self._left > 0 or not until.done():
            self._left -= 1
            (asked,) = chance.choices(ASKED, WEIGHTS)
            fresh = connection is None
            try:
                connection = connection or await Connection.open(self._url)
                status = await asyncio.wait_for(connection.ask(asked.content(kept)), PATIENCE)
            except (OSError, TimeoutError):
                status = 0
            if status in (asked.status, 503):
                self.right[status] += 1
            elif status:
                self.wrong[f"{asked.path} for {asked.status} with {status}"] += 1
            elif connection and connection.port in self._killed:
                self.lost["by a kill"] += 1
            else:
                self.lost["on a new connection" if fresh else "on a kept connection"] += 1
                since = time.monotonic() - self._last_signal
                print(f"lost: {asked.path}, {since:.1f} s after the last signal", file=sys.stderr, flush=True)
            if connection and (connection.ends or not (kept and status)):
                connection.close()
                connection = None


def _ports_of_clients(worker: int) -> set[int]:
    """Stop a worker for good, so that it accepts nothing any more; returns the ports of the clients connected to it."""
    os.kill(worker, signal.SIGSTOP)
    while Path(f"/proc/{worker}/stat").read_text().rpartition(") ")[2][0] not in "TZ":
        time.sleep(0.001)
    sockets = {os.readlink(descriptor) for descriptor in Path(f"/proc/{worker}/fd").iterdir()}
    rows = [line.split() for line in Path(f"/proc/{worker}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[2].rpartition(":")[2], 16) for row in rows if f"socket:[{row[9]}]" in sockets}


def _workers(supervisor: int) -> list[int]:
    """The service's workers: its children that are not multiprocessing's resource tracker."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--signals", type=int, default=20, help="of each kind")
    options = parser.parse_args()
    settings = {
        "CONVOSCOPE_DEFAULT_MODEL": "tutorial",
        "CONVOSCOPE_WORKERS": "2",
        "CONVOSCOPE_CLIENT_SHARE": "1",
        "CONVOSCOPE_DEADLINE": "30",  # a busy machine is not what is tried here
    }
    began = time.monotonic()
    with serving(**settings) as (_, pid, client):
        campaign = Campaign(str(client.base_url), pid, options.requests)
        asyncio.run(campaign.run(options.signals))
        survived = client.get("/healthz").status_code == 200
    counts: dict[str, Counter[Any]] = {
        "answered": campaign.right,
        "answered wrong": campaign.wrong,
        "lost": campaign.lost,
    }
    print_table(["", "", "requests"], [[what, *row] for what, found in counts.items() for row in sorted(found.items())])
    total = sum(found.total() for found in counts.values())
    ending = f"the service {'survived' if survived else 'did not survive'}"
    print(f"{total} requests in {time.monotonic() - began:.0f} s; signals: {dict(campaign.signals)}; {ending}")
    sys.exit(bool(campaign.wrong or campaign.lost["on a new connection"]) or not survived)


if __name__ == "__main__":
    main()
