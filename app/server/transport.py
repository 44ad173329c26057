"""Where uvicorn writes an answer: its head leaves together with the beginning of its body."""

import asyncio

INTERIM = b"HTTP/1.1 100 "
"""How "100 Continue" begins, which no body follows."""


class AnswerTransport(asyncio.Transport):
    """The part of a transport that uvicorn's request-response cycle uses; one per connection.

    uvicorn writes the head and the body of an answer separately: two system calls and two packets, and the client wakes
    up for half an answer. This class keeps the head until something follows it.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._begun = False
        """Whether the head of the current answer has been written to this transport."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._begun and data[: len(INTERIM)] != INTERIM:
            self._head, self._begun = bytes(data), True
        elif self._head:
            self._transport.writelines((self._head, data))  # which copies no large body, as joining them would
            self._head = b""
        else:
            self._transport.write(data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def finish(self) -> None:
        """Write a head that no body has followed; what comes next is the head of another answer."""
        self._flush()
        self._begun = False

    def _flush(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""
