"""What most tests need: real pictures, the whole service on a real socket, and one way to check a refusal."""

import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
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
        server = uvicorn.Server(uvicorn.Config(app, http=Protocol, proxy_headers=False, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def make_client() -> Iterator[ClientFactory]:
    """Starts a service with the shipped networks and the given settings; stopped when the tests end."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Client:
            return stack.enter_context(running(create_app(Settings(**settings))))

        yield make


@pytest.fixture(scope="session")
def client(make_client: ClientFactory) -> Client:
    """A service with the settings it ships with."""
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


def until(holds: Callable[[], object], seconds: float = 20) -> None:
    """Wait until `holds` does, and fail where that takes longer than `seconds`."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


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
