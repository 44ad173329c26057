"""Connections: what is answered, in which order, and what ends them."""

import contextlib
import io
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import BinaryIO

import httpx
import numpy as np
import pytest
from fastapi import Request

from app.errors import InvalidInput, Overloaded
from app.inference.network import Network
from app.main import create_app
from app.server.in_flight import LARGE_WRITES
from app.server.protocol import PAUSE
from app.settings import Settings
from tests.conftest import ClientFactory, assert_problem, running, until
from tests.server.test_run import serving

PNG = {"Content-Type": "image/png"}


def request(body: bytes, *headers: str, url: str = "/predict", version: str = "1.1", length: bool = True) -> bytes:
    """A POST as it goes over the wire."""
    own = [f"POST {url} HTTP/{version}", "Host: localhost", "Content-Type: image/png"]
    lines = [*own, *([f"Content-Length: {len(body)}"] if length else []), *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextmanager
def connection(client: httpx.Client) -> Iterator[tuple[socket.socket, BinaryIO]]:
    """A connection of one's own to the service behind `client`, for sending and for reading."""
    address = (client.base_url.host, client.base_url.port or 80)
    with socket.create_connection(address, 60) as caller, caller.makefile("rb") as stream:
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


@pytest.mark.parametrize("size", [32, 48])
def test_arrays_of_the_right_size_and_larger_ones_are_counted_once(client: httpx.Client, size: int) -> None:
    file = io.BytesIO()
    np.save(file, np.random.default_rng(0).integers(0, 256, (64, size, size, 3), dtype=np.uint8))
    headers = {"Content-Type": "application/x-npy"}
    before = counted(client, 200)
    plainly = client.post("/predict", content=file.getvalue(), headers=headers)
    assert counted(client, 200) == before + 1
    routed = client.post("/predict", content=iter([file.getvalue()]), headers=headers)  # in chunks
    assert plainly.status_code == routed.status_code == 200
    assert len(plainly.json()["predictions"]) == 64
    labels = [[found["label"] for found in answer.json()["predictions"]] for answer in (plainly, routed)]
    assert labels[0] == labels[1]
    assert in_hand(client, 0)


def test_requests_sent_at_once_are_answered_in_order(client: httpx.Client, frog: bytes) -> None:
    sent = (request(frog), request(frog, url="/predict?top_k=1"), b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with connection(client) as (caller, stream):
        caller.sendall(b"".join((*sent, request(b"no picture"), request(frog))))
        answers = [answer(stream) for _ in range(5)]
        assert [status for status, _, _ in answers] == [200, 200, 200, 415, 200]
        assert answers[0][2].count(b"label") == 4
        assert answers[1][2].count(b"label") == 2
        assert b"label" not in answers[2][2]
        caller.sendall(request(frog))  # free again
        assert answer(stream)[0] == 200


def test_a_body_may_come_in_pieces(client: httpx.Client, frog: bytes) -> None:
    whole = request(frog)
    with connection(client) as (caller, stream):
        for start in range(0, len(whole), 500):
            caller.sendall(whole[start : start + 500])
            time.sleep(0.01)
        assert answer(stream)[0] == 200


@pytest.mark.parametrize(
    ("body", "status", "type"),
    [
        (b"", 400, "malformed-request"),
        (b"no picture", 415, "unsupported-picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 422, "invalid-input"),
    ],
)
def test_what_is_wrong_with_a_picture_is_told_and_counted_once(
    client: httpx.Client, frog: bytes, body: bytes, status: int, type: str
) -> None:
    before = counted(client, status)
    assert_problem(client.post("/predict", content=body, headers=PNG), status, type, "body")
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
def test_an_offer_of_another_protocol_is_passed_over(client: httpx.Client, frog: bytes, offer: tuple[str, ...]) -> None:
    with connection(client) as (caller, stream):
        for url in ("/predict", "/explain"):
            caller.sendall(request(frog, *offer, url=url) + request(frog))
            assert [answer(stream)[0] for _ in range(2)] == [200, 200]
        whole = request(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", *offer)
        for piece in (whole[:60], whole[60:-20], whole[-20:]):
            caller.sendall(piece)
            time.sleep(0.05)
        assert answer(stream)[0] == 415  # of the body, which is no picture and no request
        caller.sendall(request(frog))
        assert answer(stream)[0] == 200


def test_any_number_of_offers_at_once_is_passed_over(client: httpx.Client) -> None:
    offer = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    with connection(client) as (caller, stream):
        caller.sendall(offer * 3000)
        assert {answer(stream)[0] for _ in range(3000)} == {200}


@pytest.mark.parametrize(
    "sent", [b"hello\r\n\r\n", b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n"]
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
        (b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-", "head"),
        (request(bytes(100))[:-50], "body"),
        (request(bytes(100), url="/convolve")[:-50], "body"),
        (request(bytes(100_000))[:-50], "body"),
    ],
)
def test_a_request_that_does_not_go_on_is_given_up(make_client: ClientFactory, sent: bytes, missing: str) -> None:
    client = make_client(read_timeout=1)
    with connection(client) as (caller, stream):
        for _ in range(3):
            caller.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer(stream)[0] == 200
        started = time.monotonic()
        caller.sendall(sent)
        status, headers, body = answer(stream)
        assert stream.read() == b""
    assert 0.9 < time.monotonic() - started < 30
    assert headers["connection"] == "close"
    response = httpx.Response(status, headers=headers, content=body)
    detail = assert_problem(response, 408, "request-timeout", "request")["detail"]
    assert detail.startswith(f"the request's {missing} was not complete after 1 s")
    assert in_hand(client, 0)


@pytest.mark.parametrize("part", ["head", "body"])
def test_bytes_that_trickle_do_not_restart_the_clock(make_client: ClientFactory, part: str) -> None:
    client = make_client(read_timeout=1)
    whole = request(bytes(10_000), f"X: {'x' * 600}")
    end = whole.index(b"\r\n\r\n") + 4
    with connection(client) as (caller, stream):
        caller.sendall(whole[: 20 if part == "head" else end])
        started = time.monotonic()
        trickle = threading.Thread(target=send_slowly, args=(caller, whole[20:] if part == "head" else whole[end:]))
        trickle.start()
        assert answer(stream)[0] == 408
        assert time.monotonic() - started < 30  # the bytes take longer
        trickle.join()


def send_slowly(caller: socket.socket, content: bytes) -> None:
    """A byte every tenth of a second, until the connection is closed or a minute is over."""
    with contextlib.suppress(OSError):
        for byte in content[:600]:
            caller.sendall(bytes([byte]))
            time.sleep(0.1)


def test_a_body_that_comes_slowly_but_steadily_is_answered(make_client: ClientFactory, frog: bytes) -> None:
    client = make_client(read_timeout=1)
    whole = request(frog)
    with connection(client) as (caller, stream):
        for start in range(0, len(whole), 250):
            caller.sendall(whole[start : start + 250])
            time.sleep(0.15)
        assert answer(stream)[0] == 200


def test_a_long_head_is_rejected_however_it_is_cut(client: httpx.Client) -> None:
    heads = [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"]
    heads.append(b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    heads.append(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(9000)) + b"\r\n")
    for head in heads:
        for size in (len(head), 40_000, 1000):
            with connection(client) as (caller, stream):
                with contextlib.suppress(OSError):  # the answer may come, and the connection end, before all is sent
                    for start in range(0, len(head), size):
                        caller.sendall(head[start : start + size])
                assert answer(stream)[0] == 431


@pytest.mark.parametrize(
    ("head", "field"),
    [
        ("GET /healthz HTTP/1.1", "Host"),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b", "Host"),
        ("GET /healthz HTTP/1.1\r\nHost: a b", "Host"),
        ("POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked", "Transfer-Encoding"),
        ("CONNECT localhost:443 HTTP/1.1\r\nHost: localhost", "request"),
    ],
)
def test_a_head_that_the_parser_lets_pass_is_rejected(client: httpx.Client, head: str, field: str) -> None:
    with connection(client) as (caller, stream):
        caller.sendall(head.encode() + b"\r\n\r\n")
        status, headers, body = answer(stream)
        assert stream.read() == b""
    found = assert_problem(httpx.Response(status, headers=headers, content=body), 400, "malformed-request", field)
    assert "callback" not in found["detail"]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://localhost", 200),
        ("http://localhost?x=1", 200),
        ("http://localhost/healthz", 200),
        ("HTTPS://localhost:8000/healthz", 200),
        ("http://[::1]:8000/healthz", 200),
        ("/" + "x" * 9000, 404),
        ("//evil.example/healthz", 404),
    ],
)
def test_targets_of_every_form_are_answered(client: httpx.Client, target: str, status: int) -> None:
    with connection(client) as (caller, stream):
        caller.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert answer(stream)[0] == status
        caller.sendall(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer(stream)[0] == 404


@pytest.mark.parametrize(
    ("target", "status", "field"),
    [
        ("http://evil.example/healthz", 403, "Host"),
        ("http://evil.example?x=1", 403, "Host"),
        ("http://localhost@evil.example/healthz", 400, "request"),
        ("ftp://localhost/healthz", 400, "request"),
    ],
)
def test_the_host_of_an_absolute_target_counts_and_not_the_header(
    client: httpx.Client, target: str, status: int, field: str
) -> None:
    with connection(client) as (caller, stream):
        caller.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        found, headers, body = answer(stream)
    kind = {400: "malformed-request", 403: "forbidden"}[status]
    assert_problem(httpx.Response(found, headers=headers, content=body), status, kind, field)


def test_http_1_0_needs_no_host(client: httpx.Client) -> None:
    with connection(client) as (caller, stream):
        caller.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert answer(stream)[0] == 200


@pytest.mark.parametrize("path", ["/predict", "/feature-maps"])
def test_a_client_that_closes_its_half_gets_its_answers(client: httpx.Client, frog: bytes, path: str) -> None:
    with connection(client) as (caller, stream):
        caller.sendall(request(frog, url=path) + request(frog))
        caller.shutdown(socket.SHUT_WR)
        statuses = [answer(stream)[0]]
        while statuses[-1] == 100 or len([status for status in statuses if status != 100]) < 2:
            statuses.append(answer(stream)[0])
        assert [status for status in statuses if status != 100] == [200, 200]
        assert stream.read() == b""


def test_work_of_a_client_that_disconnects_stops(make_client: ClientFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client()
    begun, ended = threading.Event(), threading.Event()

    def endless(content: bytes, checkpoint: Callable[[], None]) -> None:
        begun.set()
        try:
            while True:
                checkpoint()
                time.sleep(0.01)
        finally:
            ended.set()

    async def endlessly(request: Request) -> None:
        service = request.app.state.service
        await service.compute(request, service.deadline(), lambda checkpoint: endless(b"", checkpoint))

    monkeypatch.setattr("app.routes.predict._answer", lambda request, send: endlessly(request))
    with connection(client) as (caller, _):
        caller.sendall(request(b""))
        assert begun.wait(60)
    assert ended.wait(60)


def test_an_early_error_to_expect_closes_the_connection(client: httpx.Client) -> None:
    with connection(client) as (caller, stream):
        caller.sendall(request(b"", "Expect: 100-continue", "Content-Length: 900000000", length=False))
        status, headers, _ = answer(stream)
        assert (status, headers["connection"]) == (413, "close")
        assert stream.read() == b""


def test_the_answer_to_a_whole_request_goes_before_the_rejection_of_what_follows(
    client: httpx.Client, frog: bytes
) -> None:
    with connection(client) as (caller, stream):
        caller.sendall(request(frog, "X-Request-ID: first", url="/feature-maps") + b"junk\r\n\r\n")
        status, headers, _ = answer(stream)
        assert (status, headers["x-request-id"]) == (200, "first")
        assert answer(stream)[0] == 400
        assert stream.read() == b""


def test_a_client_that_does_not_read_its_answer_is_cut_off(make_client: ClientFactory) -> None:
    client = make_client(write_timeout=1)
    file = io.BytesIO()
    np.save(file, np.zeros((1500, 1500)))
    body = file.getvalue()
    with connection(client) as (caller, _):
        head = "POST /pool?options=%7B%22size%22:1%7D HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-npy\r\n"
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.sendall(f"{head}Content-Type: application/x-npy\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: LARGE_WRITES)
        until(lambda: not LARGE_WRITES)


def test_bodies_in_flight_have_a_budget(make_client: ClientFactory) -> None:
    client = make_client(max_body=1_000_000, max_bodies=1_500_000)
    with connection(client) as (first, _), connection(client) as (second, _):
        for caller in (first, second):
            caller.sendall(request(b"", "Content-Length: 1000000", length=False, url="/pool") + bytes(900_000))
        readable, _, _ = select.select([first, second], [], [], 60)  # whichever the service read last
        assert readable[0].recv(12) == b"HTTP/1.1 503"
    assert in_hand(client, 0)
    assert client.post("/pool", content=bytes(1_000_000)).status_code == 415


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
        assert begun.wait(60)
        caller.sendall(request(frog)[:-10])
        assert answer(stream)[0] == 422


def send_headers(caller: socket.socket) -> None:
    """A little more than 64 kB of headers, and the first letter of another: only then is the last one complete."""
    for number in range(66):
        time.sleep(0.001)
        caller.sendall(b"X-%d: %b\r\n%b" % (number, b"x" * 1000, b"X" if number == 65 else b""))


def test_a_head_without_end_is_refused_and_a_long_body_is_none(client: httpx.Client, frog: bytes) -> None:
    with connection(client) as (caller, stream):
        caller.sendall(request(bytes(2_000_000), url="/pool") + request(frog)[:100])
        time.sleep(0.1)
        caller.sendall(request(frog)[100:])
        assert [answer(stream)[0] for _ in range(2)] == [415, 200]
        caller.sendall(b"GET /healthz HTTP/1.1\r\n")
        send_headers(caller)
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
        send_headers(caller)
        status, headers, body = answer(stream)
        response = httpx.Response(status, headers=headers, content=body)
        detail = assert_problem(response, 431, "head-too-large", "request")["detail"]
        assert detail.startswith("its trailer has 6")
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


def test_a_failure_of_the_network_is_told(client: httpx.Client, frog: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
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

    with running(create_app(Settings())) as other:
        monkeypatch.setattr(Network, "reject_without_room", full)
        assert other.get("/healthz").status_code == 200
        for _ in range(20):  # a busy machine may delay anybody
            with httpx.Client(base_url=other.base_url, timeout=60) as refused:
                started = time.monotonic()
                assert_problem(refused.post("/predict", content=frog, headers=PNG), 503, "overloaded")
                asked = time.monotonic()
                assert other.get("/healthz").status_code == 200
                others = time.monotonic() - asked
                assert refused.get("/healthz").status_code == 200
                assert time.monotonic() - started > PAUSE
                assert_problem(refused.post("/predict", content=frog, headers=PNG), 503, "overloaded")
            # closed during the breather
            if others < PAUSE:
                break
        else:
            pytest.fail("others wait as well")
        time.sleep(2 * PAUSE)
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
