"""Connections that use up the process's file descriptors."""

import socket
from urllib.parse import urlsplit

import httpx
import pytest

from app.server import descriptors, protocol
from app.server.descriptors import Descriptors
from tests.conftest import until


def test_the_last_descriptors_are_for_no_connection_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    of_80 = Descriptors(80)
    assert [of_80.reject(number) for number in (59, 60, 79, 12)] == [False, True, True, False]
    assert [record.getMessage()[:38] for record in caplog.records] == ["60 of 80 file descriptors are in use: "]
    assert not Descriptors(1000).reject(967)
    assert Descriptors(1000).reject(968)


def test_it_is_said_again_when_it_happens_again_later(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptors, "QUIET", 0.0)
    few = Descriptors(80)
    assert few.reject(79)
    assert few.reject(79)
    assert len(caplog.records) == 2


def test_connections_beyond_the_limit_get_503_and_others_go_on(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = urlsplit(str(client.base_url))
    assert client.get("/healthz").status_code == 200  # and its connection stays
    monkeypatch.setattr(protocol, "DESCRIPTORS", Descriptors(0))
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 503 ")
    assert client.get("/healthz").status_code == 200
    monkeypatch.setattr(protocol, "DESCRIPTORS", Descriptors())
    until(lambda: httpx.get(f"{client.base_url}/healthz", trust_env=False, timeout=60).status_code == 200)
