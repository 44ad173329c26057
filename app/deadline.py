"""How long a caller is kept waiting."""

import asyncio
from types import TracebackType

from app.errors import DeadlineExceeded


class Deadline:
    """`async with Deadline(seconds):` raises DeadlineExceeded, dropping what is waited for, where it takes longer.

    None is no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, at)
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {self._seconds:g} s") from None
