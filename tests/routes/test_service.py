"""Who gets to work, and when: room for what takes long, beside what does not."""

import io
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import orjson
import pytest
from PIL import Image

from app.errors import InvalidInput
from tests.conftest import ClientFactory, assert_health_answers, assert_problem


def test_too_many_convolutions_are_refused_at_once(make_client: ClientFactory) -> None:
    client = make_client(max_jobs=1)
    x = np.random.default_rng(0).normal(size=(600, 600))
    body = orjson.dumps({"input": x, "mask": np.ones((3, 3))}, option=orjson.OPT_SERIALIZE_NUMPY)
    answers: list[httpx.Response] = []

    def ask() -> None:
        with httpx.Client(base_url=client.base_url, timeout=30) as other:
            answers.append(other.post("/convolve", content=body, headers={"Content-Type": "application/json"}))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert_problem(answer, 503, "overloaded")


@pytest.mark.parametrize("path", ["/convolve", "/pool", "/feature-maps", "/explain"])
def test_who_finds_no_room_is_told_before_sending_a_body(
    make_client: ClientFactory, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    client = make_client(max_jobs=1)
    begun, over = threading.Event(), threading.Event()

    def slowly(*arguments: object) -> None:
        begun.set()
        over.wait(60)
        raise InvalidInput("at last")

    monkeypatch.setattr("app.wire.operand.read", slowly)
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(client.post, "/convolve", content=b"{}")
        assert begun.wait(60)
        address = (client.base_url.host, client.base_url.port or 80)
        with socket.create_connection(address, 60) as caller, caller.makefile("rb") as stream:
            caller.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n\r\n".encode())
            assert b" 503 " in stream.readline()
        over.set()
        assert working.result().status_code == 422


def test_the_service_answers_while_it_convolves(client: httpx.Client) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (2000, 3000, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    options = orjson.dumps({"mask": np.ones((15, 15))}, option=orjson.OPT_SERIALIZE_NUMPY)

    def convolve() -> None:
        headers = {"Accept": "application/x-npy"}
        files, data = {"image": file.getvalue()}, {"options": options.decode()}
        with httpx.Client(base_url=client.base_url, timeout=60) as other:
            assert other.post("/convolve", files=files, data=data, headers=headers).status_code == 200

    assert_health_answers(client, convolve, 0.5)  # far above what is measured (benchmarks/convolve.py)
