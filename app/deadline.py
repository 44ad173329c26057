"""When an answer is due, and how work in progress learns that nobody waits for it any more."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from app.errors import DeadlineExceeded

Checkpoint = Callable[[], None]
"""Long work calls it between its steps; it raises where the deadline has passed or the client has disconnected."""


def unbounded() -> None:
    """The checkpoint of work that nothing interrupts."""


class Deadline:
    """The moment by which a request must be answered. One is made when a request begins, and every step shares it."""

    def __init__(self, seconds: float) -> None:
        """`seconds` from now."""
        self.seconds = seconds
        self.at = time.monotonic() + seconds
        """On the clock of `time.monotonic`."""

    @property
    def left(self) -> float:
        """Seconds until it passes; negative once it has."""
        return self.at - time.monotonic()

    def check(self) -> None:
        """Raise DeadlineExceeded if it has passed."""
        if self.left <= 0:
            raise self.exceeded()

    def exceeded(self) -> DeadlineExceeded:
        """The failure to report once it has passed."""
        return DeadlineExceeded(f"no answer within {self.seconds:g} s")

    @asynccontextmanager
    async def enforced(self) -> AsyncIterator[None]:
        """Cancel what the block waits for when the deadline passes, and raise DeadlineExceeded."""
        timeout = asyncio.timeout(None if math.isinf(self.left) else self.left)
        try:
            async with timeout:
                yield
        except TimeoutError:
            if timeout.expired():
                raise self.exceeded() from None
            raise
