"""Traces by OpenTelemetry, where its standard variables (OTEL_*) ask for them: a span per request and per step of it.

The steps are those of the answer's `Server-Timing`, so a route has nothing to do for them, and a service without traces
does not have this layer at all. Needs the extra `traces`; without it, or without a collector, serving goes on.
"""

import asyncio
import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import __version__
from app.server.access_log import LONGEST_PATH
from app.server.gate import PROBES

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Span

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
NOT_TRACED = PROBES | {"/metrics"}

STEP = re.compile(r"(\w+);dur=([\d.]+)")
"""What `Server-Timing` says of each step, in milliseconds."""

LAST_SPANS = 1.0
"""Seconds that the collector gets for the last spans when the service stops."""

EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
"""The logger that says on every attempt that a collector is away."""


def provider(environ: Mapping[str, str]) -> "TracerProvider | None":
    """What makes and exports spans; None where no variable asks for traces, or where they cannot be had.

    A warning then says why. The variables are read once, by the SDK; `environ` must be the process's own.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    name = environ.get("OTEL_TRACES_EXPORTER", "").strip() or ("otlp" if _first(environ, ENDPOINTS) else "none")
    if name == "none":
        return None
    protocol = _first(environ, PROTOCOLS)
    if name not in ("otlp", "console"):
        logger.warning("no traces: OTEL_TRACES_EXPORTER is %.80r; expected otlp, console or none", name)
    elif name == "otlp" and protocol not in ("", "http/protobuf"):
        logger.warning("no traces: %s is %.80r; expected http/protobuf", PROTOCOLS[1], protocol)
    else:
        try:
            return _provider(name, environ)
        except ImportError as error:
            logger.warning("no traces: the extra `traces` is not installed (%s)", error)
        except ValueError as error:
            logger.warning("no traces: %s", error)
    return None


async def close(traces: "TracerProvider") -> None:
    """Export the last spans, if that can be done within LAST_SPANS."""
    last = threading.Thread(target=traces.shutdown, name="last spans", daemon=True)
    last.start()
    await asyncio.to_thread(last.join, LAST_SPANS)


def _first(environ: Mapping[str, str], names: Sequence[str]) -> str:
    return next((environ[name].strip() for name in names if environ.get(name, "").strip()), "")


def _provider(name: str, environ: Mapping[str, str]) -> "TracerProvider":
    """Raises ImportError, and ValueError where a variable has a value that it may not have."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    about: dict[str, str] = {"service.version": __version__}
    if not environ.get("OTEL_SERVICE_NAME") and "service.name=" not in environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        about["service.name"] = "convoscope"
    exporter = ConsoleSpanExporter() if name == "console" else _delivered(_first(environ, ENDPOINTS))
    made = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(exporter))
    return made


class _Reason(logging.Filter):
    """Keeps a logger's messages to itself: the first since `text` was cleared, which has the cause."""

    text = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.text = self.text or record.getMessage()
        return False


def _delivered(endpoint: str) -> "SpanExporter":
    """The exporter to the collector at `endpoint`, which says once that it is away, and once that it is back."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    log, reason = logging.getLogger(EXPORTER), _Reason()
    for old in [old for old in log.filters if isinstance(old, _Reason)]:
        log.removeFilter(old)
    log.addFilter(reason)
    # It says so when its queue is full, which is so while the collector is away.
    logging.getLogger("opentelemetry.sdk._shared_internal").setLevel(logging.ERROR)

    class Delivered(OTLPSpanExporter):
        _away = False

        def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
            reason.text = ""
            try:
                result = super().export(spans)
            except Exception as error:  # of a URL that is none, among others; the SDK would log each with a traceback
                result, reason.text = SpanExportResult.FAILURE, str(error)
            away = result is not SpanExportResult.SUCCESS
            if away and not self._away:
                where = endpoint or "localhost:4318"
                logger.warning("traces are lost until the collector at %s takes them: %.300s", where, reason.text)
            elif self._away and not away:
                logger.warning("the collector takes traces again")
            self._away = away
            return result

    return Delivered()


class Tracing:
    """A span for each request, as the OpenTelemetry's conventions for HTTP servers name its attributes.

    It continues the trace of a `traceparent` header, and `traceresponse` names the span to the caller.
    """

    def __init__(self, app: ASGIApp, *, traces: "TracerProvider") -> None:
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        self.app = app
        self._tracer = traces.get_tracer("convoscope", __version__)
        self._extract, self._server = extract, SpanKind.SERVER

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in NOT_TRACED:
            await self.app(scope, receive, send)
            return
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        span = self._tracer.start_span(scope["method"], self._extract(carrier), kind=self._server)
        trace = span.get_span_context()
        traced = f"00-{trace.trace_id:032x}-{trace.span_id:016x}-{trace.trace_flags:02x}"
        scope.setdefault("state", {})["trace"] = traced[3:35]
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if span.is_recording():
                    self._steps(span, message["headers"])
                message["headers"] = [*message["headers"], (b"traceresponse", traced.encode())]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            if span.is_recording():
                _describe(span, scope, status, carrier)
            span.end()

    def _steps(self, span: "Span", headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Spans of the steps that ended just now, one after the other."""
        from opentelemetry.trace import set_span_in_context

        parent = set_span_in_context(span)
        timings = " ".join(value.decode("latin-1") for name, value in headers if name == b"server-timing")
        end = time.time_ns()
        for name, milliseconds in reversed([step for step in STEP.findall(timings) if step[0] != "total"]):
            begin = end - int(float(milliseconds) * 1e6)
            self._tracer.start_span(name, parent, start_time=begin).end(end)
            end = begin


def _describe(span: "Span", scope: Scope, status: int, headers: Mapping[str, str]) -> None:
    """Name the span, and give it its attributes."""
    from opentelemetry.trace import StatusCode

    route = getattr(scope.get("route"), "path", None)
    state = scope["state"]
    span.update_name(f"{scope['method']} {route}" if route else scope["method"])
    attributes: dict[str, Any] = {
        "http.request.method": scope["method"],
        "http.route": route,
        "http.response.status_code": status or None,
        "url.path": scope["path"][:LONGEST_PATH],
        "url.scheme": scope["scheme"],
        "client.address": scope["client"][0] if scope.get("client") else None,
        "user_agent.original": headers.get("user-agent", "")[:LONGEST_PATH] or None,
        "convoscope.request_id": state.get("request_id"),
        "convoscope.key": state.get("key"),
        "convoscope.model": state.get("model"),
        "convoscope.pictures": state.get("pictures"),
    }
    span.set_attributes({name: value for name, value in attributes.items() if value is not None})
    if status >= 500 or not status:
        span.set_status(StatusCode.ERROR, None if status else "the connection ended before the answer began")
