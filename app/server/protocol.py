"""uvicorn's HTTP/1.1 connection, with bounds: no client keeps one for good, or makes it hold more than it should.

The application answers every request; this class only ends connections on which a request does not go on, has a head
or a trailer that is too long, or is not HTTP. It ignores offers to upgrade to another protocol.

uvicorn documents none of what this class uses of `HttpToolsProtocol`: `transport`, `loop`, `app`, `parser`, `flow`
(`read_paused`, `pause_reading`, `resume_reading`), `scope`, `headers`, `url`, `pipeline`, `cycle` (`response_started`,
`response_complete`, `disconnected`, `keep_alive`, `message_event`), `server_state.default_headers`, `STATUS_LINE`, and
the methods overridden below. `tests/server/test_uvicorn.py` fails first when a release changes it; `pyproject.toml`
has the range of releases it was tested with.
"""

import asyncio
import re
import time
from typing import Any, Literal

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.errors import ConvoscopeError, HeadTooLarge, MalformedRequest, RequestTimeout
from app.routes.service import Service
from app.server.in_flight import LARGE_WRITES
from app.server.middleware import BREATHER, common_headers, identify
from app.server.transport import AnswerTransport
from app.wire import problems

PAUSE = 0.06
"""Seconds for which a client that found no room is not read; about as long as an answer takes with a short queue."""

MAX_HEAD = 65_536
"""Bytes of a request's line and headers, or of its trailer."""

UNCOUNTED = 512
"""Bytes that an unfinished head may have besides: white space and line ends, which `MAX_HEAD` does not count."""

FIRST_PROBE, NEXT_PROBE = 0.25, 0.5
"""Seconds after which a client that has closed its half of the connection is asked whether it still reads."""

HOST = re.compile(rb"[^\s/?#@,]*")


class Protocol(HttpToolsProtocol):
    """A connection to the application that `create_app` makes."""

    _part: Literal["", "head", "body"] = ""
    """The part of the latest request that is not complete."""

    _raw = 0
    """Bytes since the latest request began, or since the latest of its body came."""

    _counted = 0
    """Bytes of its URL, header names and values; the same however they were cut into packets."""

    _body = 0
    """Bytes of its body since the time for them last began."""

    _began = 0.0
    """When the latest request or, before the first, the connection did, by `time.perf_counter`."""

    _due = 0.0
    """When its part must be complete, or enough of its body must have come; on the loop's clock."""

    _wrong: ConvoscopeError | None = None
    """What is wrong with the latest request. It is told once the requests before it have their answers."""

    _half_closed = False
    _timer: asyncio.TimerHandle | None = None
    _probe: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _answering: RequestResponseCycle | None = None
    """The request that the application answers; `cycle` is the latest, which may wait behind it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._answers = AnswerTransport(transport)
        service: Service = self.app.state.service
        self._settings = service.settings
        self._began = time.perf_counter()
        self._restart_clock()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answering and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        self.pipeline.clear()
        LARGE_WRITES.discard(self.transport)
        for timer in (self._timer, self._probe, self._write_timer):
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
                    pieces += [piece[offer.args[0] :], memoryview(self._head_without_offer())]
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
        if self._part == "head":  # and not a trailer's, which must not be taken for one (RFC 9110, 6.5.1)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._offers_upgrade():
            return
        if wrong := self._wrong_with_head():
            self._stop_parsing(wrong)
        self._part, self._raw, self._counted, self._body = "body", 0, 0, 0
        self._restart_clock()
        # ASGI allows extensions; uvicorn makes a new scope for each request.
        self.scope["extensions"] = {BREATHER: {"begin": self._breathe}}
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._raw = 0
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._offers_upgrade():
            self._part = ""
            super().on_message_complete()

    def _count(self, size: int) -> None:
        self._counted += size
        if self._counted > MAX_HEAD:
            self._stop_parsing(self._too_long(self._counted))

    def _stop_parsing(self, wrong: ConvoscopeError) -> None:
        """Leave the parser, which tells `_parse` of an error in a callback of ours."""
        self._wrong = wrong
        raise ValueError

    def _too_long(self, size: int) -> HeadTooLarge:
        part = "head" if self._part == "head" else "trailer"
        return HeadTooLarge.about("request", f"its {part} has {size} bytes or more; expected at most {MAX_HEAD}")

    def _wrong_with_head(self) -> ConvoscopeError | None:
        """What is wrong with a complete head that the parser lets pass."""
        if self.parser.get_method() == b"CONNECT":
            return MalformedRequest.about("request", "CONNECT asks for a tunnel; this service offers none")
        named = [value for name, value in self.headers if name == b"host"]
        if len(named) > 1 or (not named and self.parser.get_http_version() == "1.1") or not _all_hosts(named):
            found = [value.decode("latin-1") for value in named[:3]]
            return MalformedRequest.about("Host", f"Host is {found!r:.80}; expected one, as RFC 9112 demands")
        for name, value in self.headers:
            if name == b"transfer-encoding" and value.strip().lower() != b"chunked":
                return MalformedRequest.about("Transfer-Encoding", f"found {value!r:.80}; expected chunked or none")
        return self._wrong_with_target()

    def _wrong_with_target(self) -> ConvoscopeError | None:
        """The same, for the URL, which is also brought into the form that uvicorn expects."""
        try:
            url = httptools.parse_url(self.url)
        except httptools.HttpParserInvalidURLError:
            if self.url == b"*":  # of OPTIONS: the whole service
                self.url = b"/*"
                return None
            return MalformedRequest.about("request", f"its target is {self.url!r:.80}; expected a path such as /")
        if url.path is None:  # http://host, without a slash
            self.url = b"/" + (b"?" + url.query if url.query else b"")
        return None

    # Time limits

    def _restart_clock(self) -> None:
        self._due = self.loop.time() + self._settings.read_timeout

    def _watch(self) -> None:
        """Keep a timer while there is something to wait for. It is not moved as data comes, only set again when due."""
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

        A client that asks again at once would be rejected so often that answers had no processor left.
        """
        if not self.transport.is_closing():
            self.flow.pause_reading()
            self.loop.call_later(PAUSE, self._read_on)

    def _read_on(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()

    # Writing

    def pause_writing(self) -> None:
        super().pause_writing()
        LARGE_WRITES.add(self.transport)
        self._expect_reading(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        LARGE_WRITES.discard(self.transport)
        if self._write_timer:
            self._write_timer.cancel()
            self._write_timer = None

    def _expect_reading(self, unread: int) -> None:
        """Close the connection if its client has not read enough of `unread` bytes after `write_timeout` seconds."""
        if self._write_timer:
            self._write_timer.cancel()
        self._write_timer = self.loop.call_later(self._settings.write_timeout, self._check_reading, unread)

    def _check_reading(self, unread: int) -> None:
        left = self.transport.get_write_buffer_size()
        if unread - left < self._settings.min_body_rate * self._settings.write_timeout:
            self.transport.abort()
        else:
            self._expect_reading(left)

    # Answers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        cycle.transport = self._answers
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self._answers.finish()
        super().on_response_complete()
        if self.transport.is_closing() or not (self._answering and self._answering.response_complete):
            return
        if self._wrong:
            self._write_problem(self._wrong)
        elif self._half_closed:
            self.transport.close()

    def _reject(self, error: ConvoscopeError) -> None:
        """Tell what is wrong with a request, after the answers of those before it, and close the connection."""
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
        """Keep the connection for the answers that its client still waits for; it has sent its last request."""
        answering = self._answering and not self._answering.response_complete
        if self._part or not (answering or self.pipeline):
            return False
        self._half_closed = True
        self._probe = self.loop.call_later(FIRST_PROBE, self._ask_whether_it_reads)
        return True

    def _ask_whether_it_reads(self) -> None:
        """Send "100 Continue", which clients pass over: a client that has gone altogether answers with a reset.

        Without it, the end of what a client sends looks the same whether or not it still reads.
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

    def _head_without_offer(self) -> bytes:
        """The request's line and headers as they came, but for `Upgrade`."""
        parser = self.parser
        line = b"%b %b HTTP/%b" % (parser.get_method(), self.url, parser.get_http_version().encode())
        headers = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join((line, *headers, b"", b""))


def _all_hosts(values: list[bytes]) -> bool:
    return all(HOST.fullmatch(value.strip()) for value in values)
