"""Plain predictions, which are answered below the application: in order, as told as any other, and with a breather."""

import io
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import BinaryIO

import httpx
import numpy as np
import pytest

from app.errors import InvalidInput, Overloaded
from app.inference.network import Network
from app.main import create_app
from app.server import plain
from app.server.protocol import BREATHER
from app.settings import Settings
from tests.conftest import ClientFactory, assert_problem, running
from tests.server.test_run import serving

PNG = {"Content-Type": "image/png"}


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The URLs of the requests that were taken for plain ones, as they come."""
    begin, urls = plain.begin, list[bytes]()

    def noting(app: object, scope: object, url: bytes) -> plain.PlainPrediction | None:
        found = begin(app, scope, url)  # type: ignore[arg-type]
        if found:
            urls.append(url)
        return found

    monkeypatch.setattr(plain, "begin", noting)
    return urls


def request(body: bytes, *headers: str, url: str = "/predict", version: str = "1.1", length: bool = True) -> bytes:
    """A POST as it goes over the wire."""
    own = [f"POST {url} HTTP/{version}", "Host: x", "Content-Type: image/png"]
    lines = [*own, *([f"Content-Length: {len(body)}"] if length else []), *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextmanager
def connection(client: httpx.Client) -> Iterator[tuple[socket.socket, BinaryIO]]:
    """A connection of one's own to the service behind `client`, for sending and for reading."""
    address = (client.base_url.host, client.base_url.port or 80)
    with socket.create_connection(address, 10) as caller, caller.makefile("rb") as stream:
        yield caller, stream


def answer(stream: BinaryIO) -> tuple[int, dict[str, str], bytes]:
    """The next answer on a connection: status, headers and body."""
    status = int(stream.readline().split()[1])
    headers = dict[str, str]()
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    return status, headers, stream.read(int(headers.get("content-length", 0)))


def in_hand(client: httpx.Client, requests: int) -> bool:
    """Whether, within some seconds, as many requests are being worked on."""
    gauge = f"convoscope_http_requests_in_flight {requests + 1}.0\n"  # with the one that asks
    return any(gauge in client.get("/metrics").text for _ in range(1000))


def counted(client: httpx.Client, status: int) -> float:
    found = re.search(rf'requests_total{{.*route="/predict",status="{status}"}} (\S+)', client.get("/metrics").text)
    return float(found[1]) if found else 0


@pytest.mark.parametrize("url", ["/predict", "/predict?top_k=5&model=tutorial", "/predict?model=fast"])
def test_plain_requests_are_taken(client: httpx.Client, frog: bytes, taken: list[bytes], url: str) -> None:
    client.post(url, content=frog, headers=PNG)  # which compiles the network
    taken.clear()
    assert client.post(url, content=frog, headers=PNG).status_code == 200
    assert taken == [url.encode()]


@pytest.mark.parametrize(
    "url",
    ["/predict?top_k=11", "/predict?model=nope", "/predict?model=", "/predict/", "/explain", "/predict?" + "&" * 300],
)
def test_others_are_left_to_the_application(client: httpx.Client, frog: bytes, taken: list[bytes], url: str) -> None:
    client.post(url, content=frog, headers=PNG)
    client.get("/predict")
    client.post("/predict", content=frog * 7, headers=PNG)  # more than is decoded in the event loop
    assert taken == []


@pytest.mark.parametrize("size", [32, 48])
def test_arrays_are_taken_and_those_to_be_reduced_are_passed_on(
    client: httpx.Client, taken: list[bytes], size: int
) -> None:
    file = io.BytesIO()
    np.save(file, np.random.default_rng(0).integers(0, 256, (64, size, size, 3), dtype=np.uint8))
    headers = {"Content-Type": "application/x-npy"}
    before = counted(client, 200)
    plainly = client.post("/predict", content=file.getvalue(), headers=headers)
    assert taken == [b"/predict"]
    assert counted(client, 200) == before + 1
    routed = client.post("/predict", content=iter([file.getvalue()]), headers=headers)  # in chunks
    assert plainly.status_code == routed.status_code == 200
    assert len(plainly.json()["predictions"]) == 64
    labels = [[found["label"] for found in answer.json()["predictions"]] for answer in (plainly, routed)]
    assert labels[0] == labels[1]
    assert in_hand(client, 0)


def test_requests_sent_at_once_are_answered_in_order(client: httpx.Client, frog: bytes, taken: list[bytes]) -> None:
    sent = (request(frog), request(frog, url="/predict?top_k=1"), b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    with connection(client) as (caller, stream):
        caller.sendall(b"".join((*sent, request(b"no picture"), request(frog))))
        answers = [answer(stream) for _ in range(5)]
        assert [status for status, _, _ in answers] == [200, 200, 200, 415, 200]
        assert answers[0][2].count(b"label") == 4
        assert answers[1][2].count(b"label") == 2
        assert b"label" not in answers[2][2]
        taken.clear()
        caller.sendall(request(frog))  # free again
        assert answer(stream)[0] == 200
    assert taken == [b"/predict"]


def test_a_body_may_come_in_pieces(client: httpx.Client, frog: bytes, taken: list[bytes]) -> None:
    whole = request(frog)
    with connection(client) as (caller, stream):
        for start in range(0, len(whole), 500):
            caller.sendall(whole[start : start + 500])
            time.sleep(0.01)
        assert answer(stream)[0] == 200
    assert taken == [b"/predict"]


@pytest.mark.parametrize(
    ("body", "status", "type"),
    [
        (b"", 400, "malformed-request"),
        (b"no picture", 415, "unsupported-picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 422, "invalid-input"),
    ],
)
def test_what_is_wrong_with_a_picture_is_told_and_counted_once(
    client: httpx.Client, taken: list[bytes], frog: bytes, body: bytes, status: int, type: str
) -> None:
    before = counted(client, status)
    assert_problem(client.post("/predict", content=body, headers=PNG), status, type, "body")
    assert taken == [b"/predict"]
    assert counted(client, status) == before + 1
    assert in_hand(client, 0)
    assert client.post("/predict", content=frog, headers=PNG).status_code == 200


@pytest.mark.parametrize(("headers", "version"), [(["Connection: close"], "1.1"), ([], "1.0")])
def test_a_connection_that_is_to_end_does(client: httpx.Client, frog: bytes, headers: list[str], version: str) -> None:
    with connection(client) as (caller, stream):
        caller.sendall(request(frog, *headers, version=version))
        status, found, _ = answer(stream)
        assert (status, found["connection"]) == (200, "close")
        assert stream.read() == b""


def test_a_body_in_chunks_and_one_to_be_asked_for(client: httpx.Client, frog: bytes) -> None:
    with connection(client) as (caller, stream):
        chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(frog), frog)
        caller.sendall(request(chunks, "Transfer-Encoding: chunked", length=False))
        assert answer(stream)[0] == 200
        whole = request(frog, "Expect: 100-continue")
        caller.sendall(whole[: -len(frog)])
        assert answer(stream)[0] == 100
        caller.sendall(frog)
        assert answer(stream)[0] == 200


@pytest.mark.parametrize(
    "offer",
    [("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"), ("Connection: upgrade", "Upgrade: websocket")],
)
def test_an_offer_of_another_protocol_is_passed_over(
    client: httpx.Client, frog: bytes, taken: list[bytes], offer: tuple[str, ...]
) -> None:
    with connection(client) as (caller, stream):
        for url in ("/predict", "/explain"):
            caller.sendall(request(frog, *offer, url=url) + request(frog))
            assert [answer(stream)[0] for _ in range(2)] == [200, 200]
        whole = request(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", *offer)
        for piece in (whole[:60], whole[60:-20], whole[-20:]):
            caller.sendall(piece)
            time.sleep(0.05)
        assert answer(stream)[0] == 415  # of the body, which is no picture and no request
        caller.sendall(request(frog))
        assert answer(stream)[0] == 200
    assert taken.count(b"/predict") >= 3


def test_any_number_of_offers_at_once_is_passed_over(client: httpx.Client) -> None:
    offer = b"GET /healthz HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    with connection(client) as (caller, stream):
        caller.sendall(offer * 3000)
        assert {answer(stream)[0] for _ in range(3000)} == {200}


@pytest.mark.parametrize(
    "sent", [b"hello\r\n\r\n", b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n"]
)
def test_what_is_no_http_is_told_as_a_problem_and_ends_the_connection(client: httpx.Client, sent: bytes) -> None:
    with connection(client) as (caller, stream):
        caller.sendall(sent)
        status, headers, body = answer(stream)
        assert stream.read() == b""
    assert headers["connection"] == "close"
    response = httpx.Response(status, headers=headers, content=body)
    detail = assert_problem(response, 400, "malformed-request", "request")["detail"]
    assert detail.startswith("the request is not HTTP/1.1 (")


@pytest.mark.parametrize(
    ("sent", "missing"),
    [
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-", "head"),
        (request(bytes(100))[:-50], "body"),
        (request(bytes(100), url="/convolve")[:-50], "body"),
        (request(bytes(100_000))[:-50], "body"),
    ],
)
def test_a_request_that_does_not_go_on_is_given_up(make_client: ClientFactory, sent: bytes, missing: str) -> None:
    client = make_client(read_timeout=1)
    with connection(client) as (caller, stream):
        for _ in range(3):
            caller.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer(stream)[0] == 200
        started = time.monotonic()
        for byte in (sent[:1], sent[1:2], sent[2:]):  # slow is not too slow
            time.sleep(0.4)
            caller.sendall(byte)
        status, headers, body = answer(stream)
        assert stream.read() == b""
    assert 2.1 < time.monotonic() - started < 10
    assert headers["connection"] == "close"
    response = httpx.Response(status, headers=headers, content=body)
    detail = assert_problem(response, 408, "request-timeout", "request")["detail"]
    assert detail == f"the request's {missing} is not whole, and nothing came for 1 s"
    assert in_hand(client, 0)


def test_a_connection_that_says_nothing_is_closed(make_client: ClientFactory) -> None:
    with connection(make_client(read_timeout=0.3)) as (_, stream):
        assert stream.read() == b""


def test_who_waits_for_an_answer_is_not_given_up(
    make_client: ClientFactory, frog: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(read_timeout=0.3)
    assert client.get("/models").status_code == 200
    begun = threading.Event()

    def slowly(*arguments: object) -> None:
        begun.set()
        time.sleep(1)
        raise InvalidInput("at last")

    monkeypatch.setattr("app.wire.operand.read", slowly)
    with connection(client) as (caller, stream):
        caller.sendall(request(frog, url="/pool"))
        assert begun.wait(10)
        caller.sendall(request(frog)[:-10])
        assert answer(stream)[0] == 422


def test_a_head_without_end_is_refused_and_a_long_body_is_none(client: httpx.Client, frog: bytes) -> None:
    with connection(client) as (caller, stream):
        caller.sendall(request(bytes(2_000_000), url="/pool") + request(frog)[:100])
        time.sleep(0.1)
        caller.sendall(request(frog)[100:])
        assert [answer(stream)[0] for _ in range(2)] == [415, 200]
        caller.sendall(b"GET /healthz HTTP/1.1\r\n")
        for number in range(66):
            caller.sendall(b"X-%d: %b\r\n" % (number, b"x" * 1000))
            time.sleep(0.001)
        status, headers, body = answer(stream)
        response = httpx.Response(status, headers=headers, content=body)
        assert_problem(response, 431, "head-too-large", "request")


def test_a_trailer_is_no_header_and_must_end(client: httpx.Client, frog: bytes) -> None:
    head = request(b"", "Transfer-Encoding: chunked", url="/predict", length=False)
    chunks = b"%x\r\n%b\r\n0\r\n" % (len(frog), frog)
    with connection(client) as (caller, stream):
        caller.sendall(head + chunks + b"Content-Encoding: gzip\r\nX-Request-ID: trailer\r\n\r\n")
        status, headers, _ = answer(stream)
        assert (status, headers["x-request-id"] != "trailer") == (200, True)
        caller.sendall(head + chunks)
        time.sleep(0.2)
        for number in range(66):
            caller.sendall(b"X-%d: %b\r\n" % (number, b"x" * 1000))
            time.sleep(0.001)
        status, headers, body = answer(stream)
        response = httpx.Response(status, headers=headers, content=body)
        detail = assert_problem(response, 431, "head-too-large", "request")["detail"]
        assert detail.startswith("the request's trailer has 6")
    assert in_hand(client, 0)


def test_what_follows_an_answer_without_end_is_no_request(client: httpx.Client) -> None:
    """The caller has its answer, and sends on; it is not told a second time."""
    with connection(client) as (caller, stream):
        caller.sendall(request(b"", "Transfer-Encoding: chunked", url="/nowhere", length=False))
        assert answer(stream)[0] == 404
        caller.sendall(b"no chunk\r\n")
        assert stream.read() == b""


def test_who_leaves_before_the_body_is_whole_is_counted(client: httpx.Client, frog: bytes) -> None:
    before = counted(client, 499)
    with connection(client) as (caller, _):
        caller.sendall(request(frog)[:-100])
        assert in_hand(client, 1)
    assert in_hand(client, 0)
    assert counted(client, 499) == before + 1


def test_a_failure_of_the_network_is_told(
    client: httpx.Client, frog: bytes, taken: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.inference.network.scores", lambda logits, metadata: 1 / 0)
    assert_problem(client.post("/predict", content=frog, headers=PNG), 500, "internal-error")
    monkeypatch.undo()
    assert client.post("/predict", content=frog, headers=PNG).status_code == 200
    assert in_hand(client, 0)


def test_who_was_refused_is_heard_again_after_a_breather_and_others_at_once(
    frog: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(network: Network) -> None:
        raise Overloaded("no room")

    with running(create_app(Settings())) as other, httpx.Client(base_url=other.base_url) as refused:
        monkeypatch.setattr(Network, "reject_without_room", full)
        assert other.get("/healthz").status_code == 200
        assert_problem(refused.post("/predict", content=frog, headers=PNG), 503, "overloaded")
        started = time.monotonic()
        assert other.get("/healthz").status_code == 200
        assert time.monotonic() - started < BREATHER
        assert refused.get("/healthz").status_code == 200
        assert time.monotonic() - started > BREATHER / 2
        assert_problem(refused.post("/predict", content=frog, headers=PNG), 503, "overloaded")
        refused.close()  # during the breather
        time.sleep(2 * BREATHER)
        assert other.get("/healthz").status_code == 200


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
    for refusal in refused:
        assert_problem(refusal, 503, "overloaded")
        assert refusal.headers["retry-after"] == "1"
        assert refusal.headers["x-request-id"] == "mine"
        assert refusal.headers["server-timing"].startswith("total;dur=")
    assert f'route="/predict",status="503"}} {len(refused)}.0' in text
