"""Memory that has been freed goes back to the system: in a process of its own, for it changes how malloc works."""

import subprocess
import sys
import time

import httpx
import pytest

from app.server import memory
from benchmarks.service import resident_megabytes
from tests.conftest import MODELS
from tests.server.test_run import SMALL, serving

pytestmark = pytest.mark.skipif(memory._glibc() is None, reason="only glibc keeps what is freed")

PROGRAM = """
import asyncio, threading
from app.server import memory

memory.share_one_arena()
memory.settle()
memory.SHORTEST, memory.LONGEST = 0.01, 0.02
began = memory.resident()

def use() -> None:
    kept = [bytes(2**20) for _ in range(50)]  # too small for a mapping of their own

async def main() -> None:
    trimming = asyncio.create_task(memory.keep_trimmed(lambda: BUSY))
    await asyncio.sleep(0)  # so that it knows how large the process was
    threads = [threading.Thread(target=use) for _ in range(2)]  # 100 MB: malloc itself gives back what is over 128
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    freed = memory.resident()
    for _ in range(3000):
        await asyncio.sleep(0.02)
        if memory.resident() < began + 10_000_000:
            break
    print(freed - began, memory.resident() - began)
    trimming.cancel()

asyncio.run(main())
"""


@pytest.mark.parametrize("busy", [False, True])
def test_what_threads_have_freed_is_given_back(busy: bool) -> None:
    program = PROGRAM.replace("BUSY", str(busy))
    result = subprocess.run([sys.executable, "-c", program], cwd=MODELS.parent, capture_output=True, text=True)
    assert not result.stderr
    freed, left = map(int, result.stdout.split())
    assert freed > 40_000_000  # the test would show nothing if the system had it back already
    assert left < 16_000_000


def test_large_rejected_bodies_leave_nothing() -> None:
    kind, body = "application/json", b'{"images":["' + b"A" * 60_000_000 + b'"]}'
    with (
        serving(**SMALL) as (process, url),
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        before = resident_megabytes(process.pid)
        for _ in range(4):
            assert client.post("/predict", content=body, headers={"Content-Type": kind}).status_code == 415
        end = time.monotonic() + 60
        while (grown := resident_megabytes(process.pid) - before) > 20 and time.monotonic() < end:
            time.sleep(0.1)
    assert grown <= 20
