"""An asynchronous micro-batcher. It knows nothing of HTTP or of networks: items go in, results come out, in order.

When the runner becomes free, the next batch takes all the items that wait, up to its limit. An idle runner starts at
once, so no caller ever waits for a timer. While one batch runs, the next is handed over as soon as it is at least half
full, so the runner has no gap between them. Everything happens in callbacks of the event loop: no task is woken except
the callers, once per batch.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

from app.deadline import Deadline
from app.errors import ClientDisconnected, Draining, Overloaded

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE = 0.1
"""Seconds of waiting after which the batcher asks whether the client is still connected."""


def batch_sizes(max_batch: int, step: int) -> list[int]:
    """The batch sizes of a `Batcher` with these arguments: all up to `step`, then its multiples."""
    return [size for size in range(1, max_batch + 1) if size <= step or size % step == 0]


class Answer(NamedTuple, Generic[Result]):
    """Results in the order of the items, and the seconds that the items waited and ran."""

    results: Sequence[Result]
    queued: float
    ran: float


@dataclass(slots=True, eq=False)
class _Ticket(Generic[Item, Result]):
    """One caller's items. They may be spread over several batches, which may end in any order."""

    items: Sequence[Item]
    future: asyncio.Future[Answer[Result]]
    disconnected: Callable[[], bool] | None
    submitted: float
    timer: asyncio.TimerHandle | None = None
    taken: int = 0
    started: float = 0.0
    results: list[tuple[int, Sequence[Result]]] = field(default_factory=list)
    finished: int = 0

    def deliver(self, start: int, results: Sequence[Result]) -> None:
        """Accept the results of the items from `start` on; the last results to arrive complete the call."""
        if len(results) < len(self.items):
            self.results.append((start, results))
            self.finished += len(results)
            if self.finished < len(self.items):
                return
            self.results.sort(key=itemgetter(0))
            results = list(chain.from_iterable(share for _, share in self.results))
        self.end()
        if not self.future.done():
            answer = Answer(results, self.started - self.submitted, time.perf_counter() - self.started)
            self.future.set_result(answer)

    def fail(self, error: BaseException) -> None:
        """Make the call raise `error`, unless it has ended already."""
        self.end()
        if not self.future.done():
            self.future.set_exception(error)

    def is_disconnected(self) -> bool:
        """Whether the client that asked has disconnected."""
        return self.disconnected is not None and self.disconnected()

    def end(self) -> None:
        """Stop the timer of the deadline: the call has its outcome."""
        if self.timer:
            self.timer.cancel()


_Share = tuple[_Ticket[Item, Result], int, Sequence[Item]]
"""The part of one caller's items that is in one batch, with the index of its first item."""

_Batch = list[_Share[Item, Result]]


class Batcher(Generic[Item, Result]):
    """Gathers the items of concurrent callers into batches of at most `max_batch` for `run`.

    At most `max_queue` items wait. `run` starts work on a list of items and returns a future that resolves to one
    result per item. Up to `depth` batches are in progress at a time. A batch that starts while another runs is at least
    half full, because small batches cost more per item. The size of a batch larger than `step` is a multiple of `step`
    unless callers gave up, so a runner that prepares itself for each size (`sizes`) has few to prepare for. If a batch
    with items of several callers fails, each caller's share runs again alone, so only the caller at fault gets the
    error. `observe` is called after each batch with its size, its duration in seconds, and the number of items that
    wait.
    """

    def __init__(
        self,
        run: "Callable[[list[Item]], Future[Sequence[Result]]]",
        *,
        max_batch: int,
        max_queue: int,
        depth: int = 1,
        step: int = 1,
        observe: Callable[[int, float, int], None] = lambda size, seconds, waiting: None,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._depth = depth
        self.sizes = batch_sizes(max_batch, step)
        self._observe = observe
        self._queue: deque[_Ticket[Item, Result]] = deque()
        self._again: deque[_Batch[Item, Result]] = deque()
        self._waiting = 0
        self._running = 0
        self._scheduled = False
        self._closing = False
        self._finished = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @property
    def waiting(self) -> int:
        """The number of items that are not in a batch yet."""
        return self._waiting

    def submit(
        self,
        items: Sequence[Item],
        deadline: Deadline | None = None,
        disconnected: Callable[[], bool] | None = None,
    ) -> "asyncio.Future[Answer[Result]]":
        """Run `items` together with the others that wait. Either all of `items` are admitted or none.

        Items are dropped before they run if the future is cancelled, if `disconnected` says that the client has
        disconnected, and once `deadline` has passed. Raises Overloaded if the queue has no room, and Draining after
        `close`; the future raises ClientDisconnected, DeadlineExceeded, and whatever `run` raised for these items.
        """
        if self._closing:
            raise Draining("the service is stopping and takes no new work")
        self.reject_without_room(len(items))
        ticket: _Ticket[Item, Result] = _Ticket(items, self._loop.create_future(), disconnected, time.perf_counter())
        if deadline:
            ticket.timer = self._loop.call_later(max(0.0, deadline.left), lambda: ticket.fail(deadline.exceeded()))
        self._queue.append(ticket)
        self._waiting += len(items)
        if not self._scheduled and self._has_room():
            self._scheduled = True  # not at once: all callers in this turn of the loop share the batch
            self._loop.call_soon(self._start)
        return ticket.future

    def reject_without_room(self, count: int = 1) -> None:
        """Raise Overloaded if `count` more items would exceed the queue; to be called before they are prepared."""
        if self._waiting + count > self._max_queue:
            raise Overloaded(
                f"{self._waiting} pictures are waiting already and {count} more would exceed {self._max_queue}"
            )

    async def close(self) -> None:
        """Reject new items and finish those that were admitted."""
        self._closing = True
        self._finished.clear()
        self._start()
        await self._finished.wait()

    def _start(self) -> None:
        """Hand over as many batches as there is room for."""
        self._scheduled = False
        while (self._again or self._queue) and self._has_room():
            if batch := self._again.popleft() if self._again else self._take():
                self._start_batch(batch)
        if not (self._running or self._again or self._queue):
            self._finished.set()

    def _has_room(self) -> bool:
        worth_it = not self._running or bool(self._again) or 2 * self._waiting >= self._max_batch
        return worth_it and self._running < self._depth

    def _take(self) -> _Batch[Item, Result]:
        """The next batch, one share per caller; the items of callers who disconnected or gave up are dropped."""
        batch = []
        room = max((size for size in self.sizes if size <= self._waiting), default=0)
        now = time.perf_counter()
        while room and self._queue:
            ticket = self._queue[0]
            if now - ticket.submitted > PATIENCE and not ticket.future.done() and ticket.is_disconnected():
                ticket.fail(ClientDisconnected("the connection was closed before the work began"))
            if ticket.future.done():
                ticket.end()
                self._waiting -= len(ticket.items) - ticket.taken
                self._queue.popleft()
                continue
            items = ticket.items[ticket.taken : ticket.taken + room]
            batch.append((ticket, ticket.taken, items))
            ticket.started = ticket.started or now
            ticket.taken += len(items)
            room -= len(items)
            self._waiting -= len(items)
            if ticket.taken == len(ticket.items):
                self._queue.popleft()
        return batch

    def _start_batch(self, batch: _Batch[Item, Result]) -> None:
        self._running += 1
        items = [item for _, _, share in batch for item in share]
        started = time.perf_counter()
        try:
            future = self._run(items)
        except Exception as error:
            future = Future()
            future.set_exception(error)
        future.add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(self._end, batch, len(items), started, done)
        )

    def _end(self, batch: _Batch[Item, Result], count: int, started: float, done: "Future[Sequence[Result]]") -> None:
        self._running -= 1
        error = done.exception()
        results = () if error else done.result()
        if error is None and len(results) != count:
            error = RuntimeError(f"{count} items went into the batch, {len(results)} results came out")
        if error is None:
            self._observe(count, time.perf_counter() - started, self._waiting)
        elif len(batch) > 1:
            self._again.extend([share] for share in batch)
        else:
            batch[0][0].fail(error)
        self._start()  # before the answers are written, which takes the event loop a while
        position = 0
        for ticket, start, items in batch if error is None else ():
            ticket.deliver(start, results[position : position + len(items)])
            position += len(items)
