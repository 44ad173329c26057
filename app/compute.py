"""Threads for work that would hold the event loop up: a bounded pool whose jobs stop when nobody waits for them."""

import asyncio
import logging
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from app import processors
from app.deadline import Checkpoint, Deadline
from app.errors import ClientDisconnected, ConvoscopeError, Draining, Overloaded

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
Work = Callable[[Checkpoint], Result]
"""Runs in a thread, and calls its checkpoint between steps that take less than a second each."""

POLITE = 10
"""A niceness that leaves a thread about a tenth of a busy processor."""


class _Job(Generic[Result]):
    """One piece of work, from its admission until its thread has really ended with it."""

    def __init__(self, work: Work[Result], deadline: Deadline, client: str, future: "asyncio.Future[Result]") -> None:
        self.client = client
        self._future: asyncio.Future[Result] | None = future
        self.stop: Callable[[], Exception] | None = None
        """Makes the exception that ends it at its next checkpoint."""

        self._work: Work[Result] | None = work
        self._deadline = deadline

    def checkpoint(self) -> None:
        """Raise ClientDisconnected, DeadlineExceeded or Draining if nobody waits for the result any more."""
        if self.stop:
            raise self.stop()
        self._deadline.check()

    def run(self) -> None:
        """Do the work in the current thread and settle the future in its event loop.

        The job then lets go of the work and of the future: an exception holds the frames that it passed through, and
        with them the request's body, so no frame may lead back to the exception.
        """
        work, future = self._work, self._future
        self._work = self._future = None
        assert work
        assert future
        try:
            self.checkpoint()
            settle = _Settle(future, future.set_result, work(self.checkpoint))
        except BaseException as error:
            settle = _Settle(future, future.set_exception, error)
        loop = future.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle)
        del work, future, settle


class _Settle:
    """Gives a future its outcome, unless nobody waits for it any more."""

    def __init__(self, future: "asyncio.Future[Any]", tell: Callable[[Any], None], outcome: object) -> None:
        self._future, self._tell, self._outcome = future, tell, outcome

    def __call__(self) -> None:
        if not self._future.done():
            self._tell(self._outcome)
        elif isinstance(self._outcome, Exception) and not isinstance(self._outcome, ConvoscopeError):
            logger.error("work that nobody waited for any more failed", exc_info=self._outcome)


class ComputePool:
    """Threads that run admitted jobs, one client's in turn with another's.

    At most `limit` jobs are admitted, and at most `share` (a fraction) of them for one client. A job counts until its
    thread has really ended with it, also where nobody waits for it any more. There is one thread more than one client
    may keep busy, so that another client's job starts at once.
    """

    def __init__(self, name: str, limit: int, *, share: float = 1.0, polite: bool = False) -> None:
        """`polite` threads leave the processor to others first (on Linux only)."""
        self._name = name
        self._limit = limit
        self._client_limit = max(1, int(limit * share))
        self._client_threads = processors.usable()
        self._polite = polite
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: dict[str, deque[_Job[Any]]] = {}
        self._admitted: Counter[str] = Counter()
        self._running: list[_Job[Any]] = []
        self._threads = 0
        self._closing = False

    def reject_without_room(self, client: str) -> None:
        """Raise Overloaded if a job of `client` would not be admitted now: to be asked before its body is read."""
        jobs, own = self._admitted.total(), self._admitted[client]
        if jobs >= self._limit:
            raise Overloaded(f"{jobs} requests are in flight already; expected fewer than {self._limit}")
        if own >= self._client_limit:
            detail = f"{own} requests from {client} are in flight already; expected fewer than {self._client_limit}"
            raise Overloaded(f"{detail} from one address")

    async def run(
        self, work: Work[Result], deadline: Deadline, client: str, disconnected: "asyncio.Future[Any] | None" = None
    ) -> Result:
        """What `work` returns, or raises, when a thread has called it with a checkpoint.

        Raises DeadlineExceeded as soon as `deadline` passes, and ClientDisconnected as soon as `disconnected` is done:
        a job that waits is then dropped, a running one told at its next checkpoint. Raises Overloaded at once.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        job = _Job(work, deadline, client, future)
        self._admit(job)
        del work
        try:
            await asyncio.wait(
                {future, disconnected} if disconnected else {future},
                timeout=max(0.0, deadline.left),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if future.done():
                return future.result()
            if disconnected and disconnected.done():
                raise _disconnected()
            raise deadline.exceeded()
        finally:
            if future.done():
                if not future.cancelled():
                    future.exception()  # or asyncio logs that nobody asked for it, where this call was cancelled
            else:
                future.cancel()
                self._abandon(job, _disconnected if disconnected and disconnected.done() else deadline.exceeded)
            del future, job  # see _Job.run

    async def close(self, seconds: float) -> int:
        """Admit no more, stop every job, and wait at most `seconds` for it; returns how many still run then."""
        with self._lock:
            self._closing = True
            for job in self._running:
                job.stop = _draining
            self._changed.notify_all()
        until = time.monotonic() + seconds
        while self._running and time.monotonic() < until:
            await asyncio.sleep(0.01)
        if self._running:
            message = "%d jobs of the %s threads did not stop within %g s and are left behind"
            logger.warning(message, len(self._running), self._name, seconds)
        return len(self._running)

    def _admit(self, job: _Job[Any]) -> None:
        with self._lock:
            if self._closing:
                raise _draining()
            self.reject_without_room(job.client)
            self._admitted[job.client] += 1
            self._waiting.setdefault(job.client, deque()).append(job)
            if self._threads <= self._client_threads:
                self._threads += 1
                threading.Thread(target=self._serve, name=f"{self._name}-{self._threads}", daemon=True).start()
            self._changed.notify()

    def _abandon(self, job: _Job[Any], reason: Callable[[], Exception]) -> None:
        with self._lock:
            job.stop = reason
            waiting = self._waiting.get(job.client, ())
            if job in waiting:
                self._waiting[job.client].remove(job)
                if not self._waiting[job.client]:
                    del self._waiting[job.client]
                self._discount(job)

    def _serve(self) -> None:
        """What each thread does."""
        if self._polite and sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), POLITE)
        while job := self._next():
            job.run()
            with self._lock:
                self._running.remove(job)
                self._discount(job)
            del job

    def _next(self) -> _Job[Any] | None:
        """The next job, once there is one; None when the pool closes."""
        with self._changed:
            while not self._closing:
                if job := self._take():
                    self._running.append(job)
                    return job
                self._changed.wait()
            return None

    def _take(self) -> _Job[Any] | None:
        """The oldest job of the client whose turn it is, and who does not keep all threads busy already."""
        for client, jobs in self._waiting.items():
            if sum(job.client == client for job in self._running) < self._client_threads:
                job = jobs.popleft()
                del self._waiting[client]
                if jobs:
                    self._waiting[client] = jobs  # behind the others
                return job
        return None

    def _discount(self, job: _Job[Any]) -> None:
        self._admitted[job.client] -= 1
        if not self._admitted[job.client]:
            del self._admitted[job.client]


def _disconnected() -> ClientDisconnected:
    return ClientDisconnected("the connection was closed before the answer")


def _draining() -> Draining:
    return Draining("the service is stopping and takes no new work")
