"""POST /predict with a small picture or an array of them, as most requests are: from its head to its answer's bytes.

It is answered in callbacks of the event loop, without ASGI and without a task, which would take longer than all the
rest. Only what is in order is answered here: anything else is left to the route of the same name, which answers alike.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from types import SimpleNamespace
from urllib.parse import parse_qsl

from fastapi import FastAPI
from starlette.types import Scope

from app.errors import ClientDisconnected, Overloaded
from app.inference.batcher import Answer
from app.inference.network import Network
from app.inference.prediction import Scores, document
from app.routes.service import Service
from app.server.middleware import WorkInHand, count, identify
from app.server.problems import translate
from app.wire import problems

LONGEST_URL = 256
"""Bytes; what a longer one asks for is not remembered."""

TOP_K = {str(number): number for number in range(1, 11)}
ROUTE = SimpleNamespace(path="/predict")
"""What metrics read of a matched route."""

Response = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and body."""


def begin(app: FastAPI, scope: Scope, url: bytes) -> "PlainPrediction | None":
    """The prediction that a POST of `url` with the headers in `scope` asks for, if it is a plain one."""
    started = time.perf_counter()
    options = _options(url) if len(url) <= LONGEST_URL else None
    if options is None:
        return None
    model, top_k = options
    headers = dict(scope["headers"])
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    length = headers.get(b"content-length", b"")  # a body in chunks has none
    service: Service = app.state.service
    network = service.networks.get(service.catalog.default if model is None else model)
    work: WorkInHand = app.state.work
    if work.draining or not (network and network.ready) or b"content-encoding" in headers:
        return None
    if not (length.isdigit() and service.is_small(content_type, int(length))):
        return None
    scope["method"], scope["path"], scope["route"] = "POST", ROUTE.path, ROUTE
    identify(scope, headers)
    work.enter()
    return PlainPrediction(scope, service, work, network, top_k, content_type, started)


@lru_cache(maxsize=256)  # callers ask the same way again and again
def _options(url: bytes) -> tuple[str | None, int] | None:
    """The model and top_k that a URL asks for; None where it is another's, or there is more, or something wrong."""
    path, _, query = url.decode("latin-1").partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    model, top_k = options.pop("model", None), TOP_K.get(options.pop("top_k", "3"))
    return (model, top_k) if path == ROUTE.path and top_k and not options else None


@dataclass(slots=True, eq=False)
class PlainPrediction:
    """One request in hand, until one of `refusal`, `answer`, `abandoned` and `passed_on` has ended it."""

    scope: Scope
    service: Service
    work: WorkInHand
    network: Network
    top_k: int
    content_type: str
    started: float
    body: bytearray = field(default_factory=bytearray)
    decoding: float = 0.0

    def refusal(self) -> Response | None:
        """The answer where there is no room for it, which is known before its body is read."""
        try:
            self.network.reject_without_room()
        except Overloaded as error:
            return self._problem(error)
        return None

    def submit(self, gone: Callable[[], bool]) -> "asyncio.Future[Answer[Scores]]":
        """Decode the body and hand its pictures to the network. Raises whatever the route would tell the caller."""
        received, deadline = time.perf_counter(), self.service.deadline()
        pictures = self.service.small_pictures(self.content_type, bytes(self.body))
        self.decoding = time.perf_counter() - received
        return self.network.submit(pictures, deadline, gone)

    def answer(self, submitted: "asyncio.Future[Answer[Scores]]") -> Response:
        """What to tell the caller, now that `submitted` is done."""
        error = submitted.exception()
        if isinstance(error, Exception):
            return self._problem(error)
        inferred = time.perf_counter()
        found = submitted.result()
        content = document(self.network.metadata, found.results, self.top_k)
        now = time.perf_counter()
        seconds = (self.decoding, found.queued, found.ran, now - inferred, now - self.started)
        timing = b"decode;dur=%.3f, queue;dur=%.3f, infer;dur=%.3f, encode;dur=%.3f, total;dur=%.3f" % tuple(
            [1e3 * step for step in seconds]
        )
        kind, length = (b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))
        return self._response(200, [kind, length, (b"server-timing", timing)], content)

    def abandoned(self) -> None:
        """The caller has gone before the body was whole."""
        self._end(problems.status(ClientDisconnected("")))

    def passed_on(self) -> None:
        """The route answers in its place, and counts it."""
        self.work.leave()

    def _problem(self, error: Exception) -> Response:
        told = translate(error, self.scope)
        response = problems.respond(told, self.scope)
        timing = b"total;dur=%.3f" % (1e3 * (time.perf_counter() - self.started))
        return self._response(
            problems.status(told), [*response.raw_headers, (b"server-timing", timing)], bytes(response.body)
        )

    def _response(self, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> Response:
        self._end(status)
        headers.append((b"x-request-id", self.scope["state"]["request_id"].encode()))
        return status, headers, content

    def _end(self, status: int) -> None:
        self.work.leave()
        count(self.scope, status, self.started)
