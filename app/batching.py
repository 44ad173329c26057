"""An asynchronous micro-batcher. It knows nothing of HTTP or of networks: items go in, results come out, in order.

Whatever waits when the runner becomes free goes into the next batch; an idle runner starts at once, so no caller ever
waits for a timer. The runner is a blocking function and has a thread of its own.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from app.errors import CallerLeft, Draining, Overloaded

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE = 0.1
"""Seconds of waiting after which it is worth asking whether the caller is still there."""


@dataclass(slots=True, eq=False)
class _Ticket(Generic[Item, Result]):
    """One caller's items, which may be spread over several batches."""

    items: Sequence[Item]
    future: asyncio.Future[list[Result]]
    gone: Callable[[], Awaitable[bool]] | None
    submitted: float
    taken: int = 0
    started: float = 0.0
    results: list[Result] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer(Generic[Result]):
    """Results in the order of the items, and the seconds they waited and ran."""

    results: list[Result]
    queued: float
    ran: float


class Batcher(Generic[Item, Result]):
    """Gathers the items of concurrent callers into batches of at most `max_batch` for `run`.

    At most `max_queue` items wait. `run` maps a list of items to as many results; where it raises for a batch of
    several callers, each caller's share is run again alone, so that only the one at fault fails. `observe` is told
    each batch's size and seconds.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result]],
        *,
        max_batch: int,
        max_queue: int,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._observe = observe
        self._queue: deque[_Ticket[Item, Result]] = deque()
        self._waiting = 0
        self._arrived = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._worker = asyncio.get_running_loop().create_task(self._work())

    @property
    def waiting(self) -> int:
        """Items that are in no batch yet."""
        return self._waiting

    async def submit(self, items: Sequence[Item], gone: Callable[[], Awaitable[bool]] | None = None) -> Answer[Result]:
        """Run `items` with whatever else is waiting; all of them are admitted or none.

        Items are dropped before they run where this call is cancelled, or where `gone` says that the caller has left.
        Raises Overloaded where the queue has no room, Draining after `close`, CallerLeft, and whatever `run` raised for
        these items.
        """
        if self._closing:
            raise Draining("the service is stopping and takes no new work")
        if self._waiting + len(items) > self._max_queue:
            raise Overloaded(
                f"{self._waiting} pictures are waiting already and {len(items)} more would exceed {self._max_queue}"
            )
        loop = asyncio.get_running_loop()
        ticket = _Ticket[Item, Result](items, loop.create_future(), gone, time.perf_counter())
        self._queue.append(ticket)
        self._waiting += len(items)
        self._arrived.set()
        results = await ticket.future
        return Answer(results, ticket.started - ticket.submitted, time.perf_counter() - ticket.started)

    async def close(self) -> None:
        """Refuse new work, finish what was admitted, end the thread."""
        self._closing = True
        self._arrived.set()
        await self._worker
        self._thread.shutdown()

    async def _work(self) -> None:
        while self._queue or not self._closing:
            if not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
            elif batch := await self._take():
                await self._run_batch(batch)

    async def _take(self) -> list[tuple[_Ticket[Item, Result], Sequence[Item]]]:
        """The next batch, as each caller's share; shares of callers who left or gave up are dropped."""
        batch = []
        room = self._max_batch
        now = time.perf_counter()
        while room and self._queue:
            ticket = self._queue[0]
            if now - ticket.submitted > PATIENCE and not ticket.future.done() and ticket.gone and await ticket.gone():
                ticket.future.set_exception(CallerLeft("the connection was closed before the work began"))
            if ticket.future.done():
                self._waiting -= len(ticket.items) - ticket.taken
                self._queue.popleft()
                continue
            share = ticket.items[ticket.taken : ticket.taken + room]
            ticket.started = ticket.started or now
            ticket.taken += len(share)
            room -= len(share)
            self._waiting -= len(share)
            batch.append((ticket, share))
            if ticket.taken == len(ticket.items):
                self._queue.popleft()
        return batch

    async def _run_batch(self, batch: list[tuple[_Ticket[Item, Result], Sequence[Item]]]) -> None:
        try:
            results = await self._call([item for _, share in batch for item in share])
        except Exception as error:
            if len(batch) > 1:
                for part in batch:
                    await self._run_batch([part])
            elif not (future := batch[0][0].future).done():
                future.set_exception(error)
            return
        position = 0
        for ticket, share in batch:
            ticket.results.extend(results[position : position + len(share)])
            position += len(share)
            if len(ticket.results) == len(ticket.items) and not ticket.future.done():
                ticket.future.set_result(ticket.results)

    async def _call(self, items: list[Item]) -> Sequence[Result]:
        started = time.perf_counter()
        results = await asyncio.get_running_loop().run_in_executor(self._thread, self._run, items)
        if len(results) != len(items):
            raise RuntimeError(f"{len(items)} items went into the batch, {len(results)} results came out")
        self._observe(len(items), time.perf_counter() - started)
        return results
