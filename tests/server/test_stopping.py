"""SIGTERM ends the process, whatever its threads do."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
import uvicorn

from app.main import create_app
from app.server import memory, run
from app.server.protocol import Protocol
from app.server.run import _Server
from app.settings import Settings
from tests.conftest import MODELS, until
from tests.server.test_processes import workers_of
from tests.server.test_protocol import answer
from tests.server.test_run import SMALL, refused, serving

DEAF = """
import time, threading
from app.routes import predict
def deaf(checkpoint):
    print("working", flush=True)
    {work}
async def answer(request, send):
    service = request.app.state.service
    await service.compute(request, service.deadline(), deaf)
predict._answer = answer
from app.cli import main
main(["serve", "--port", "0"])
"""


@pytest.mark.parametrize("work", ["time.sleep(600)", "while True: pass"])
def test_a_thread_that_never_ends_does_not_keep_the_process(work: str) -> None:
    environment = {**os.environ, "CONVOSCOPE_DRAIN": "1", "CONVOSCOPE_DEFAULT_MODEL": "tutorial"}
    process = subprocess.Popen(
        [sys.executable, "-c", DEAF.format(work=work)],
        cwd=MODELS.parent,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        port = int(process.stdout.readline().split(",")[0].rpartition(":")[2])

        async def ask() -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            assert process.stdout
            await asyncio.to_thread(process.stdout.readline)
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert await asyncio.to_thread(process.wait, 60) == 0
            assert time.monotonic() - began < 30  # the thread would work for longer
            writer.close()

        asyncio.run(ask())
    finally:
        process.kill()
        process.communicate()


def test_a_sigterm_while_workers_start_ends_them_all() -> None:
    with serving("--workers", "2", **SMALL) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


INTERRUPTED = """
import os, signal, socket
from app.server import processes

started = processes._started

def interrupted(work, listener):
    os.kill(os.getpid(), signal.SIGTERM)
    return started(work, listener)

processes._started = interrupted
processes.supervise(print, socket.create_server(("127.0.0.1", 0)), 2, 30)
"""


def test_a_sigterm_while_a_worker_is_given_the_listener_is_no_error() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], cwd=MODELS.parent, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_workers_that_die_again_and_again_end_the_service() -> None:
    with serving("--workers", "2", **SMALL) as (process, _):
        end = time.monotonic() + 60
        while process.poll() is None:
            assert time.monotonic() < end
            for worker in workers_of(process.pid):
                with suppress(ProcessLookupError):  # it has ended by itself
                    os.kill(worker, signal.SIGKILL)
            time.sleep(0.05)
        assert process.returncode == 1
        assert process.stdout
        said = process.stdout.read()
        assert "giving up" in said
        assert "Traceback" not in said


def test_a_port_in_use_is_named_with_several_workers() -> None:
    with serving(**SMALL) as (_, url):
        port = url.rpartition(":")[2]
        assert "Address already in use" in refused("serve", "--workers", "2", "--port", port)
        assert "Address already in use" in refused("serve", "--port", port)


Address = tuple[str, int]
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
MASKS = b"GET /masks HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Server(_Server):
    """Says when its main loop has begun. A stop before that, which only a signal may ask for, skips the main loop."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.running = threading.Event()

    async def main_loop(self) -> None:
        self.running.set()
        await super().main_loop()


@contextmanager
def stoppable(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[_Server, Address]]:
    """A server in a thread of this process, which has stopped when the block has ended, and its address."""
    monkeypatch.setattr(memory, "settle", lambda: None)  # which is for a process that only serves
    settings = Settings(default_model="tutorial")
    app = create_app(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        server = Server(uvicorn.Config(app, http=Protocol, proxy_headers=False, log_config=None), app, settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert server.running.wait(60)
            yield server, address
        finally:
            server.should_exit = True
            thread.join()


def is_refused(address: Address) -> bool:
    with socket.socket() as probe:
        return bool(probe.connect_ex(address))


def assert_told_to_go(connection: socket.socket) -> None:
    with connection.makefile("rb") as stream:
        status, headers, body = answer(stream)
        assert (status, headers["connection"]) == (503, "close")
        assert b"/problems/draining" in body
        assert stream.read() == b""


def test_what_connected_clients_ask_once_listening_has_ended_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LAST_REQUESTS", 600.0)
    with stoppable(monkeypatch) as (server, address), ExitStack() as stack:
        fresh, kept = (stack.enter_context(socket.create_connection(address, 60)) for _ in range(2))
        kept.sendall(HEALTH)
        with kept.makefile("rb") as stream:
            assert answer(stream)[0] == 200
        server.should_exit = True
        until(lambda: is_refused(address))
        for connection in (fresh, kept):
            connection.sendall(MASKS)
            assert_told_to_go(connection)


def test_a_client_that_says_nothing_does_not_keep_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LAST_REQUESTS", 0.01)
    with stoppable(monkeypatch) as (server, address), socket.create_connection(address, 60) as silent:
        server.should_exit = True
        assert silent.recv(1) == b""


def test_connections_that_nobody_has_accepted_yet_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    accept_the_last = _Server._accept_the_last
    callers: list[socket.socket] = []

    async def connect_first(self: _Server, listeners: Sequence[socket.socket]) -> None:
        for _ in range(20):  # without a pause in which the event loop could accept them
            callers.append(socket.create_connection(listeners[0].getsockname(), 60))
            callers[-1].sendall(MASKS)
        await accept_the_last(self, listeners)

    monkeypatch.setattr(_Server, "_accept_the_last", connect_first)
    monkeypatch.setattr(run, "LAST_REQUESTS", 600.0)
    with stoppable(monkeypatch):
        pass
    assert len(callers) == 20
    for caller in callers:
        with caller:
            assert_told_to_go(caller)
