"""Memory after many rejected requests: what every route keeps of them should be nothing.

    python -m benchmarks.campaigns.rejections [--requests 10000]

Starts the service on loopback, sends each kind of bad request to each route, and prints for each kind the answers by
status and how much resident memory has grown in the second half of them. Fails if any kind grew by more than 20 MB.
"""

import argparse
import asyncio
import sys
from collections import Counter
from dataclasses import dataclass

import httpx

from benchmarks.service import resident_megabytes, serving

MOST_GROWTH = 20.0
"""Megabytes."""

CONNECTIONS = 8
ROUTES = ("/predict", "/convolve", "/pool", "/feature-maps", "/explain")
LARGE = 2_000_000
"""Bytes of a large bad body."""


@dataclass(frozen=True)
class Kind:
    """One bad request, to be sent to every route in turn; large ones a tenth as often as small ones."""

    name: str
    content: bytes
    media_type: str
    query: str = ""

    @property
    def share(self) -> float:
        return 0.1 if len(self.content) > 100_000 else 1.0


KINDS = (
    Kind("HEIC of 2 MB", b"\0\0\0\x18ftypheic" + bytes(LARGE), "image/heic"),
    Kind("broken PNG of 2 MB", b"\x89PNG\r\n\x1a\n" + bytes(LARGE), "image/png"),
    Kind("broken JSON of 2 MB", b'{"input": [' + b"1," * (LARGE // 2), "application/json"),
    Kind("wrong JSON", b'{"input": [[1, 2], [3]], "images": [1]}', "application/json"),
    Kind("broken npy of 2 MB", b"\x93NUMPY\x01\x00" + bytes(LARGE), "application/x-npy"),
    Kind("broken multipart of 2 MB", b"--x\r\n" + bytes(LARGE), "multipart/form-data; boundary=x"),
    Kind("unknown option", b"x", "image/png", "?nope=1"),
    Kind("unknown model", b"x", "image/png", "?model=nope"),
    Kind("empty", b"", "image/png"),
)


async def send(client: httpx.AsyncClient, kind: Kind, count: int) -> Counter[int]:
    """`count` requests over a few connections; returns how many answers had each status."""
    statuses: Counter[int] = Counter()
    numbers = iter(range(count))

    async def one_after_the_other() -> None:
        for number in numbers:
            url = ROUTES[number % len(ROUTES)] + kind.query
            answer = await client.post(url, content=kind.content, headers={"Content-Type": kind.media_type})
            statuses[answer.status_code] += 1

    await asyncio.gather(*[one_after_the_other() for _ in range(CONNECTIONS)])
    return statuses


async def campaign(url: str, pid: int, requests: int) -> bool:
    """Send every kind, print a line for each, and return whether memory stayed flat."""
    flat = True
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        for kind in KINDS:
            count = max(50, int(requests * kind.share / len(KINDS) / 2))
            await send(client, kind, count)  # whatever it needs at a time, it has then had
            before = resident_megabytes(pid)
            statuses = await send(client, kind, count)
            grown = resident_megabytes(pid) - before
            flat = flat and grown <= MOST_GROWTH
            print(f"{kind.name:26} {count:6} requests  {dict(sorted(statuses.items()))}  {grown:+7.1f} MB", flush=True)
    return flat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    options = parser.parse_args()
    with serving(CONVOSCOPE_DEFAULT_MODEL="tutorial") as (_, pid, client):
        print(f"{resident_megabytes(pid):.0f} MB at the start")
        flat = asyncio.run(campaign(str(client.base_url), pid, options.requests))
        print(f"{resident_megabytes(pid):.0f} MB at the end")
    sys.exit(not flat)


if __name__ == "__main__":
    main()
