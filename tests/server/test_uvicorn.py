"""What `app.server` uses of uvicorn without its promise: this fails first when a release changes it."""

import inspect
import re
from importlib.metadata import version
from pathlib import Path

import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.server.cycle import Cycle
from app.server.protocol import Protocol

BEGINNING_A_CYCLE = """
        if existing_cycle is None or existing_cycle.response_complete:
            # Standard case - start processing the request.
            self._start_asgi_task(self.cycle, app)
        else:
            # Pipelined HTTP requests need to be queued up.
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, app))
"""
"""What `Protocol._begin_cycle` does the same way, at the end of uvicorn's `on_headers_complete`."""

OVERRIDDEN = (
    "connection_made",
    "connection_lost",
    "data_received",
    "eof_received",
    "on_message_begin",
    "on_url",
    "on_header",
    "on_headers_complete",
    "on_body",
    "on_message_complete",
    "on_response_complete",
    "pause_writing",
    "resume_writing",
    "_start_asgi_task",
)


def test_what_is_overridden_exists_with_the_same_parameters() -> None:
    for name in OVERRIDDEN:
        ours, theirs = getattr(Protocol, name), getattr(HttpToolsProtocol, name)
        assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters), name
    own = {name for name, value in vars(Protocol).items() if callable(value) and hasattr(HttpToolsProtocol, name)}
    assert own - {"__doc__"} == set(OVERRIDDEN)


def test_a_cycle_is_made_and_begun_as_uvicorn_does() -> None:
    theirs = inspect.getsource(HttpToolsProtocol.on_headers_complete)
    assert theirs.endswith(BEGINNING_A_CYCLE[1:])
    assert set(re.findall(r"self\.scope\[\"(\w+)\"\]", theirs)) == {
        "method",
        "http_version",
        "path",
        "raw_path",
        "query_string",
    }
    keywords = list(inspect.signature(RequestResponseCycle).parameters)
    assert re.findall(r"^ +(\w+)=", theirs[theirs.index("RequestResponseCycle(") :], re.MULTILINE) == keywords
    assert (
        inspect.signature(Cycle.send).parameters.keys()
        == inspect.signature(RequestResponseCycle.send).parameters.keys()
    )


def test_what_is_read_and_written_is_there() -> None:
    source = inspect.getsource(httptools_impl)
    attributes = (
        "transport loop app parser flow scope headers url expect_100_continue pipeline cycle logger access_logger"
    )
    for attribute in attributes.split():
        assert f"self.{attribute}" in source
    assert "self._unset_keepalive_if_required()" in source
    cycle = inspect.getsource(RequestResponseCycle)
    ours = set(re.findall(r"self\.(\w+)", inspect.getsource(Cycle))) | {
        "response_started",
        "disconnected",
        "message_event",
    }
    for attribute in ours - {"_head", "_begin", "_is_whole"}:
        assert f"self.{attribute}" in cycle
    assert {"read_paused", "pause_reading", "resume_reading"} <= set(dir(FlowControl)) | {"read_paused"}
    assert STATUS_LINE[408] == b"HTTP/1.1 408 Request Timeout\r\n"


def test_the_server_has_what_run_overrides() -> None:
    for name in ("handle_exit", "startup", "shutdown", "main_loop"):
        assert callable(getattr(uvicorn.Server, name))
    assert "timeout=self.config.timeout_graceful_shutdown" in inspect.getsource(uvicorn.Server.shutdown)
    startup = inspect.getsource(uvicorn.Server.startup)
    assert "self.servers.append(server)" in startup
    assert "app_state=self.lifespan.state," in startup
    assert list(inspect.signature(HttpToolsProtocol).parameters)[:3] == ["config", "server_state", "app_state"]
    assert "self.connections.add(self)" in inspect.getsource(HttpToolsProtocol.connection_made)


def test_the_installed_release_is_in_the_range_of_pyproject() -> None:
    text = (Path(__file__).parent.parent.parent / "pyproject.toml").read_text()
    minor = int(version("uvicorn").split(".")[1])
    assert f'"uvicorn>=0.{minor},<0.{minor + 1}"' in text
