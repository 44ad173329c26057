"""Spans of requests: what they say, where they go, and what happens where nobody takes them."""

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from app.main import create_app
from app.server import tracing
from app.settings import Settings
from tests.conftest import running, until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

Spans = InMemorySpanExporter


@pytest.fixture(scope="module")
def traced() -> Iterator[tuple[httpx.Client, Spans]]:
    """A service whose spans stay in memory."""
    spans, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    app = create_app(Settings(max_body=100_000, max_bodies=100_000))
    assert app.middleware_stack
    app.middleware_stack = tracing.Tracing(app.middleware_stack, traces=provider)
    with running(app) as client:
        yield client, spans


def finished(spans: Spans) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """The one request's span, and those of its steps by their begin."""

    def roots() -> list[ReadableSpan]:
        return [span for span in spans.get_finished_spans() if span.kind.name == "SERVER"]

    until(roots)  # a span ends after the answer has been sent
    (root,) = roots()
    steps = [span for span in spans.get_finished_spans() if span is not root]
    spans.clear()
    return root, sorted(steps, key=lambda span: span.start_time or 0)


def test_a_prediction_continues_its_caller_s_trace_and_has_a_span_for_each_step(
    traced: tuple[httpx.Client, Spans], frog: bytes
) -> None:
    client, spans = traced
    answer = client.post("/predict?model=fast", content=frog, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    root, steps = finished(spans)
    assert root.name == "POST /predict"
    assert root.parent
    assert root.context
    assert (f"{root.context.trace_id:032x}", f"{root.parent.span_id:016x}") == (TRACE, PARENT)
    assert answer.headers["traceresponse"] == f"00-{TRACE}-{root.context.span_id:016x}-01"
    assert [step.name for step in steps] == ["decode", "queue", "infer", "encode"]
    assert all(step.parent and step.parent.span_id == root.context.span_id for step in steps)
    assert [step.end_time for step in steps[:-1]] == [step.start_time for step in steps[1:]]
    assert (root.start_time or 0) <= (steps[0].start_time or 0)
    assert (steps[-1].end_time or 0) <= (root.end_time or 0)
    timing = dict(tracing.STEP.findall(answer.headers["server-timing"]))
    for step in steps:
        assert (step.end_time or 0) - (step.start_time or 0) == pytest.approx(float(timing[step.name]) * 1e6, abs=1)
    told = dict(root.attributes or {})
    assert told["convoscope.request_id"] == answer.headers["x-request-id"]
    assert told["http.response.status_code"] == 200
    assert (told["http.route"], told["url.path"], told["http.request.method"]) == ("/predict", "/predict", "POST")
    assert root.status.status_code is StatusCode.UNSET


def test_other_protocols_have_steps_too(traced: tuple[httpx.Client, Spans]) -> None:
    client, spans = traced
    data = [0] * 3072
    tensor = {"name": "image", "shape": [1, 32, 32, 3], "datatype": "UINT8", "data": data}
    assert client.post("/v2/models/fast/infer", json={"inputs": [tensor]}).status_code == 200
    root, steps = finished(spans)
    assert root.name == "POST /v2/models/{name}/infer"
    assert [step.name for step in steps][:3] == ["decode", "queue", "infer"]


def test_rejections_are_no_errors_of_ours_and_name_no_path_as_a_route(traced: tuple[httpx.Client, Spans]) -> None:
    client, spans = traced
    client.get("/nothing/here")
    root, steps = finished(spans)
    assert (root.name, steps, root.status.status_code) == ("GET", [], StatusCode.UNSET)
    assert dict(root.attributes or {})["http.response.status_code"] == 404


@pytest.mark.parametrize("sent", ["", "00-0-0-01", "ff" * 40, "00-" + "g" * 32 + "-" + PARENT + "-01", "\xff"])
def test_a_traceparent_that_is_none_begins_a_trace(traced: tuple[httpx.Client, Spans], sent: str) -> None:
    client, spans = traced
    answer = client.get("/models", headers=[(b"traceparent", sent.encode("latin-1"))])
    root, _ = finished(spans)
    assert answer.status_code == 200
    assert root.parent is None


def test_probes_have_no_spans(traced: tuple[httpx.Client, Spans]) -> None:
    client, spans = traced
    for path in ("/healthz", "/readyz", "/metrics", "/v2/health/live"):
        assert "traceresponse" not in client.get(path).headers
    client.get("/masks")
    root, _ = finished(spans)
    assert root.name == "GET /masks"


class Collector(HTTPServer):
    """Takes spans as OTLP over HTTP."""

    def __init__(self, port: int = 0) -> None:
        self.received: list[ExportTraceServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.received.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", port), Handler)


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    with Collector(port) as collector:
        thread = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


@pytest.fixture
def exporting(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1")
    return monkeypatch


def test_a_collector_gets_what_the_standard_variables_say(exporting: pytest.MonkeyPatch, frog: bytes) -> None:
    with collecting() as collector:
        exporting.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        exporting.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
        with running(create_app()) as client:
            client.post("/predict", content=frog).raise_for_status()
        # What was not exported by then was exported when the service stopped.
        resources = [spans for request in collector.received for spans in request.resource_spans]
    names = [span.name for found in resources for scope in found.scope_spans for span in scope.spans]
    assert {"POST /predict", "decode", "queue", "infer", "encode"} <= set(names)
    (root,) = [
        span for found in resources for scope in found.scope_spans for span in scope.spans if not span.parent_span_id
    ]
    told = {attribute.key: attribute.value for attribute in root.attributes}
    assert (told["convoscope.model"].string_value, told["convoscope.pictures"].int_value) == ("accurate", 1)
    about = {attribute.key: attribute.value.string_value for attribute in resources[0].resource.attributes}
    assert about["service.name"] == "convoscope"
    assert about["deployment.environment"] == "test"


def test_a_collector_that_is_away_costs_two_lines_and_no_request(
    exporting: pytest.MonkeyPatch, frog: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with collecting() as collector:
        port = collector.server_port
    exporting.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")

    def said() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]

    with running(create_app()) as client:
        while not said():
            client.post("/predict", content=frog).raise_for_status()
        for _ in range(3):
            client.post("/predict", content=frog).raise_for_status()
        with collecting(port) as collector:
            while not collector.received:
                client.post("/predict", content=frog).raise_for_status()
            until(lambda: len(said()) > 1)
            away, back = said()
    assert away.startswith(f"traces are lost until the collector at http://127.0.0.1:{port} takes them: ")
    assert back == "the collector takes traces again"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"},
    ],
)
def test_without_being_asked_there_are_no_traces(variables: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    assert tracing.provider(variables) is None
    assert not caplog.records


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "'jaeger'; expected otlp, console or none"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "'grpc'; expected http/protobuf"),
    ],
)
def test_what_is_not_understood_is_said_in_one_line(
    variables: dict[str, str], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert tracing.provider(variables) is None
    (record,) = caplog.records
    assert record.getMessage().startswith("no traces: ")
    assert expected in record.getMessage()


def test_without_the_extra_the_service_says_so_and_serves(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert tracing.provider({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}) is None
    (record,) = caplog.records
    assert record.getMessage().startswith("no traces: the extra `traces` is not installed")


def test_a_service_without_traces_has_no_layer_for_them_and_loads_no_sdk() -> None:
    code = "import sys; from app.main import create_app; print(type(create_app().middleware_stack), *sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in loaded if name.startswith("opentelemetry.sdk")]
    assert "RequestMiddleware" in loaded[1]
