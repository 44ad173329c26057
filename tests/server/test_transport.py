"""Head and body of an answer leave together."""

import asyncio
from collections.abc import Iterable
from typing import Any

from app.server.transport import AnswerTransport

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


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


def test_a_head_waits_for_the_first_part_of_its_body() -> None:
    recorder = Recorder()
    answer = AnswerTransport(recorder)
    answer.write(HEAD)
    assert recorder.written == []
    answer.write(b"one")
    answer.write(b"two")
    assert recorder.written == [HEAD + b"one", b"two"]


def test_the_next_answer_on_the_connection_is_joined_too() -> None:
    recorder = Recorder()
    answer = AnswerTransport(recorder)
    for body in (b"one", b"two"):
        answer.write(HEAD)
        answer.write(body)
        answer.finish()
    assert recorder.written == [HEAD + b"one", HEAD + b"two"]


def test_a_head_without_a_body_leaves_when_the_answer_is_finished_or_the_connection_closed() -> None:
    finished, closed = Recorder(), Recorder()
    answer = AnswerTransport(finished)
    answer.write(HEAD)
    answer.finish()
    assert finished.written == [HEAD]
    answer = AnswerTransport(closed)
    answer.write(HEAD)
    answer.close()
    assert (closed.written, answer.is_closing()) == ([HEAD], True)


def test_an_interim_response_is_written_at_once() -> None:
    recorder = Recorder()
    answer = AnswerTransport(recorder)
    answer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert recorder.written == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    answer.write(HEAD)
    answer.write(b"body")
    assert recorder.written[1:] == [HEAD + b"body"]
