"""What is behind the routes of one process: the settings, the networks and the threads that work for them."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import Request

from app.deadline import Checkpoint, Deadline
from app.errors import Overloaded, TooLarge
from app.imaging.images import SIDE
from app.inference.catalog import Catalog
from app.inference.network import Network, Pictures
from app.settings import Settings
from app.wire import pictures

Result = TypeVar("Result")

SMALL_BODY = 16_384
"""Bytes."""

SMALL_PICTURE = 64 * 64
"""Pixels."""

ARRAY = "application/x-npy"
SMALL_ARRAY = 1_000_000
"""Bytes of pictures that need no decoding, only a look at their header."""


class Workers:
    """Threads for work that would hold the event loop up; only so much of it is admitted."""

    def __init__(self, name: str, limit: int, *, yielding: bool = False) -> None:
        """At most `limit` jobs are in hand; `yielding` threads leave the processor to others first."""
        self._limit = limit
        self._jobs = 0
        self._threads = ThreadPoolExecutor(os.cpu_count(), name, _yield_to_others if yielding else None)

    async def run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """What `work` returns, called in a thread. Raises Overloaded, and what it raises."""
        self.refuse_without_room()
        self._jobs += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._jobs -= 1

    def refuse_without_room(self) -> None:
        """Raises Overloaded where another job would be; to be asked before a body is read for it."""
        if self._jobs == self._limit:
            raise Overloaded(f"{self._jobs} requests are being worked on already; expected fewer")

    def close(self) -> None:
        """Finish what was admitted."""
        self._threads.shutdown()


def _yield_to_others() -> None:
    """Lower this thread's share of a busy processor to a tenth, so that networks go on answering. On Linux only."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


class Service:
    """Started and closed by the application's lifespan."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        """Needs a running event loop."""
        self.settings = settings
        self.catalog = catalog
        self.networks = {name: Network(artifact, settings) for name, artifact in catalog.items()}
        self._small = settings.model_copy(
            update={"max_pixels": min(SMALL_PICTURE, settings.max_pixels), "max_pictures": 1}
        )
        self._small_array = settings.model_copy(update={"max_pixels": min(SIDE * SIDE, settings.max_pixels)})
        self._decoding = Workers("decode", settings.max_queue)
        self.computing = Workers("compute", settings.max_jobs, yielding=True)

    async def start(self) -> None:
        """Compile the default network; the others are when they are first asked for. Raises ArtifactError."""
        await self.network(None).prepare()

    def network(self, name: str | None) -> Network:
        """The network a caller asked for, or the default for None. Raises NotFound."""
        return self.networks[self.catalog.find(name).name]

    async def pictures(self, content_type: str, body: bytes) -> Pictures:
        """The pictures of a request's body. Raises Overloaded, DeadlineExceeded and what `pictures.every` raises.

        A small one is decoded at once, which takes less than handing it to a thread would; a small body whose picture
        turns out large, and any other body, is decoded in a thread.
        """
        if self.is_small(content_type, len(body)):
            try:
                return self.small_pictures(content_type, body)
            except TooLarge:  # for this way; the other tells what else is wrong
                pass
        deadline = Deadline(self.settings.deadline)
        async with deadline.enforced():
            return await self._decoding.run(pictures.every, content_type, body, self.settings, deadline.check)

    async def decode(self, request: Request, deadline: Deadline, work: Callable[[Checkpoint], Result]) -> Result:
        """What `work(checkpoint)` returns, called in a decoding thread. Raises Overloaded, DeadlineExceeded."""
        async with deadline.enforced():
            return await self._decoding.run(work, deadline.check)

    @property
    def small(self) -> Settings:
        """The settings under which a small body may be decoded in the event loop; beyond them TooLarge is raised."""
        return self._small

    def is_small(self, content_type: str, size: int) -> bool:
        """Whether a body of `size` bytes may be decoded at once."""
        limit = SMALL_ARRAY if content_type == ARRAY else SMALL_BODY
        return size <= min(limit, self.settings.max_body)

    def small_pictures(self, content_type: str, body: bytes) -> Pictures:
        """The pictures of a body that `is_small`, at once. Raises what `pictures.every` raises, TooLarge sooner."""
        return pictures.every(content_type, body, self._small_array if content_type == ARRAY else self._small)

    async def close(self) -> None:
        """Finish what was admitted."""
        for network in self.networks.values():
            await network.close()
        self._decoding.close()
        self.computing.close()
