"""Several processes behind one address."""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx

from tests import artifacts
from tests.conftest import until
from tests.server.test_run import SMALL, refused, serving

NPY = {"Content-Type": "application/x-npy"}


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "spawn_main" in command(child)]


def command(pid: str) -> str:
    """The command line of a process, empty where it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def count(url: str) -> float:
    metrics = httpx.get(f"{url}/metrics", timeout=60).text
    found = re.search(r'requests_total.*route="/predict",status="200"} (\S+)', metrics)
    return float(found[1]) if found else 0


def test_workers_share_an_address_are_counted_together_and_replaced(frog: bytes) -> None:
    headers = {"Content-Type": "image/png"}
    with serving("--workers", "2", **SMALL) as (process, url):
        for _ in range(20):  # each on a connection of its own, whichever worker takes it
            assert httpx.post(f"{url}/predict", content=frog, headers=headers, timeout=60).status_code == 200
        assert [count(url) for _ in range(6)] == [20] * 6
        first, second = workers_of(process.pid)
        os.kill(first, signal.SIGKILL)
        until(lambda: len(workers_of(process.pid)) == 2 and first not in workers_of(process.pid))
        assert second in workers_of(process.pid)
        assert httpx.post(f"{url}/predict", content=frog, headers=headers, timeout=60).status_code == 200
        assert count(url) == 21
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


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

    def says(label: str) -> bool:
        answer = httpx.post(f"{url}/predict", content=artifacts.npy(artifacts.picture(16)), headers=NPY, timeout=60)
        return bool(answer.json()["predictions"][0]["label"] == label)

    with serving("--workers", "2", "--models", str(tmp_path)) as (process, url):
        assert says("first")
        until(lambda: len(workers_of(process.pid)) == 2)
        workers = workers_of(process.pid)
        for index, label in ((1, "second"), (0, "first")):
            (tmp_path / "mine").rename(tmp_path / ".old")
            artifacts.write(tmp_path / "mine", labels, says=index, version=f"{label}-again")
            shutil.rmtree(tmp_path / ".old")
            for worker in workers:
                with stopped(worker):
                    until(partial(says, label))


def test_workers_end_with_their_supervisor(frog: bytes) -> None:
    with serving("--workers", "2", **SMALL) as (process, url):
        assert httpx.get(f"{url}/readyz", timeout=60).status_code == 200
        workers = workers_of(process.pid)
        process.kill()
        until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def test_what_keeps_a_worker_from_starting_is_said_once(tmp_path: Path) -> None:
    assert "no such folder" in refused("serve", "--workers", "2", "--models", str(tmp_path / "nope"))
