"""Every failure of every route, as the OpenAPI document lists them, many times: they must leave no memory behind.

    python -m benchmarks.campaigns.rejections [--requests 10000]

Starts services on loopback and prints a table of routes and statuses with the number of answers, and how much resident
memory grew in the second half of them. Fails if a documented pair was not caused, if a request was answered with
another status than the one it should cause, or if memory grew by more than 20 MB.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial

import httpx
import numpy as np

from app.imaging import render
from benchmarks.campaigns.asking import Connection, all_of, ask_once, print_table, request, settled_megabytes
from benchmarks.service import serving

Pair = tuple[str, int]
"""A route, such as "POST /predict", and a status."""

MOST_GROWTH = 20.0
"""Megabytes."""

AT_ONCE = 8
LARGE_EVERY = 20
"""One in so many bodies has LARGE bytes more."""
LARGE = 2_000_000

NOT_CAUSED = {500: "a mistake of ours"}

PATIENT = {
    "CONVOSCOPE_DEFAULT_MODEL": "tutorial",
    "CONVOSCOPE_READ_TIMEOUT": "2",
    "CONVOSCOPE_MAX_JSON_VALUES": "1000",
    "CONVOSCOPE_CLIENT_SHARE": "1",
}
IMPATIENT = PATIENT | {"CONVOSCOPE_DEADLINE": "0.000001"}

PNG = render.png(np.zeros((32, 32, 3), np.uint8))
JSON = "application/json"
NOT_FOUND = {
    "POST /convolve": ("", JSON, b'{"input": [1], "mask": "nope"}'),
    "POST /explain": ("?model=nope", "image/png", PNG),
    "POST /feature-maps": ("?layer=nope", "image/png", PNG),
    "POST /predict": ("?model=nope", "image/png", PNG),
}
SOUND = {
    "POST /convolve": ("", JSON, b'{"input": [1], "mask": [1]}'),
    "POST /pool": ("", JSON, b'{"input": [1, 2]}'),
}
"""Query, media type and body; routes of pictures take PNG."""


def made(pair: Pair, layer: str, number: int) -> bytes | None:
    """A request that should be rejected as `pair` says, or None; `layer` is a convolution of `tutorial`."""
    route, status = pair
    method, path = route.split()
    target = path.format(name="tutorial", layer=layer, file="history.csv")
    extra = bytes(LARGE) if number % LARGE_EVERY == 0 and method == "POST" else b""
    query, kind, body = SOUND.get(route, ("", "image/png", PNG)) if method == "POST" else ("", "", b"")
    headers = {"Content-Type": kind}
    match status:
        case 400:
            headers, body = {"Content-Type": JSON}, b'{"input": ' + extra
        case 403:
            headers |= {"Host": "elsewhere.example"}
        case 404 if method == "POST":
            query, headers["Content-Type"], body = NOT_FOUND[route]
        case 404:
            target = path.format(name="nope", layer="nope", file="nope")
        case 406:
            headers |= {"Accept": "text/html"}
        case 408:
            headers |= {"Content-Length": "1000"}
        case 413 if method == "POST":
            headers |= {"Content-Length": "64000001"}
        case 413:
            pass  # all kernels are more than the values that this service allows
        case 415:
            headers, body = {"Content-Type": "image/heic"}, b"\0\0\0\x18ftypheic" + extra
        case 422 if number % 2 and method == "POST":
            headers, body = {"Content-Type": "image/png"}, b"\x89PNG\r\n\x1a\n" + extra
        case 422:
            query = "?nope=1"
        case 431:
            headers |= {"X-Long": "a" * 70_000}
        case 503 | 504:
            pass
        case _:
            return None
    return request(method, target + query, body, headers)


def documented(url: str) -> list[Pair]:
    """Every route and failure that the service's own OpenAPI document lists."""
    paths = httpx.get(f"{url}/openapi.json", trust_env=False).raise_for_status().json()["paths"]
    routes = [
        (f"{method.upper()} {path}", found) for path, methods in paths.items() for method, found in methods.items()
    ]
    return [(route, int(status)) for route, found in routes for status in found["responses"] if int(status) >= 400]


def convolution_of(url: str) -> str:
    """The name of the network's convolution with most weights."""
    layers = httpx.get(f"{url}/models/tutorial", trust_env=False).raise_for_status().json()["layers"]
    return str(max((layer for layer in layers if layer["kernel"]), key=lambda layer: layer["parameters"])["name"])


class Counts:
    """How many requests were answered as they should be, and those that were not."""

    def __init__(self) -> None:
        self.right: Counter[Pair] = Counter()
        self.wrong: Counter[tuple[Pair, int]] = Counter()

    def add(self, pair: Pair, status: int) -> None:
        if status == pair[1]:
            self.right[pair] += 1
        else:
            self.wrong[pair, status] += 1


async def send(url: str, pairs: Sequence[Pair], layer: str, rounds: int, counts: Counts) -> None:
    async def one(pair: Pair, number: int) -> None:
        if content := made(pair, layer, number):
            counts.add(pair, (await ask_once(url, content))[0])

    await all_of([partial(one, pair, number) for number in range(rounds) for pair in pairs], AT_ONCE)


async def campaign(url: str, pid: int, pairs: Sequence[Pair], layer: str, rounds: int, counts: Counts) -> float:
    """Send every pair `rounds` times; returns the megabytes by which memory grew in the second half."""
    await send(url, pairs, layer, (rounds + 1) // 2, counts)
    before = await settled_megabytes(pid)
    await send(url, pairs, layer, rounds // 2, counts)
    return await settled_megabytes(pid) - before


async def while_stopping(url: str, pid: int, pairs: Sequence[Pair], layer: str, counts: Counts) -> None:
    """Tell the service to stop while an upload is under way, and ask on connections that were open before."""
    upload = await Connection.open(url)
    begun = asyncio.ensure_future(upload.ask(request("POST", "/predict", b"", {"Content-Length": "100"})))
    connections = [await Connection.open(url) for _ in pairs]
    for connection in connections:
        await connection.ask(request("GET", "/healthz", keep=True))
    os.kill(pid, signal.SIGTERM)
    await asyncio.sleep(0.3)
    for pair, connection in zip(pairs, connections, strict=True):
        content = made(pair, layer, 1)
        assert content
        counts.add(pair, await connection.ask(content))
        connection.close()
    upload.close()
    await begun


def report(pairs: Sequence[Pair], counts: Counts) -> bool:
    """Print the table; returns whether every pair was caused, and nothing else was answered."""
    statuses = sorted({status for _, status in pairs})

    def cell(route: str, status: int) -> str:
        pair = route, status
        if pair not in pairs:
            return ""
        return str(counts.right[pair]) if counts.right[pair] else "n/a" if status in NOT_CAUSED else "**missing**"

    routes = list(dict.fromkeys(route for route, _ in pairs))
    print_table(["route", *statuses], [[route, *[cell(route, status) for status in statuses]] for route in routes])
    for (pair, status), count in counts.wrong.items():
        print(f"{pair[0]}: {count} requests for {pair[1]} were answered with {status or 'nothing'}")
    print(f"{counts.right.total()} rejections; not caused: {NOT_CAUSED}")
    missing = [pair for pair in pairs if not counts.right[pair] and pair[1] not in NOT_CAUSED]
    return not missing and not counts.wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    requests = parser.parse_args().requests
    counts, grown = Counts(), []
    with serving(**PATIENT) as (_, pid, client):
        url = str(client.base_url)
        pairs, layer = documented(url), convolution_of(url)
        usual = [pair for pair in pairs if pair[1] not in (*NOT_CAUSED, 503, 504)]
        late = [pair for pair in pairs if pair[1] == 504]
        rounds = max(2, round(requests / len(usual + late)))
        grown.append(asyncio.run(campaign(url, pid, usual, layer, rounds, counts)))
    with serving(**IMPATIENT) as (_, pid, client):
        grown.append(asyncio.run(campaign(str(client.base_url), pid, late, layer, rounds, counts)))
    with serving(**PATIENT | {"CONVOSCOPE_READ_TIMEOUT": "20"}) as (_, pid, client):
        stopping = [pair for pair in pairs if pair[1] == 503]
        asyncio.run(while_stopping(str(client.base_url), pid, stopping, layer, counts))
    right = report(pairs, counts)
    print(f"resident memory grew by {grown[0]:+.1f} MB and, of requests past their deadline, by {grown[1]:+.1f} MB")
    sys.exit(not (right and max(grown) <= MOST_GROWTH))


if __name__ == "__main__":
    main()
