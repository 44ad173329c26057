"""Around every request: its id, its metrics and the count of work in hand that draining waits for."""

import asyncio
import logging
import random
import re
import time
from collections.abc import Callable

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import metrics, problems
from app.errors import Draining, Overloaded

logger = logging.getLogger(__name__)

SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
PROBES = {"/healthz", "/readyz", "/metrics"}


class WorkInHand:
    """How many requests are being answered, and whether new ones are still taken."""

    def __init__(self) -> None:
        self.draining = False
        self.requests = 0
        self._idle = asyncio.Event()

    def enter(self) -> None:
        self.requests += 1
        metrics.IN_FLIGHT.set(self.requests)

    def leave(self) -> None:
        self.requests -= 1
        metrics.IN_FLIGHT.set(self.requests)
        if not self.requests:
            self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Take no more work; return when what is in hand is finished, or after `seconds`."""
        self.draining = True
        self._idle.clear()
        if self.requests:
            try:
                await asyncio.wait_for(self._idle.wait(), seconds)
            except TimeoutError:
                logger.warning("%d requests were not finished within %g s", self.requests, seconds)


class RequestMiddleware:
    """Gives each HTTP request an id and accounts for it; around everything else, so that nothing escapes it."""

    def __init__(self, app: ASGIApp, work: WorkInHand) -> None:
        self.app = app
        self.work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _identify(scope)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                total = f"total;dur={(time.perf_counter() - started) * 1e3:.3f}"
                own = ((b"x-request-id", request_id.encode()), (b"server-timing", total.encode()))
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        self.work.enter()
        try:
            if self.work.draining and scope["path"] not in PROBES:
                refusal = Draining("the service is stopping and takes no new work")
                await problems.respond(refusal, scope)(scope, receive, send_with_id)
            else:
                await self.app(scope, receive, send_with_id)
        except Exception as error:
            if status:  # the answer has begun, so there is no other way to tell the caller than to break it off
                raise
            answer = problems.respond(problems.translate(error, scope), scope)
            await answer(scope, receive, send_with_id)
        finally:
            self.work.leave()
            _count(scope, status, started)


def _identify(scope: Scope) -> str:
    """The request's id, the caller's own if it is sane; also left in the scope's state."""
    sent = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
    request_id = sent if SANE_ID.fullmatch(sent) else f"{random.getrandbits(64):016x}"
    scope.setdefault("state", {})["request_id"] = request_id
    return request_id


def _count(scope: Scope, status: int, started: float) -> None:
    route = getattr(scope.get("route"), "path", "unmatched")
    count, duration = metrics.answered(scope["method"], route, status)
    count.inc()
    duration.observe(time.perf_counter() - started)


class ShortWay:
    """Requests that `takes` says are plain are answered by `answer`; all others by the whole of `app`.

    FastAPI's and Starlette's own middleware, routing and reading of parameters take longer than a small prediction.
    `check` raises Overloaded where there is no room for a plain one.
    """

    def __init__(
        self, app: FastAPI, takes: Callable[[Scope], bool], check: Callable[[Scope], None], answer: ASGIApp
    ) -> None:
        self.app = app
        self.rest = app.build_middleware_stack()
        self.takes = takes
        self.check = check
        self.answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self.app
        short = scope["type"] == "http" and self.takes(scope)
        await (self.answer if short else self.rest)(scope, receive, send)

    def refuse(self, scope: Scope) -> bytes | None:
        """The whole answer to a plain request for which there is no room, else None; before its body is read."""
        started = time.perf_counter()
        scope["app"] = self.app
        if self.app.state.work.draining or not self.takes(scope):
            return None
        try:
            self.check(scope)
        except Overloaded as error:
            request_id = _identify(scope)
            answer = problems.respond(error, scope)
            headers = [*answer.raw_headers, (b"x-request-id", request_id.encode()), (b"server-timing", b"total;dur=0")]
            lines = b"".join([b"%b: %b\r\n" % header for header in headers])
            _count(scope, error.status, started)
            return b"HTTP/1.1 503 Service Unavailable\r\n%b\r\n%b" % (lines, bytes(answer.body))
        return None
