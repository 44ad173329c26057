"""The real process: start, refusal to start, and stop."""

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from app.cli import main
from tests.conftest import MODELS, assert_problem, until

ROOT = MODELS.parent
PATIENT = {"CONVOSCOPE_READ_TIMEOUT": "600"}
SMALL = {"CONVOSCOPE_DEFAULT_MODEL": "tutorial"}
"""The network that is the soonest prepared."""


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`convoscope serve` as a process, once it listens, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve", "--port", "0", *arguments],
        cwd=ROOT,
        env={**os.environ, "CONVOSCOPE_DEADLINE": "60", **environment},  # a busy machine may answer late
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout
        address = re.search(r"http://\S+:\d+", process.stdout.readline())
        assert address
        yield process, address[0]
    finally:
        process.kill()
        process.communicate()


def refused(*arguments: str, **environment: str) -> str:
    """What `convoscope` says when it refuses to start; it must be short, and no traceback."""
    result = subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 2
    return result.stderr


def test_sigterm_finishes_work_in_hand_refuses_new_work_and_exits_with_0(frog: bytes) -> None:
    with serving(**SMALL) as (process, url):
        with ExitStack() as stack:
            callers = [stack.enter_context(half_sent(url, frog)) for _ in range(4)]
            until(lambda: f"in_flight {len(callers) + 1}.0" in httpx.get(f"{url}/metrics", timeout=60).text)
            process.send_signal(signal.SIGTERM)
            until(lambda: httpx.get(f"{url}/readyz", timeout=60).status_code != 200)
            assert_problem(httpx.get(f"{url}/readyz", timeout=60), 503, "draining")
            assert_problem(httpx.post(f"{url}/predict", content=b"x", timeout=60), 503, "draining")
            for caller in callers:
                caller.sendall(frog[100:])
            answers = [caller.makefile("rb").readline() for caller in callers]
        assert process.wait(60) == 0
    assert answers == [b"HTTP/1.1 200 OK\r\n"] * len(callers)


@contextmanager
def half_sent(url: str, picture: bytes, path: str = "/predict") -> Iterator[socket.socket]:
    """A connection that has sent a request, but for all after the picture's first 100 bytes."""
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port or 80)) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(picture)}"
        connection.sendall(f"{head}\r\n\r\n".encode() + picture[:100])
        yield connection


def test_bodies_that_never_come_hold_the_stop_up_no_longer_than_the_drain(frog: bytes) -> None:
    with serving(CONVOSCOPE_DRAIN="2", **PATIENT, **SMALL) as (process, url), stalled(url, frog) as caller:
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert 1.5 < time.monotonic() - started < 30  # they would be waited for longer
        assert_given_up(process, caller)


def test_a_second_ctrl_c_stops_without_the_drain(frog: bytes) -> None:
    with serving(CONVOSCOPE_DRAIN="600", **PATIENT, **SMALL) as (process, url), stalled(url, frog) as caller:
        process.send_signal(signal.SIGINT)
        until(lambda: httpx.get(f"{url}/readyz", timeout=60).status_code != 200)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert_given_up(process, caller)


@contextmanager
def stalled(url: str, picture: bytes) -> Iterator[socket.socket]:
    """A caller of /predict and one of /pool, given, whose bodies do not come."""
    with half_sent(url, picture), half_sent(url, picture, "/pool") as caller:
        until(lambda: "in_flight 3.0" in httpx.get(f"{url}/metrics", timeout=60).text)
        yield caller


def assert_given_up(process: "subprocess.Popen[str]", caller: socket.socket) -> None:
    assert caller.makefile("rb").readline() == b"HTTP/1.1 503 Service Unavailable\r\n"
    assert process.stdout
    assert "Traceback" not in process.stdout.read()


def test_an_idle_service_stops_at_once() -> None:
    with serving(CONVOSCOPE_DRAIN="600", **SMALL) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_a_caller_who_leaves_while_waiting_is_dropped(frog: bytes) -> None:
    # One picture a batch and many waiting, so that the caller has left long before its turn.
    slow = {"CONVOSCOPE_MAX_BATCH": "1", "CONVOSCOPE_THREADS": "1", "CONVOSCOPE_PRECISION": "float32"}
    slow["CONVOSCOPE_DEFAULT_MODEL"] = "fast"
    with serving(**slow) as (_, url), httpx.Client(base_url=url, timeout=60) as client:
        crowd = threading.Thread(
            target=httpx.post, args=(f"{url}/predict",), kwargs={"files": [("x", frog)] * 256, "timeout": 60}
        )
        crowd.start()
        until(lambda: re.search(r'queue_pictures\{model="fast"\} [1-9]', client.get("/metrics").text))
        with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as leaver:
            leaver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leave with a reset
            head = (
                f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(frog)}"
            )
            leaver.sendall(f"{head}\r\n\r\n".encode() + frog)
            until(lambda: "in_flight 3.0" in client.get("/metrics").text)
        crowd.join()
        assert client.post("/predict", content=frog, headers={"Content-Type": "image/png"}).status_code == 200
        assert 'route="/predict",status="499"} 1.0' in client.get("/metrics").text


def test_a_caller_who_leaves_while_sending_is_no_error_of_ours() -> None:
    with serving(**SMALL) as (process, url), httpx.Client(base_url=url, timeout=60) as client:
        with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as leaver:
            leaver.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nonly this")
            time.sleep(0.1)
        until(lambda: 'route="/predict",status="499"} 1.0' in client.get("/metrics").text)
        assert 'status="500"' not in client.get("/metrics").text
        process.terminate()
        assert process.stdout
        assert "Traceback" not in process.stdout.read()


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in refused(
            "serve", "--port", str(port)
        )


def test_a_missing_models_folder_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path}/nope: no such folder" in refused("serve", "--port", "0", "--models", f"{tmp_path}/nope")


def test_an_artifact_with_one_byte_changed_is_named(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "fast", tmp_path / "fast")
    path = tmp_path / "fast" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert f"{path}: SHA-256 is " in refused("serve", "--port", "0", "--models", str(tmp_path))


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("CONVOSCOPE_PORT", "x", "port: Input should be a valid integer"),
        ("CONVOSCOPE_DEFAULT_MODEL", "nope", "expected one of accurate, fast, tutorial"),
    ],
)
def test_a_bad_setting_keeps_the_process_from_starting(variable: str, value: str, message: str) -> None:
    arguments = [] if variable == "CONVOSCOPE_PORT" else ["--port", "0"]
    assert message in refused("serve", *arguments, **{variable: value})


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PRECISION", "int4", "precision: Input should be 'auto', 'float32', 'bfloat16' or 'int8'"),
        ("MAX_PICTURES", "1000", "expected max_pictures to be at most max_queue"),
        ("WORKERS", "0", "workers: Input should be"),
        ("WORKERS", "many", "workers: Input should be"),
        ("WORKERS", "1000", "workers: Input should be"),
    ],
)
def test_a_bad_setting_is_named(
    variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"CONVOSCOPE_{variable}", value)
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--port", "0"])
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
