"""What most tests need: real pictures, the whole service on a real socket, and one way to check a refusal."""

import gc
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from httpx import Client, Response
from numpy.typing import NDArray

from app.main import create_app
from app.server.protocol import Protocol
from app.settings import Settings

PICTURES = Path(__file__).parent / "pictures"
MODELS = Path(__file__).parent.parent / "models"

PATIENT: dict[str, Any] = {"deadline": 60, "read_timeout": 60}

ClientFactory = Callable[..., Client]


@pytest.fixture(scope="session")
def cifar10() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The first twenty test pictures of each label: images (200, 32, 32, 3) and labels (200,)."""
    with np.load(PICTURES / "cifar10.npz") as file:
        return file["images"], file["labels"]


@pytest.fixture
def frog() -> bytes:
    """A PNG of 32x32 pixels that shows a frog."""
    return (PICTURES / "frog.png").read_bytes()


@contextmanager
def running(app: FastAPI) -> Iterator[Client]:
    """Serve `app` with uvicorn in a thread of this process and give a client of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, http=Protocol, proxy_headers=False, log_level="warning", timeout_keep_alive=75)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def make_client() -> Iterator[ClientFactory]:
    """Starts a service with the shipped networks and the given settings; stopped when the tests end.

    Where a test says nothing else it is patient, for a busy machine may ask and answer late.
    """
    with ExitStack() as stack:

        def make(**settings: Any) -> Client:
            return stack.enter_context(running(create_app(Settings(**{**PATIENT, **settings}))))

        yield make


@pytest.fixture(scope="session")
def client(make_client: ClientFactory) -> Client:
    """A service with the settings it ships with, but more patient."""
    return make_client()


@pytest.fixture(scope="module")
def frozen() -> Iterator[None]:
    """Until the module ends, gc.collect() skips what is alive now: milliseconds instead of a third of a second."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def garbage(frozen: None) -> Iterator[list[object]]:
    """What only the cycle collector could free since the test began, once the test calls gc.collect()."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()
    gc.collect()


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait until `holds` does, and fail where that takes longer than `seconds`."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


@contextmanager
def processor_seconds(most: float) -> Iterator[None]:
    """The block takes this thread fewer than `most` seconds of a processor, which a busy machine does not change."""
    gc.disable()  # a collection costs what other tests have left
    began = time.thread_time()
    try:
        yield
        spent = time.thread_time() - began
    finally:
        gc.enable()
    assert spent < most


def slowest_health(client: Client, work: Callable[[], object]) -> float:
    """The longest that /healthz takes, in seconds, while `work` runs in a thread; raises what `work` raises."""
    slowest = 0.0
    with Client(base_url=client.base_url, timeout=60) as other, ThreadPoolExecutor(1) as pool:
        other.get("/healthz")
        working = pool.submit(work)
        while not working.done():
            began = time.perf_counter()
            assert other.get("/healthz").status_code == 200
            slowest = max(slowest, time.perf_counter() - began)
            time.sleep(0.002)
    working.result()
    return slowest


def slowdown() -> float:
    """How many times longer than on an idle machine work takes now: wall time by processor time."""
    began, processor, block = time.perf_counter(), time.thread_time(), bytes(2**20)
    while (spent := time.thread_time() - processor) < 0.1:
        hashlib.sha256(block)
    return (time.perf_counter() - began) / spent


def assert_health_answers(client: Client, work: Callable[[], object], seconds: float) -> None:
    """While `work` runs, /healthz takes less than `seconds`, or as many times longer as the machine is busy.

    A busy machine may also stop this process at any time, so one of five runs is enough.
    """
    for _ in range(5):
        slowest = slowest_health(client, work)
        if slowest < seconds or slowest < seconds * slowdown():
            return
    pytest.fail(f"/healthz took {slowest:.3f} s")


def assert_problem(response: Response, status: int, type: str, *fields: str) -> dict[str, Any]:
    """The answer is a problem+json of this status and type that names exactly these fields; gives its body."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body.keys() == {"type", "title", "status", "detail", "request_id", "errors"}
    assert (body["type"], body["status"]) == (f"/problems/{type}", status)
    assert body["request_id"] == response.headers["x-request-id"]
    assert "total;dur=" in response.headers["server-timing"]
    assert body["title"]
    assert body["detail"]
    assert [error["field"] for error in body["errors"]] == list(fields)
    return body
