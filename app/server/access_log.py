"""One line for each request. It is made from a template, and a thread writes it."""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import metrics
from app.background import BackgroundWriter
from app.server.logs import timestamp, word

FIELDS = (
    *("time", "status", "method", "path", "route", "id", "trace", "client", "key"),
    *("received", "sent", "model", "pictures", "ms"),
)
"""What a line says, in this order; the milliseconds of each step follow."""

SLOTS = {
    **{"time": "%s", "status": "%d", "id": "%s", "trace": "%s"},
    **{"received": "%d", "sent": "%d", "pictures": "%d", "ms": "%.3f"},
}
"""The fields that differ from request to request. They need no quotes: a caller's own id has passed `SANE_ID`."""

UNNAMED = ("time", "status", "method", "path")
"""The fields with which a line of text begins, without their names."""

LONGEST_PATH = 200
"""Characters of a path that are written."""

MOST_TEMPLATES = 1024
"""Templates that are remembered: one for each path, client, key and model that have come together."""

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


Writer = BackgroundWriter[bytes]
Line = Callable[[Entry], bytes]


class AccessLog:
    """Around everything else, so that no answer escapes it; `writer` receives the lines, and `line` makes them."""

    def __init__(self, app: ASGIApp, *, line: Line, writer: Writer) -> None:
        self.app = app
        self._line = line
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
            entry = Entry(time.time(), time.perf_counter() - began, scope, status, headers, sent)
            # At once, because an entry that waited would keep all that belongs to its request.
            self._writer.offer(self._line(entry))


def writer(descriptor: int | None = None) -> Writer:
    """What writes lines to a file descriptor, by default that of standard error; `close` writes what is left."""
    return BackgroundWriter("access log", partial(_write, descriptor), metrics.DROPPED_LINES.labels("access").inc)


def _write(descriptor: int | None, lines: Sequence[bytes]) -> None:
    if descriptor is None:
        descriptor = sys.stderr.fileno()
    block = b""
    for line in lines:
        if block and len(block) + len(line) > ATOMIC:
            _write_whole(descriptor, block)
            block = b""
        block += line
    _write_whole(descriptor, block)


def _write_whole(descriptor: int, block: bytes) -> None:
    while block:
        block = block[os.write(descriptor, block) :]


def text(entry: Entry) -> bytes:
    """A line for people: time, status, method and path first, then the other values by name."""
    steps = _steps(entry).replace(", ", " ").replace(";dur=", "_ms=")
    return (_filled(_text_template, entry) + (steps and f" {steps}") + "\n").encode()


def as_json(entry: Entry) -> bytes:
    """One object on one line, in ASCII: some readers take U+2028 for the end of a line."""
    steps = _steps(entry).replace(", ", ',"').replace(";dur=", '_ms":')
    return (_filled(_json_template, entry) + (steps and f',"{steps}') + "}\n").encode()


LINES: dict[str, Line] = {"text": text, "json": as_json}


def _filled(template: Callable[..., str], entry: Entry) -> str:
    """The line but for the steps, from the template for what the request has and for what seldom changes."""
    scope = entry.scope
    state = scope.get("state", {})
    client, route = scope.get("client"), scope.get("route")
    values = (
        timestamp(entry.ended),
        entry.status,
        state.get("request_id"),
        state.get("trace"),
        _received(scope),
        entry.sent,
        state.get("pictures"),
        entry.seconds * 1e3,
    )
    return template(
        tuple([value is not None for value in values]),
        scope["method"],
        scope["path"][:LONGEST_PATH],
        getattr(route, "path", None),
        client and client[0],
        state.get("key"),
        state.get("model"),
    ) % tuple([value for value in values if value is not None])


def _received(scope: Scope) -> int | None:
    """Bytes of the request's body, as its head says."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None


def _steps(entry: Entry) -> str:
    """What `Server-Timing` says of the steps: `decode;dur=0.100, queue;dur=0.200`. The total is another header."""
    for name, value in entry.headers:
        if name == b"server-timing" and not value.startswith(b"total"):
            return value.decode("ascii")
    return ""


@lru_cache(MOST_TEMPLATES)
def _text_template(present: tuple[bool, ...], *words: str | None) -> str:
    fields = _fields(present, words, word)
    fields.pop("route", None)  # for programs, which add up by it
    return " ".join([value if name in UNNAMED else f"{name}={value}" for name, value in fields.items()])


@lru_cache(MOST_TEMPLATES)
def _json_template(present: tuple[bool, ...], *words: str | None) -> str:
    fields = _fields(present, words, json.dumps)
    values = [f'"{name}":"%s"' if value == "%s" else f'"{name}":{value}' for name, value in fields.items()]
    return '{"level":"info","logger":"access",' + ",".join(values)


def _fields(present: Sequence[bool], words: Sequence[str | None], quoted: Callable[[str], str]) -> dict[str, str]:
    """The fields of a line: slots, and values `quoted` so that they stay what they are when the slots are filled."""
    slots = {name: slot for (name, slot), there in zip(SLOTS.items(), present, strict=True) if there}
    names = [name for name in FIELDS if name not in SLOTS]
    values = {name: quoted(word).replace("%", "%%") for name, word in zip(names, words, strict=True) if word}
    return {name: (slots | values)[name] for name in FIELDS if name in slots or name in values}
