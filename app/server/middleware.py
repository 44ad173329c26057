"""Around every request: its id, its metrics and the count of work in hand that draining waits for."""

import asyncio
import logging
import random
import re
import time
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import metrics
from app.errors import Draining
from app.server.problems import translate
from app.wire import problems

logger = logging.getLogger(__name__)

SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
PROBES = {"/healthz", "/readyz", "/metrics", "/v2/health/live"}


class WorkInHand:
    """How many requests are being answered, and whether new ones are still taken."""

    def __init__(self) -> None:
        self.draining = False
        self.requests = 0
        self._idle = asyncio.Event()
        self._drained_by: float | None = None

    def enter(self) -> None:
        self.requests += 1
        metrics.IN_FLIGHT.set(self.requests)

    def leave(self) -> None:
        self.requests -= 1
        metrics.IN_FLIGHT.set(self.requests)
        if not self.requests:
            self._idle.set()

    def give_up(self) -> None:
        """Wait no longer for what is in hand."""
        self._drained_by = time.monotonic()
        self._idle.set()

    async def drain(self, seconds: float) -> float:
        """Take no more work; return when what is in hand is finished or given up, or `seconds` after the first call.

        Gives the seconds that are left of them.
        """
        self.draining = True
        self._idle.clear()
        now = time.monotonic()
        self._drained_by = self._drained_by or now + seconds
        if self.requests and now < self._drained_by:
            try:
                await asyncio.wait_for(self._idle.wait(), self._drained_by - now)
            except TimeoutError:
                logger.warning("%d requests were not finished within %g s", self.requests, seconds)
        return max(0.0, self._drained_by - time.monotonic())


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
        if scope["method"] == "HEAD":  # answered as GET is; the server leaves the body out
            scope = {**scope, "method": "GET"}
        request_id = identify(scope, dict(scope["headers"]))
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *common_headers(request_id, started)]
            await send(message)

        self.work.enter()
        try:
            if self.work.draining and scope["path"] not in PROBES:
                refusal = Draining("the service is stopping and takes no new work")
                await problems.respond(refusal, scope)(scope, receive, send_with_id)
            else:
                await self.app(scope, receive, send_with_id)
        except (Exception, asyncio.CancelledError) as error:
            if status:  # the answer has begun, so there is no other way to tell the caller than to break it off
                raise
            answer = problems.respond(translate(error, scope), scope)
            await answer(scope, receive, send_with_id)
        finally:
            self.work.leave()
            count(scope, status, started)


def identify(scope: Scope, headers: Mapping[bytes, bytes]) -> str:
    """The request's id, the caller's own if it is sane; also left in the scope's state."""
    sent = headers.get(b"x-request-id", b"").decode("latin-1")
    request_id = sent if SANE_ID.fullmatch(sent) else f"{random.getrandbits(64):016x}"
    scope.setdefault("state", {})["request_id"] = request_id
    return request_id


def common_headers(request_id: str, started: float) -> list[tuple[bytes, bytes]]:
    """The headers that every answer has: its request's id, and the milliseconds since `started`."""
    total = f"total;dur={(time.perf_counter() - started) * 1e3:.3f}"
    return [(b"x-request-id", request_id.encode()), (b"server-timing", total.encode())]


def count(scope: Scope, status: int, started: float) -> None:
    """Account for an answer; the request began when `time.perf_counter` was `started`."""
    route = getattr(scope.get("route"), "path", "unmatched")
    answers, duration = metrics.answered(scope["method"], route, status)
    answers.inc()
    duration.observe(time.perf_counter() - started)
