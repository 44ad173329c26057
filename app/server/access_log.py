"""One line for each request, written by a thread: the event loop only notes what there is to tell."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import metrics
from app.background import BackgroundWriter
from app.server.logs import pair, timestamp, word

STEP = re.compile(r"(\w+);dur=([\d.]+)")
"""What `Server-Timing` says of each step, in milliseconds."""

LONGEST_PATH = 200
"""Characters of a path that are written."""

ATOMIC = 4096
"""Bytes that a pipe takes in one piece on Linux (PIPE_BUF), so that lines of several processes are not mixed up."""


class Entry(NamedTuple):
    """What is noted of a request when it has been answered."""

    ended: float
    """Seconds since 1970."""

    seconds: float
    """How long it took until the whole answer was handed to the connection."""

    scope: Scope
    status: int
    """0 if there was no answer."""

    headers: Sequence[tuple[bytes, bytes]]
    """Those of the answer."""

    sent: int
    """Bytes of the answer's body."""


Writer = BackgroundWriter[Entry]


class AccessLog:
    """Around everything else, so that no answer escapes it; `close` writes what is left."""

    def __init__(self, app: ASGIApp, *, writer: Writer) -> None:
        self.app = app
        self._writer = writer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = sent = 0
        headers: Sequence[tuple[bytes, bytes]] = ()

        async def noted(message: Message) -> None:
            nonlocal status, sent, headers
            if message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            else:
                status, headers = message["status"], message["headers"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            self._writer.offer(Entry(time.time(), time.perf_counter() - began, scope, status, headers, sent))


def writer(form: str, descriptor: int | None = None) -> Writer:
    """What writes entries as `form`, "text" or "json", to a file descriptor; by default standard error."""
    line = {"text": text, "json": as_json}[form]
    return BackgroundWriter(
        "access log", lambda entries: _write(descriptor, line, entries), metrics.DROPPED_LINES.labels("access").inc
    )


def _write(descriptor: int | None, line: Callable[[dict[str, Any]], bytes], entries: Sequence[Entry]) -> None:
    if descriptor is None:
        descriptor = sys.stderr.fileno()
    block = b""
    for written in (line(fields(entry)) for entry in entries):
        if block and len(block) + len(written) > ATOMIC:
            _write_whole(descriptor, block)
            block = b""
        block += written
    _write_whole(descriptor, block)


def _write_whole(descriptor: int, block: bytes) -> None:
    while block:
        block = block[os.write(descriptor, block) :]


def fields(entry: Entry) -> dict[str, Any]:
    """A line's values by name; those that a request does not have are left out."""
    scope = entry.scope
    state = scope.get("state", {})
    answer = dict(entry.headers)  # of two Server-Timing headers the last, which has the total
    timings = " ".join(value.decode() for name, value in entry.headers if name == b"server-timing")
    steps = {name: float(milliseconds) for name, milliseconds in STEP.findall(timings)}
    received = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    found = {
        "time": timestamp(entry.ended),
        "id": answer.get(b"x-request-id", b"").decode("latin-1"),
        "trace": state.get("trace"),
        "client": scope["client"][0] if scope.get("client") else None,
        "key": state.get("key"),
        "method": scope["method"],
        "path": scope["path"][:LONGEST_PATH],
        "route": getattr(scope.get("route"), "path", None),
        "status": entry.status,
        "received": int(received) if received.isdigit() else None,
        "sent": entry.sent,
        "model": state.get("model"),
        "pictures": state.get("pictures"),
        "ms": round(entry.seconds * 1e3, 3),
        **{f"{name}_ms": milliseconds for name, milliseconds in steps.items() if name != "total"},
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def text(found: dict[str, Any]) -> bytes:
    """A line for people: time, status, method and path first, then the other values by name."""
    found = dict(found)
    found.pop("route", None)  # for programs, which add up by it
    head = f"{found.pop('time')} {found.pop('status')} {found.pop('method')} {word(found.pop('path'))}"
    return (" ".join([head, *(pair(*field) for field in found.items())]) + "\n").encode(errors="backslashreplace")


def as_json(found: dict[str, Any]) -> bytes:
    """One object on one line, in ASCII: some readers take U+2028 for the end of a line."""
    found = {"level": "info", "logger": "access", **found}
    line = orjson.dumps(found)
    return (line if line.isascii() else json.dumps(found).encode()) + b"\n"
