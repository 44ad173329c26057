"""Head and body of an answer leave together."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from app.server.cycle import Cycle

DATE = (b"date", b"Sat, 28 Nov 2026 16:00:00 GMT")
BEGINNING = b"HTTP/1.1 200 OK\r\ndate: Sat, 28 Nov 2026 16:00:00 GMT\r\n"


class Recorder(asyncio.Transport):
    """Keeps what is written, one item per call."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.written.append(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


class Answered:
    """What became of an answer that is sent in these messages."""

    def __init__(self, *messages: dict[str, Any], method: str = "GET", keep_alive: bool = True) -> None:
        self.recorder, self.completed = Recorder(), 0
        asyncio.run(self._send(messages, method, keep_alive))

    async def _send(self, messages: Iterable[dict[str, Any]], method: str, keep_alive: bool) -> None:
        self.cycle = Cycle(
            {"type": "http", "method": method},  # type: ignore[typeddict-item]
            self.recorder,
            FlowControl(self.recorder),
            logging.getLogger(),
            logging.getLogger(),
            access_log=False,
            default_headers=[DATE],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep_alive,
            on_response=self._complete,
        )
        for message in messages:
            await self.cycle.send(message)

    def _complete(self) -> None:
        self.completed += 1


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(content: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


LENGTH = (b"content-length", b"3")


def test_a_head_waits_for_its_body() -> None:
    begun = Answered(start(LENGTH))
    assert (begun.recorder.written, begun.cycle.response_started) == ([], True)
    whole = Answered(start(LENGTH), body(b"one"))
    assert whole.recorder.written == [BEGINNING + b"content-length: 3\r\n\r\none"]
    assert (whole.completed, whole.cycle.response_complete, whole.recorder.closed) == (1, True, False)


def test_a_body_in_pieces_follows_its_head() -> None:
    found = Answered(start(LENGTH), body(b"o", more=True), body(b"ne"))
    assert b"".join(found.recorder.written) == BEGINNING + b"content-length: 3\r\n\r\none"
    assert found.completed == 1


def test_a_body_of_unknown_length_comes_in_chunks() -> None:
    found = Answered(start(), body(b"one", more=True), body(b""))
    expected = BEGINNING + b"transfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n"
    assert (b"".join(found.recorder.written), found.completed) == (expected, 1)


@pytest.mark.parametrize(("method", "status", "headers"), [("HEAD", 200, [LENGTH]), ("GET", 204, [])])
def test_an_answer_without_a_body_is_its_head(method: str, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    found = Answered(start(*headers, status=status), body(b""), method=method)
    written = b"".join(found.recorder.written)
    assert written.endswith(b"\r\n\r\n")
    assert b"chunked" not in written
    assert (b"content-length: 3" in written, found.completed) == (bool(headers), 1)


@pytest.mark.parametrize("headers", [[(b"connection", b"Close")], []])
def test_the_last_answer_says_so_once_and_closes(headers: list[tuple[bytes, bytes]]) -> None:
    found = Answered(start(LENGTH, *headers), body(b"one"), keep_alive=bool(headers))
    assert found.recorder.written[0].count(b"connection: close\r\n") == 1
    assert found.recorder.closed


def test_a_body_of_another_length_than_declared_is_a_mistake() -> None:
    with pytest.raises(RuntimeError, match="shorter"):
        Answered(start(LENGTH), body(b"on"))
    with pytest.raises(RuntimeError, match="longer"):
        Answered(start(LENGTH), body(b"four"))


def test_nothing_follows_a_whole_answer() -> None:
    with pytest.raises(RuntimeError, match="already completed"):
        Answered(start(LENGTH), body(b"one"), body(b"two"))


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\0", b"\x7f"])
def test_a_header_cannot_bring_another_one(value: bytes) -> None:
    with pytest.raises(RuntimeError, match="control character"):
        Answered(start((b"x-request-id", value)))
    assert Answered(start((b"x-request-id", b"a\tb")), body(b"")).completed == 1
