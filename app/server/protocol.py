"""uvicorn's HTTP/1.1 connection, with bounds: no client keeps one for good, or makes it hold more than it should.

The application answers every request; this class only ends connections on which a request does not go on, has a head
or a trailer that is too long, or is not HTTP. It ignores offers to upgrade to another protocol.

uvicorn documents none of what this class uses of `HttpToolsProtocol`: `transport`, `loop`, `app`, `parser`, `flow`
(`read_paused`, `pause_reading`, `resume_reading`), `scope`, `headers`, `url`, `expect_100_continue`, `pipeline`,
`cycle`, `logger`, `access_logger`, `server_state.default_headers`, `STATUS_LINE`, and the methods overridden below;
`Cycle` says what it uses of `RequestResponseCycle`. `tests/server/test_uvicorn.py` fails first when a release changes
any of it; `pyproject.toml` has the range of releases that the tests were run with.
"""

import asyncio
import time
from typing import Any, Literal
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.errors import ConvoscopeError, HeadTooLarge, MalformedRequest, Overloaded, RequestTimeout
from app.routes.service import Service
from app.server.cycle import Cycle
from app.server.descriptors import Descriptors
from app.server.head import Head
from app.server.middleware import BREATHER, common_headers, identify
from app.server.slow_reader import SlowReader
from app.wire import problems

PAUSE = 0.06
"""Seconds for which a client that found no room is not read; about as long as an answer takes with a short queue."""

MAX_HEAD = 65_536
"""Bytes of a request's line and headers, or of its trailer."""

UNCOUNTED = 512
"""Bytes that an unfinished head may have besides: white space and line ends, which `MAX_HEAD` does not count."""

FIRST_PROBE, NEXT_PROBE = 0.25, 0.5
"""Seconds after which a client that has closed its half of the connection is asked whether it still reads."""

DESCRIPTORS = Descriptors()


class Protocol(HttpToolsProtocol):
    """A connection to the application that `create_app` makes."""

    _part: Literal["", "head", "body"] = ""
    """The part of the latest request that is not complete."""

    _raw = 0
    """Bytes received since the latest request began, or since the latest part of its body."""

    _counted = 0
    """Bytes of its URL, header names and header values, however they were cut into packets."""

    _body = 0
    """Bytes of its body received since the time limit was last set."""

    _began = 0.0
    """When the latest request began, or the connection if there was no request yet; by `time.perf_counter`."""

    _due = 0.0
    """When the current part must be complete, or enough of the body received; on the loop's clock."""

    _wrong: ConvoscopeError | None = None
    """What is wrong with the latest request. The client is told after the answers to the requests before it."""

    _half_closed = False
    _timer: asyncio.TimerHandle | None = None
    _probe: asyncio.TimerHandle | None = None
    _answering: RequestResponseCycle | None = None
    """The request that the application is answering; `cycle` is the latest one, which may wait behind it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        service: Service = self.app.state.service
        self._settings = service.settings
        self._stack = self.app.middleware_stack
        self._slow_reader = SlowReader(transport, self.loop, self._settings)
        self._began = time.perf_counter()
        connection = transport.get_extra_info("socket")
        if connection and DESCRIPTORS.reject(connection.fileno()):
            self._reject(Overloaded("no more connections can be opened; try again after a moment"))
            return
        self._restart_clock()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answering and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        self.pipeline.clear()
        self._slow_reader.end()
        for timer in (self._timer, self._probe):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    # Reading

    def data_received(self, data: bytes) -> None:
        if self._wrong or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._raw += len(data)
        self._parse(data)
        if self._part and self._raw > MAX_HEAD + UNCOUNTED:
            self._reject(self._too_long(self._raw))
        self._watch()

    def _parse(self, data: bytes) -> None:
        pieces = [memoryview(data)]
        while pieces:
            piece = pieces.pop()
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserError as error:
                detail = f"the request is not HTTP/1.1 ({error}); the connection is closed"
                self._reject(self._wrong or MalformedRequest.about("request", detail))
                return
            except httptools.HttpParserUpgrade as offer:
                if self._offers_upgrade():
                    pieces += [piece[offer.args[0] :], memoryview(self._head().without_upgrade())]
                    self.parser = httptools.HttpRequestParser(self)
                    self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._part, self._raw, self._counted, self._began = "head", 0, 0, time.perf_counter()
        self._restart_clock()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        if self._part == "head":  # a trailer must not be taken for a header (RFC 9110, 6.5.1)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._offers_upgrade():
            return
        head = self._head()
        try:
            path, query = head.split()
            head.replace_host()
        except MalformedRequest as wrong:
            self._stop_parsing(wrong.with_traceback(None))  # or it would hold this connection
        self._part, self._raw, self._counted, self._body = "body", 0, 0, 0
        self._restart_clock()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # uvicorn makes a new one for each request
        scope["method"], scope["http_version"] = head.method.decode(), head.version
        scope["path"], scope["raw_path"], scope["query_string"] = unquote(path.decode("ascii")), path, query
        scope["extensions"] = {BREATHER: {"begin": self._breathe}}  # ASGI allows them
        scope["app"] = self.app  # which would do no more than to set this, and then call its middleware
        self._begin_cycle(head.version != "1.0" and self.parser.should_keep_alive())

    def _begin_cycle(self, keep_alive: bool) -> None:
        """What uvicorn does when a head is complete, with our cycle in the place of uvicorn's."""
        before = self.cycle
        self.cycle = Cycle(
            self.scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self._stack)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self._stack))

    def on_body(self, body: bytes) -> None:
        self._raw = 0
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._offers_upgrade():
            self._part = ""
            super().on_message_complete()

    def _head(self) -> Head:
        return Head(self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers)

    def _count(self, size: int) -> None:
        self._counted += size
        if self._counted > MAX_HEAD:
            self._stop_parsing(self._too_long(self._counted))

    def _stop_parsing(self, wrong: ConvoscopeError) -> None:
        """Leave the parser: it stops at an exception in a callback, and `_parse` catches the parser's own error."""
        self._wrong = wrong
        raise ValueError

    def _too_long(self, size: int) -> HeadTooLarge:
        part = "head" if self._part == "head" else "trailer"
        return HeadTooLarge.about("request", f"its {part} has {size} bytes or more; expected at most {MAX_HEAD}")

    # Time limits

    def _restart_clock(self) -> None:
        self._due = self.loop.time() + self._settings.read_timeout

    def _watch(self) -> None:
        """Keep a timer while something is due. It is not moved when data comes; `_check_time` sets it again."""
        waiting = bool(self._part) or self.cycle is None
        if waiting and not self._timer and not self.transport.is_closing():
            self._timer = self.loop.call_at(self._due, self._check_time)
        elif not waiting and self._timer:
            self._timer.cancel()
            self._timer = None

    def _check_time(self) -> None:
        """Reject a request whose head is not complete in time, or whose body comes too slowly."""
        self._timer = None
        if self.transport.is_closing() or self._wrong:
            return
        seconds, enough = self._settings.read_timeout, self._settings.min_body_rate * self._settings.read_timeout
        if self._keeps_client_waiting() or (self._part == "body" and self._body >= enough):
            self._body = 0
            self._restart_clock()
        if self.loop.time() < self._due - 1e-3:
            self._watch()
        elif self._part:
            found = "" if self._part == "head" else f": {self._body} bytes of it came in the last of them"
            detail = f"the request's {self._part} was not complete after {seconds:g} s{found}"
            self._reject(RequestTimeout.about("request", detail))
        else:
            self.transport.close()

    def _keeps_client_waiting(self) -> bool:
        cycle = self._answering
        answering = cycle and not cycle.response_complete and (cycle.response_started or self._part == "head")
        return bool(answering or self.pipeline or self.flow.read_paused)

    def _breathe(self) -> None:
        """Leave the connection unread for a moment.

        Rejecting a client that asks again at once would take the processor time that answers need.
        """
        if not self.transport.is_closing():
            self.flow.pause_reading()
            self.loop.call_later(PAUSE, self._read_on)

    def _read_on(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._slow_reader.begin()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._slow_reader.end()

    # Answers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing() or not (self._answering and self._answering.response_complete):
            return
        if self._wrong:
            self._write_problem(self._wrong)
        elif self._half_closed:
            self.transport.close()

    def _reject(self, error: ConvoscopeError) -> None:
        """Tell the client what is wrong, after the answers to its earlier requests, and close the connection."""
        self._wrong = error
        cycle, answering = self.cycle, self._answering
        if self._part == "body" and self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()  # it waits behind others, and will not be complete
        own = self._part == "body" and cycle is answering
        if own and cycle and (cycle.response_started or cycle.response_complete):
            self.transport.close()  # it has its answer
        elif own or not answering or (answering.response_complete and not self.pipeline):
            self._write_problem(error)
        else:
            self.flow.pause_reading()

    def _write_problem(self, error: ConvoscopeError) -> None:
        scope: dict[str, Any] = {}
        request_id = identify(scope, {})
        response = problems.respond(error, scope)
        own = common_headers(request_id, self._began)
        headers = [*response.raw_headers, *own, (b"connection", b"close")]
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        self.transport.write(b"".join((STATUS_LINE[problems.status(error)], *lines, b"\r\n", bytes(response.body))))
        self.transport.close()

    # A client that has closed its half of the connection

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection while the client waits for answers; it will send no more requests."""
        answering = self._answering and not self._answering.response_complete
        if self._part or not (answering or self.pipeline):
            return False
        self._half_closed = True
        self._probe = self.loop.call_later(FIRST_PROBE, self._ask_whether_it_reads)
        return True

    def _ask_whether_it_reads(self) -> None:
        """Send "100 Continue", which clients ignore; if the client has disconnected, its system answers with a reset.

        The end of what a client sends does not show whether the client still reads.
        """
        cycle = self._answering
        if self.transport.is_closing() or not cycle or cycle.response_started:
            return
        if cycle.scope["http_version"] == "1.1":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._probe = self.loop.call_later(NEXT_PROBE, self._ask_whether_it_reads)

    # Offers to upgrade

    def _offers_upgrade(self) -> bool:
        """Whether the request offers another protocol, as Java's client does: to be ignored (RFC 9110, 7.8).

        The parser ends such a request with its head, and would take its body for the next one.
        """
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
