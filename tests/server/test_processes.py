"""Several processes behind one address."""

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests import artifacts
from tests.conftest import until
from tests.server.test_run import refused, serving

NPY = {"Content-Type": "application/x-npy"}


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def count(url: str) -> float:
    found = re.search(r'requests_total.*route="/predict",status="200"} (\S+)', httpx.get(f"{url}/metrics").text)
    return float(found[1]) if found else 0


def test_workers_share_an_address_are_counted_together_and_replaced(frog: bytes) -> None:
    headers = {"Content-Type": "image/png"}
    with serving("--workers", "2") as (process, url):
        for _ in range(20):  # each on a connection of its own, whichever worker takes it
            assert httpx.post(f"{url}/predict", content=frog, headers=headers, timeout=20).status_code == 200
        assert [count(url) for _ in range(6)] == [20] * 6
        first, second = workers_of(process.pid)
        os.kill(first, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while len(workers_of(process.pid)) < 2 or first in workers_of(process.pid):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert second in workers_of(process.pid)
        assert httpx.post(f"{url}/predict", content=frog, headers=headers, timeout=20).status_code == 200
        assert count(url) == 21
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@contextmanager
def stopped(worker: int) -> Iterator[None]:
    """Without this worker, so that the other takes every new connection."""
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


def test_each_worker_serves_a_new_artifact_without_a_restart(tmp_path: Path) -> None:
    labels = ("first", "second")
    artifacts.write(tmp_path / "mine", labels, says=0)

    def says() -> str:
        answer = httpx.post(f"{url}/predict", content=artifacts.npy(artifacts.picture(16)), headers=NPY, timeout=60)
        return str(answer.json()["predictions"][0]["label"])

    with serving("--workers", "2", "--models", str(tmp_path)) as (process, url):
        assert says() == "first"
        until(lambda: len(workers_of(process.pid)) == 2)
        workers = workers_of(process.pid)
        for index, label in ((1, "second"), (0, "first")):
            (tmp_path / "mine").rename(tmp_path / ".old")
            artifacts.write(tmp_path / "mine", labels, says=index, version=f"{label}-again")
            shutil.rmtree(tmp_path / ".old")
            for worker in workers:
                with stopped(worker):
                    until(lambda label=label: says() == label, 60)


def test_workers_end_with_their_supervisor(frog: bytes) -> None:
    with serving("--workers", "2") as (process, url):
        assert httpx.get(f"{url}/readyz", timeout=20).status_code == 200
        workers = workers_of(process.pid)
        process.kill()
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("workers", ["0", "many", "1000"])
def test_an_impossible_number_of_workers_is_refused(workers: str) -> None:
    assert "workers: Input should be" in refused("serve", "--workers", workers)


def test_what_keeps_a_worker_from_starting_is_said_once(tmp_path: Path) -> None:
    assert "no such folder" in refused("serve", "--workers", "2", "--models", str(tmp_path / "nope"))
