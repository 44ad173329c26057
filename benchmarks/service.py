"""A service of its own for a benchmark, and what it costs."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent


@contextmanager
def serving(**environment: str) -> Iterator[tuple[float, int, httpx.Client]]:
    """Seconds from process start to the first 200 of /readyz, the process's id, and a client."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "app", "serve", "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    assert process.stdout
    try:
        found = re.search(r"http://\S+:\d+", process.stdout.readline())
        assert found
        with httpx.Client(base_url=found[0], timeout=30) as client:
            client.get("/readyz").raise_for_status()
            yield time.perf_counter() - started, process.pid, client
    finally:
        process.terminate()
        process.wait()


def resident_megabytes(pid: int) -> float:
    """The process's resident memory in 10^6 bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024 / 1e6
