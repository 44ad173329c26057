"""An asynchronous micro-batcher. It knows nothing of HTTP or of networks: items go in, results come out, in order.

Whatever waits when a runner becomes free goes into the next batch; an idle runner starts at once, so no caller ever
waits for a timer. A runner is asked for a batch and gives a future of it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from app.errors import CallerLeft, DeadlineExceeded, Draining, Overloaded

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE = 0.1
"""Seconds of waiting after which it is worth asking whether the caller is still there."""


@dataclass(slots=True, eq=False)
class _Ticket(Generic[Item, Result]):
    """One caller's items, which may be spread over several batches; these may end in any order."""

    items: Sequence[Item]
    future: asyncio.Future[list[Result]]
    gone: Callable[[], Awaitable[bool]] | None
    submitted: float
    taken: int = 0
    started: float = 0.0
    results: dict[int, Sequence[Result]] = field(default_factory=dict)
    finished: int = 0

    def deliver(self, start: int, results: Sequence[Result]) -> None:
        """The results of the items from `start` on; the last ones to come complete the call."""
        self.results[start] = results
        self.finished += len(results)
        if self.finished == len(self.items) and not self.future.done():
            self.future.set_result([result for _, share in sorted(self.results.items()) for result in share])

    def expire(self, seconds: float) -> None:
        """The caller waits no longer."""
        if not self.future.done():
            self.future.set_exception(DeadlineExceeded(f"no answer within {seconds:.3g} s"))


@dataclass(slots=True, eq=False)
class _Share(Generic[Item, Result]):
    """The part of one caller's items, from `start` on, that is in one batch."""

    ticket: _Ticket[Item, Result]
    start: int
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Answer(Generic[Result]):
    """Results in the order of the items, and the seconds they waited and ran."""

    results: list[Result]
    queued: float
    ran: float


class Batcher(Generic[Item, Result]):
    """Gathers the items of concurrent callers into batches of at most `max_batch` for `run`.

    At most `max_queue` items wait. `run` starts work on a list of items and gives a future of as many results; up to
    `runners` are at work at a time. Where a batch of several callers fails, each caller's share is run again alone, so
    that only the one at fault fails. `observe` is told each batch's size, its seconds, and how many items wait then.
    """

    def __init__(
        self,
        run: "Callable[[list[Item]], Future[Sequence[Result]]]",
        *,
        max_batch: int,
        max_queue: int,
        runners: int = 1,
        observe: Callable[[int, float, int], None] = lambda size, seconds, waiting: None,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._observe = observe
        self._queue: deque[_Ticket[Item, Result]] = deque()
        self._waiting = 0
        self._arrived = asyncio.Event()
        self._closing = False
        self._taking = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._workers = [self._loop.create_task(self._work()) for _ in range(runners)]

    @property
    def waiting(self) -> int:
        """Items that are in no batch yet."""
        return self._waiting

    async def submit(
        self,
        items: Sequence[Item],
        gone: Callable[[], Awaitable[bool]] | None = None,
        seconds: float | None = None,
    ) -> Answer[Result]:
        """Run `items` with whatever else is waiting; all of them are admitted or none.

        Items are dropped before they run where this call is cancelled, where `gone` says that the caller has left, and
        after `seconds`. Raises Overloaded where the queue has no room, Draining after `close`, CallerLeft,
        DeadlineExceeded, and whatever `run` raised for these items.
        """
        if self._closing:
            raise Draining("the service is stopping and takes no new work")
        self.refuse_without_room(len(items))
        ticket = _Ticket[Item, Result](items, self._loop.create_future(), gone, time.perf_counter())
        timer = None if seconds is None else self._loop.call_later(seconds, ticket.expire, seconds)
        self._queue.append(ticket)
        self._waiting += len(items)
        self._arrived.set()
        try:
            results = await ticket.future
        finally:
            if timer:
                timer.cancel()
        return Answer(results, ticket.started - ticket.submitted, time.perf_counter() - ticket.started)

    def refuse_without_room(self, count: int = 1) -> None:
        """Raises Overloaded where `count` more items would exceed the queue: worth asking before preparing them."""
        if self._waiting + count > self._max_queue:
            raise Overloaded(
                f"{self._waiting} pictures are waiting already and {count} more would exceed {self._max_queue}"
            )

    async def close(self) -> None:
        """Refuse new work and finish what was admitted."""
        self._closing = True
        self._arrived.set()
        await asyncio.gather(*self._workers)

    async def _work(self) -> None:
        while self._queue or not self._closing:
            if not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            async with self._taking:
                batch = await self._take()
            if batch:
                await self._run_batch(batch)

    async def _take(self) -> list[_Share[Item, Result]]:
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
            share = _Share(ticket, ticket.taken, ticket.items[ticket.taken : ticket.taken + room])
            ticket.started = ticket.started or now
            ticket.taken += len(share.items)
            room -= len(share.items)
            self._waiting -= len(share.items)
            batch.append(share)
            if ticket.taken == len(ticket.items):
                self._queue.popleft()
        return batch

    async def _run_batch(self, batch: list[_Share[Item, Result]]) -> None:
        try:
            results = await self._call([item for share in batch for item in share.items])
        except Exception as error:
            if len(batch) > 1:
                for share in batch:
                    await self._run_batch([share])
            elif not (future := batch[0].ticket.future).done():
                future.set_exception(error)
            return
        position = 0
        for share in batch:
            share.ticket.deliver(share.start, results[position : position + len(share.items)])
            position += len(share.items)

    async def _call(self, items: list[Item]) -> Sequence[Result]:
        started = time.perf_counter()
        results = await asyncio.wrap_future(self._run(items))
        if len(results) != len(items):
            raise RuntimeError(f"{len(items)} items went into the batch, {len(results)} results came out")
        self._observe(len(items), time.perf_counter() - started, self._waiting)
        return results
