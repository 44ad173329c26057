"""The outermost layer of every request: its id, admission, metrics, and the headers that every answer has."""

import asyncio
import random
import re
import time
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import metrics
from app.errors import Overloaded
from app.server.in_flight import InFlight
from app.server.origins import Origins
from app.server.problems import translate
from app.wire import problems

SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
PROBES = {"/healthz", "/readyz", "/metrics", "/v2/health/live"}

CLOSE = (b"connection", b"close")
BREATHER = "convoscope.breather"
"""The ASGI extension with which `protocol.Protocol` offers to leave a connection unread for a moment."""


class RequestMiddleware:
    """Gives each HTTP request an id, admits and counts it, and answers any exception that an inner layer raises."""

    def __init__(self, app: ASGIApp, in_flight: InFlight, origins: Origins) -> None:
        self.app = app
        self.in_flight = in_flight
        self.origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # answered as GET is; the server leaves the body out
            scope = {**scope, "method": "GET"}
        request = _Request(scope, receive, send, self.in_flight)
        self.in_flight.enter()
        try:
            if scope["path"] not in PROBES:
                self.in_flight.admit()
            self.origins.check(scope)
            await self.app(scope, request.receive, request.send)
        except (Exception, asyncio.CancelledError) as error:
            if request.status:  # the answer has begun, so uvicorn can only close the connection
                raise
            await request.fail(error)  # `fail` must not store it: the error refers to this frame, and so to the body
        finally:
            self.in_flight.leave()
            self.in_flight.release(request.held)
            count(scope, request.status, request.started)


class _Request:
    """One request: when it began, the bytes of its body that are held, and the status of its answer (0 until then)."""

    __slots__ = ("_in_flight", "_receive", "_scope", "_send", "_waits", "held", "id", "started", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send, in_flight: InFlight) -> None:
        self.started = time.perf_counter()
        self.status = 0
        self.held = 0
        """Bytes of the body that have been received."""

        self._scope, self._receive, self._send, self._in_flight = scope, receive, send, in_flight
        headers = dict(scope["headers"])
        self.id = identify(scope, headers)
        self._waits = b"expect" in headers
        """Whether the client waits for "100 Continue" before it sends its body."""

    async def receive(self) -> Message:
        self._waits = False  # the server sends "100 Continue" when the body is first asked for
        message = await self._receive()
        self.held += self._in_flight.hold(message)
        return message

    async def fail(self, error: BaseException) -> None:
        """Answer with the problem document of `error`, and slow down a client that found no room."""
        told = translate(error, self._scope)
        await problems.respond(told, self._scope)(self._scope, self._receive, self.send)
        if isinstance(told, Overloaded) and BREATHER in self._scope.get("extensions", {}):
            self._scope["extensions"][BREATHER]["begin"]()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), *common_headers(self.id, self.started)]
            # The client may still send its body, which would be read as its next request (RFC 9110, section 10.1.1).
            if self._waits or self._in_flight.draining:
                headers.append(CLOSE)
            message["headers"] = headers
        await self._send(message)


def identify(scope: Scope, headers: Mapping[bytes, bytes]) -> str:
    """The request's id, also stored in the scope's state: the client's own if SANE_ID matches it, else a random one."""
    sent = headers.get(b"x-request-id")
    request_id = sent.decode() if sent and SANE_ID.fullmatch(sent) else f"{random.getrandbits(64):016x}"
    scope.setdefault("state", {})["request_id"] = request_id
    return request_id


def common_headers(request_id: str, started: float) -> list[tuple[bytes, bytes]]:
    """The headers that every answer has: its request's id, and the milliseconds since `started`."""
    total = b"total;dur=%.3f" % ((time.perf_counter() - started) * 1e3)
    return [(b"x-request-id", request_id.encode()), (b"server-timing", total)]


def count(scope: Scope, status: int, started: float) -> None:
    """Count an answer and its duration; `started` is when the request began, by `time.perf_counter`."""
    route = getattr(scope.get("route"), "path", "unmatched")
    metrics.answered(scope["method"], route, status)(time.perf_counter() - started)
