"""uvicorn's HTTP/1.1, which answers plain predictions itself; everything else it gives to the application.

It also ends connections on which a request has begun and does not go on, or has a head or a trailer without an end:
uvicorn would keep both for good.
"""

import asyncio
import time
from functools import partial
from typing import Any, Literal

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.errors import ConvoscopeError, HeadTooLarge, MalformedRequest, RequestTimeout
from app.routes.service import Service
from app.server import plain
from app.server.middleware import common_headers, identify
from app.wire import problems

BREATHER = 0.06
"""Seconds; about as long as an answer takes where the queue is short."""

MAX_HEAD = 65_536
"""Bytes of a request's line and headers, or of its trailer, after the first piece of them that comes."""


class _Cycle:
    """A plain prediction on its connection, with what uvicorn asks of a request under way."""

    message_event = asyncio.Event()  # set for those who wait for a body; nobody does

    def __init__(self, prediction: plain.PlainPrediction) -> None:
        self.prediction = prediction
        self.keep_alive = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False


class Protocol(HttpToolsProtocol):
    """A connection to the application that `create_app` makes.

    A plain prediction for which there is no room is refused before its body is read, and its caller is told when to
    come back. Whoever asks again at once would be refused so often that answers had no processor left, so what comes
    next on that connection stays unread for a while.
    """

    cycle: Any  # a _Cycle or uvicorn's own
    _reading: _Cycle | None = None
    """The plain prediction whose body is coming in."""

    _missing: Literal["", "head", "body"] = ""
    """The part of the latest request that is not whole."""

    _head_size = 0
    """Bytes since the latest request began or the latest of its body came."""

    _began = 0.0
    """When the latest request or, before the first, the connection did, by `time.perf_counter`."""

    _timeout: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._began = time.perf_counter()
        self._expect_more()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._head_size += len(data)
        self._parse(data)
        if self._timeout:
            self._timeout.cancel()
            self._timeout = None
        if self._missing and not self.transport.is_closing():
            self._expect_more()
            if self._head_size > MAX_HEAD:
                part = "head" if self._missing == "head" else "trailer"
                detail = f"the request's {part} has {self._head_size} bytes or more; expected at most {MAX_HEAD}"
                self._refuse(HeadTooLarge.about("request", detail))

    def _parse(self, data: bytes) -> None:
        pieces = [memoryview(data)]
        while pieces:
            piece = pieces.pop()
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserError as error:
                self.send_400_response(str(error))
                return
            except httptools.HttpParserUpgrade as offer:
                if self._offers_upgrade():
                    pieces += [piece[offer.args[0] :], memoryview(self._head_without_offer())]
                    self.parser = httptools.HttpRequestParser(self)
                    self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._missing, self._head_size, self._began = "head", 0, time.perf_counter()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._missing == "head":  # and not a trailer's, which must not be taken for one (RFC 9110, 6.5.1)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._missing, self._head_size = "body", 0
        if self._offers_upgrade():
            return
        prediction = plain.begin(self.app, dict(self.scope), self.url) if self._is_simple() else None
        if prediction is None:
            super().on_headers_complete()
            return
        self.cycle = cycle = _Cycle(prediction)
        refusal = prediction.refusal()
        if refusal is None:
            self._reading = cycle
            return
        self._answer(cycle, refusal)  # what is still to come of the body is then passed over
        self.flow.pause_reading()
        self.loop.call_later(BREATHER, self._read_on)

    def on_body(self, body: bytes) -> None:
        self._head_size = 0
        if self._reading:
            self._reading.prediction.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._missing = ""
        if self._offers_upgrade():
            return
        cycle, self._reading = self._reading, None
        if cycle is None:
            super().on_message_complete()
            return
        try:
            submitted = cycle.prediction.submit(lambda: cycle.disconnected)
        except Exception:
            self._pass_on(cycle)  # the route meets the same, and tells the caller
        else:
            submitted.add_done_callback(partial(self._finish, cycle))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timeout:
            self._timeout.cancel()
        cycle, self._reading = self._reading, None
        if cycle:
            cycle.prediction.abandoned()

    def send_400_response(self, msg: str) -> None:
        """Tell of what is no HTTP as of anything else that is wrong, and close the connection."""
        detail = f"the request is not HTTP/1.1 ({msg}); the connection is closed"
        self._refuse(MalformedRequest.about("request", detail))

    def _refuse(self, error: ConvoscopeError) -> None:
        """Tell of a request that is not whole, unless it has its answer already, and close the connection."""
        cycle = self.cycle
        if self._missing == "body" and cycle and (cycle.response_started or cycle.response_complete):
            self.transport.close()
            return
        scope: dict[str, Any] = {}
        request_id = identify(scope, {})
        response = problems.respond(error, scope)
        own = common_headers(request_id, self._began)
        headers = [*response.raw_headers, *own, (b"connection", b"close")]
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        self.transport.write(b"".join((STATUS_LINE[problems.status(error)], *lines, b"\r\n", bytes(response.body))))
        self.transport.close()

    def _expect_more(self) -> None:
        self._timeout = self.loop.call_later(self._read_timeout, self._stalled)

    @property
    def _read_timeout(self) -> float:
        service: Service = self.app.state.service
        return service.settings.read_timeout

    def _stalled(self) -> None:
        """Nothing has come for a while, though more was to."""
        cycle, self._timeout = self.cycle, None
        answering = cycle and not cycle.response_complete and (cycle.response_started or self._missing == "head")
        if self.transport.is_closing():
            return
        if answering or self.pipeline or self.flow.read_paused:  # it is we who keep the caller waiting
            self._expect_more()
        elif self._missing:
            detail = f"the request's {self._missing} is not whole, and nothing came for {self._read_timeout:g} s"
            self._refuse(RequestTimeout.about("request", detail))
        else:
            self.transport.close()

    def _offers_upgrade(self) -> bool:
        """Whether the request offers another protocol, as Java's client does: to be passed over (RFC 9110, 7.8).

        The parser ends such a request with its head, and would take its body for the next one.
        """
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _head_without_offer(self) -> bytes:
        """The request's line and headers as they came, but for `Upgrade`."""
        parser = self.parser
        line = b"%b %b HTTP/%b" % (parser.get_method(), self.url, parser.get_http_version().encode())
        headers = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join((line, *headers, b"", b""))

    def _is_simple(self) -> bool:
        """Whether the request is a POST on a connection that is free and stays open, whose caller reads and sends."""
        parser = self.parser
        return (
            parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not self.expect_100_continue
            and not self.flow.write_paused
            and (self.cycle is None or self.cycle.response_complete)
        )

    def _pass_on(self, cycle: _Cycle) -> None:
        """Go the application's way, as if the request had just come."""
        cycle.prediction.passed_on()
        self.cycle = None
        super().on_headers_complete()
        super().on_body(bytes(cycle.prediction.body))
        super().on_message_complete()

    def _finish(self, cycle: _Cycle, submitted: "asyncio.Future[Any]") -> None:
        self._answer(cycle, cycle.prediction.answer(submitted))

    def _answer(self, cycle: _Cycle, response: plain.Response) -> None:
        status, headers, content = response
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        if not cycle.keep_alive:  # any more, for the service is stopping
            lines.append(b"connection: close\r\n")
        cycle.response_complete = True
        if not self.transport.is_closing():
            self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", content)))
            if not cycle.keep_alive:
                self.transport.close()
        self.on_response_complete()

    def _read_on(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()
