"""What the campaigns share: requests written byte by byte, many at a time, and a table of how they were answered."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from urllib.parse import urlsplit

from benchmarks.service import resident_megabytes

PATIENCE = 60.0
"""Seconds to wait for one answer."""

SETTLING = 4.0
"""Seconds in which a service that nobody asks anything gives back the memory that it has freed."""


def request(
    method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *, keep: bool = False
) -> bytes:
    """One HTTP/1.1 request. `headers` may replace Host, Connection and Content-Length."""
    fields = {"Host": "localhost", "Connection": "keep-alive" if keep else "close", "Content-Length": str(len(body))}
    lines = [f"{name}: {value}\r\n" for name, value in (fields | dict(headers or {})).items()]
    return f"{method} {target} HTTP/1.1\r\n{''.join(lines)}\r\n".encode() + body


class Connection:
    """One connection to a service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.port: int = writer.get_extra_info("sockname")[1]
        self.ends = False
        """Whether the service has said that it closes the connection after its answer."""

    @classmethod
    async def open(cls, url: str) -> "Connection":
        address = urlsplit(url)
        return cls(*await asyncio.open_connection(address.hostname, address.port))

    async def ask(self, content: bytes) -> int:
        """The status of the answer to one request, whose body is read too; 0 if the connection ends without."""
        try:
            self._writer.write(content)
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            self.ends = b"\r\nconnection: close\r\n" in head
            length = next((line for line in head.split(b"\r\n") if line.startswith(b"content-length:")), b":0")
            await self._reader.readexactly(int(length.split(b":")[1]))
        except (OSError, asyncio.IncompleteReadError):
            return 0
        return int(head[9:12])

    def close(self) -> None:
        self._writer.close()


async def ask_once(url: str, content: bytes) -> tuple[int, float]:
    """The status of the answer on a connection of its own, 0 if there was none, and the seconds until it came."""
    began = time.perf_counter()
    try:
        connection = await Connection.open(url)
    except OSError:
        return 0, time.perf_counter() - began
    try:
        status = await asyncio.wait_for(connection.ask(content), PATIENCE)
    except TimeoutError:
        status = 0
    finally:
        connection.close()
    return status, time.perf_counter() - began


async def all_of(jobs: Iterable[Callable[[], Awaitable[None]]], at_once: int) -> None:
    """Run the jobs, a few at a time."""
    left = iter(jobs)

    async def one_after_the_other() -> None:
        for job in left:
            await job()

    await asyncio.gather(*[one_after_the_other() for _ in range(at_once)])


async def settled_megabytes(pid: int) -> float:
    """Resident memory once the service has been left alone for a moment."""
    await asyncio.sleep(SETTLING)
    return resident_megabytes(pid)


def print_table(columns: Iterable[object], rows: Iterable[Iterable[object]]) -> None:
    """In Markdown."""
    texts = [[str(cell) for cell in row] for row in (columns, *rows)]
    texts.insert(1, ["---"] * len(texts[0]))
    for row in texts:
        print(f"| {' | '.join(row)} |", flush=True)
