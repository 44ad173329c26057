"""Around every request: its id, its metrics and the count of work in hand that draining waits for."""

import asyncio
import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import metrics, problems
from app.errors import Draining

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
    """Gives each HTTP request an id and accounts for it; the outermost layer, so that nothing escapes it."""

    def __init__(self, app: ASGIApp, work: WorkInHand) -> None:
        self.app = app
        self.work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if SANE_ID.fullmatch(sent) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers.append("Server-Timing", f"total;dur={(time.perf_counter() - started) * 1e3:.3f}")
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
            route = getattr(scope.get("route"), "path", "unmatched")
            labels = (scope["method"], route, str(status))
            metrics.REQUESTS.labels(*labels).inc()
            metrics.DURATION.labels(*labels).observe(time.perf_counter() - started)
