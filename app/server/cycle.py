"""A request and its answer on a connection; the head of the answer leaves together with the beginning of its body."""

from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

CONTROLS = bytes((*range(9), *range(10, 32), 127))
"""What the line of a header may not have: a line break in a value would begin another header."""


class Cycle(RequestResponseCycle):
    """uvicorn's cycle, which calls the application, with another way to write answers.

    uvicorn writes head and body separately: two system calls and two packets, and the client wakes up for half an
    answer. It also searches each name and each value of the head with a regular expression. Of uvicorn's class, which
    is not documented, this one uses `scope`, `transport`, `flow`, `default_headers`, `message_event`, `on_response`,
    `keep_alive`, `disconnected`, `waiting_for_100_continue`, `response_started`, `response_complete`,
    `chunked_encoding`, `expected_content_length`, and `send`, which goes on where this one has begun.
    """

    _head = b""
    """The head of the answer, which waits for the beginning of the body."""

    async def send(self, message: Any) -> None:
        """Keep the head, and write an answer that comes in one piece at once; what else there is, uvicorn writes."""
        if message["type"] == "http.response.start" and not self.response_started and not self.disconnected:
            self.response_started, self.waiting_for_100_continue = True, False
            self._head = self._begin(message["status"], (*self.default_headers, *message.get("headers", ())))
        elif self._head and not self.disconnected and self._is_whole(message):
            head, self._head = self._head, b""
            self.transport.writelines((head, message.get("body", b"")))  # joining them would copy a large body
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()
        else:
            if self._head and not self.disconnected:
                self.transport.write(self._head)
                self._head = b""
            await super().send(message)

    def _is_whole(self, message: Any) -> bool:
        if message.get("more_body") or self.flow.write_paused or self.scope["method"] == "HEAD":
            return False
        return not self.chunked_encoding and len(message.get("body", b"")) == self.expected_content_length

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The head of an answer. Raises RuntimeError if a header has a control character."""
        lines = [STATUS_LINE[status]]
        for name, value in headers:
            if name == b"content-length":
                self.expected_content_length, self.chunked_encoding = int(value), False
            elif name == b"transfer-encoding":
                self.chunked_encoding = value.lower() == b"chunked"
            elif name == b"connection":  # Cycle says it where it is to be said
                self.keep_alive &= b"close" not in value.lower()
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in (204, 304):
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        head = b"".join((*lines, b"\r\n"))
        if len(head) - len(head.translate(None, CONTROLS)) != 2 * (len(lines) + 1):
            raise RuntimeError(f"a header of the answer has a control character: {head!r:.1000}")
        return head
