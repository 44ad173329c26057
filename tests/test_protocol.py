"""Refusals below the application: as told as any other, without reading the body, and with a breather."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import uvicorn

from app.protocol import BREATHER, Protocol
from tests.conftest import assert_problem
from tests.test_server import serving


class Full:
    """An application that has no room for /full and answers everything else with 204."""

    def refuse(self, scope: Any) -> bytes | None:
        return b"HTTP/1.1 503 X\r\ncontent-length: 4\r\n\r\nfull" if scope["path"] == "/full" else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@pytest.fixture
def url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(Full(), http=Protocol, lifespan="off", proxy_headers=False, log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def test_who_was_refused_is_heard_again_after_a_breather_and_others_at_once(url: str) -> None:
    with httpx.Client(base_url=url) as refused, httpx.Client(base_url=url) as other:
        assert other.get("/").status_code == 204
        assert refused.post("/full", content=bytes(100_000)).text == "full"
        started = time.monotonic()
        assert other.get("/").status_code == 204
        assert time.monotonic() - started < BREATHER
        assert refused.get("/").status_code == 204
        assert time.monotonic() - started > BREATHER / 2


def test_who_leaves_during_the_breather_is_no_error(url: str) -> None:
    with httpx.Client(base_url=url) as refused:
        assert refused.get("/full", headers={"Connection": "close"}).status_code == 503
    with httpx.Client(base_url=url) as refused:
        assert refused.get("/full").status_code == 503
    time.sleep(2 * BREATHER)
    assert httpx.get(url).status_code == 204


def test_a_full_queue_is_told_and_counted_as_ever(frog: bytes) -> None:
    limits = {"CONVOSCOPE_MAX_QUEUE": "1", "CONVOSCOPE_MAX_PICTURES": "1", "CONVOSCOPE_DEFAULT_MODEL": "fast"}
    headers = {"Content-Type": "image/png", "X-Request-ID": "mine"}
    with (
        serving(**limits) as (_, address),
        httpx.Client(base_url=address, headers=headers, timeout=30) as client,
        ThreadPoolExecutor(16) as pool,
    ):
        answers = list(pool.map(lambda _: client.post("/predict", content=frog), range(400)))
        text = client.get("/metrics").text
        assert client.post("/predict?model=nope", content=frog).status_code == 404
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 0 < len(refused) < 400
    for answer in refused:
        assert_problem(answer, 503, "overloaded")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-request-id"] == "mine"
        assert answer.headers["server-timing"].startswith("total;dur=")
    assert f'route="/predict",status="503"}} {len(refused)}.0' in text
