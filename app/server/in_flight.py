"""The requests in flight: how many there are, the memory that they hold, and waiting for them at the stop."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import Message

from app import metrics
from app.errors import Draining, Overloaded
from app.settings import Settings

logger = logging.getLogger(__name__)

LARGE_WRITES: "set[asyncio.WriteTransport]" = set()
"""Connections whose client reads its answer more slowly than the service writes it."""


class InFlight:
    """How many requests are being answered, the bytes of their bodies, and whether new requests are still admitted."""

    def __init__(self, settings: Settings) -> None:
        self.draining = False
        self.requests = 0
        self.body_bytes = 0
        self._inflated = 0
        self._lock = threading.Lock()
        self.left_behind = 0
        """Jobs that still ran in their threads when the application had stopped."""

        self._max_bodies = settings.max_bodies
        self._max_answers = settings.max_answers
        self._idle = asyncio.Event()
        self._drained_by: float | None = None

    def enter(self) -> None:
        self.requests += 1
        metrics.set_in_flight(self.requests)

    def leave(self) -> None:
        self.requests -= 1
        metrics.set_in_flight(self.requests)
        if not self.requests:
            self._idle.set()

    def admit(self) -> None:
        """Raise Draining once the service stops, and Overloaded if clients have too much left to read."""
        if self.draining:
            raise Draining("the service is stopping and takes no new work")
        if LARGE_WRITES and (unread := sum(one.get_write_buffer_size() for one in LARGE_WRITES)) > self._max_answers:
            raise Overloaded(f"{unread} bytes of answers wait to be read by their clients; at most {self._max_answers}")

    def hold(self, message: Message) -> int:
        """Count the part of a request's body that `message` brings, and return its size; see `release`.

        Raises Overloaded if all bodies in flight together would exceed `max_bodies`.
        """
        size = len(message.get("body", b""))
        self._reject_without_room(size)
        self.body_bytes += size
        return size

    def release(self, size: int) -> None:
        """The opposite of `hold`."""
        self.body_bytes -= size

    @contextmanager
    def inflating(self) -> Iterator[Callable[[int], None]]:
        """Count what a compressed body becomes until the block ends, as a part of all bodies in flight.

        Gives a function that counts so many bytes more, and raises Overloaded as `hold` does; for threads.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            with self._lock:
                self._reject_without_room(size)
                self._inflated += size
                held += size

        try:
            yield hold
        finally:
            with self._lock:
                self._inflated -= held

    def _reject_without_room(self, size: int) -> None:
        held = self.body_bytes + self._inflated
        if held + size > self._max_bodies:
            detail = f"the bodies of the requests in flight have {held} bytes already"
            raise Overloaded(f"{detail}; expected at most {self._max_bodies} with this one's next {size}")

    def give_up(self) -> None:
        """Stop waiting for the requests in flight."""
        self._drained_by = time.monotonic()
        self._idle.set()

    async def drain(self, seconds: float) -> float:
        """Admit no more requests, and wait until those in flight are finished or given up.

        Returns at most `seconds` after the first call, with the number of seconds that are left.
        """
        self.draining = True
        self._idle.clear()
        now = time.monotonic()
        self._drained_by = self._drained_by or now + seconds
        if self.requests and now < self._drained_by:
            try:
                await asyncio.wait_for(self._idle.wait(), self._drained_by - now)
            except TimeoutError:
                logger.warning("%d requests were not finished within %g s", self.requests, seconds)
        return max(0.0, self._drained_by - time.monotonic())
