"""SIGTERM ends the process, whatever its threads do."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from tests.conftest import MODELS
from tests.server.test_processes import workers_of
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
