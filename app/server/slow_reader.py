"""The time limit for a client that does not read its answer."""

import asyncio

from app.server.in_flight import LARGE_WRITES
from app.settings import Settings


class SlowReader:
    """Closes a connection while its client reads less than `min_body_rate` of the answer that waits for it."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, settings: Settings) -> None:
        self._transport, self._loop, self._settings = transport, loop, settings
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """More of an answer waits than the connection takes."""
        LARGE_WRITES.add(self._transport)
        self._expect(self._transport.get_write_buffer_size())

    def end(self) -> None:
        """The client has read most of it, or has disconnected."""
        LARGE_WRITES.discard(self._transport)
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _expect(self, unread: int) -> None:
        """Check after `write_timeout` seconds how many of `unread` bytes are left."""
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._settings.write_timeout, self._check, unread)

    def _check(self, unread: int) -> None:
        left = self._transport.get_write_buffer_size()
        if unread - left < self._settings.min_body_rate * self._settings.write_timeout:
            self._transport.abort()
        else:
            self._expect(left)
