"""The pool of threads: who is admitted, whose turn it is, and how abandoned work ends."""

import asyncio
import contextlib
import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial

import pytest

from app.compute import ComputePool
from app.deadline import Checkpoint, Deadline
from app.errors import ClientDisconnected, DeadlineExceeded, Draining, InvalidInput, Overloaded


def until_stopped(checkpoint: Checkpoint) -> None:
    """Work without an end but its checkpoint's."""
    while True:
        checkpoint()
        time.sleep(0.005)


async def holds(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def test_what_the_work_returns_or_raises_comes_back() -> None:
    def fail(checkpoint: Checkpoint) -> None:
        raise InvalidInput("no")

    async def main() -> None:
        pool = ComputePool("test", 2)
        assert await pool.run(lambda checkpoint: threading.current_thread().name, Deadline(9), "a") == "test-1"
        with pytest.raises(InvalidInput, match="no"):
            await pool.run(fail, Deadline(9), "a")
        assert await pool.close(1) == 0
        with pytest.raises(Draining):
            await pool.run(lambda checkpoint: 1, Deadline(9), "a")

    asyncio.run(main())


def test_a_passed_deadline_is_raised_at_once_and_ends_the_work_at_its_checkpoint() -> None:
    ended: list[BaseException] = []

    def work(checkpoint: Checkpoint) -> None:
        try:
            until_stopped(checkpoint)
        except DeadlineExceeded as error:
            ended.append(error)
            raise

    async def main() -> None:
        pool = ComputePool("test", 1)
        with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.5 s"):
            await pool.run(work, Deadline(0.5), "a")  # long enough for a busy machine to begin
        await holds(lambda: ended)
        assert await pool.run(lambda checkpoint: 1, Deadline(9), "a") == 1

    asyncio.run(main())


def returned(number: int, checkpoint: Checkpoint) -> int:
    return number


def test_a_job_that_ends_before_its_caller_waits_is_answered() -> None:
    async def main() -> None:
        pool = ComputePool("test", 100)
        threads = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for number in range(3000):
                assert await pool.run(partial(returned, number), Deadline(60), "a") == number
        finally:
            sys.setswitchinterval(threads)

    asyncio.run(main())


def test_a_job_counts_until_its_thread_has_ended_with_it() -> None:
    over = threading.Event()

    async def main() -> None:
        pool = ComputePool("test", 1)
        with pytest.raises(DeadlineExceeded):
            await pool.run(lambda checkpoint: over.wait(60), Deadline(0.5), "a")
        with pytest.raises(Overloaded, match="1 requests are in flight already"):
            pool.reject_without_room("b")
        over.set()
        await holds(lambda: not pool._admitted)
        pool.reject_without_room("b")

    asyncio.run(main())


def test_jobs_of_disconnected_clients_stop_and_those_that_wait_never_begin() -> None:
    begun: list[int] = []

    async def main() -> None:
        pool = ComputePool("test", 100)
        left = asyncio.get_running_loop().create_future()

        def work(checkpoint: Checkpoint) -> None:
            begun.append(1)
            until_stopped(checkpoint)

        jobs = [asyncio.create_task(pool.run(work, Deadline(60), "a", left)) for _ in range(50)]
        await holds(lambda: len(begun) == pool._client_threads)
        left.set_result(None)
        found = await asyncio.gather(*jobs, return_exceptions=True)
        assert {type(error) for error in found} == {ClientDisconnected}
        await holds(lambda: not pool._admitted)
        assert len(begun) == pool._client_threads

    asyncio.run(main())


def test_one_client_has_its_share_and_another_is_served_meanwhile() -> None:
    over = threading.Event()

    async def main() -> None:
        pool = ComputePool("test", 40, share=0.5)
        jobs = [
            asyncio.create_task(pool.run(lambda checkpoint: over.wait(60), Deadline(60), "greedy")) for _ in range(20)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="20 requests from greedy are in flight already; expected fewer than 20"):
            await pool.run(lambda checkpoint: 1, Deadline(60), "greedy")
        assert await pool.run(lambda checkpoint: 1, Deadline(5), "other") == 1
        over.set()
        assert all(await asyncio.gather(*jobs))

    asyncio.run(main())


def test_closing_stops_what_listens_and_leaves_the_rest_behind() -> None:
    over, begun = threading.Event(), list[str]()

    async def main() -> None:
        pool = ComputePool("test", 4)
        jobs = [asyncio.create_task(pool.run(work, Deadline(600), str(work))) for work in (listening, deaf)]
        await holds(lambda: len(begun) == 2)
        began = time.monotonic()
        assert await pool.close(0.3) == 1
        assert time.monotonic() - began < 30  # the deaf one waits longer
        over.set()
        await asyncio.gather(*jobs, return_exceptions=True)

    def listening(checkpoint: Checkpoint) -> None:
        begun.append("listening")
        until_stopped(checkpoint)

    def deaf(checkpoint: Checkpoint) -> None:
        begun.append("deaf")
        over.wait(60)

    asyncio.run(main())


@pytest.mark.parametrize("listens", [True, False])
def test_a_failed_job_keeps_nothing_of_its_request(listens: bool) -> None:
    class Body:
        pass

    async def main() -> None:
        pool = ComputePool("test", 1)
        body = Body()
        kept = weakref.ref(body)

        def work(checkpoint: Checkpoint, body: Body = body) -> None:
            if listens:
                until_stopped(checkpoint)
            raise InvalidInput("no")

        with contextlib.suppress(InvalidInput, DeadlineExceeded):
            await pool.run(work, Deadline(0.05), "a")
        await holds(lambda: not pool._admitted)
        del work, body
        await holds(lambda: kept() is None)

    gc.collect()
    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_an_error_that_comes_as_the_caller_is_cancelled_is_not_logged() -> None:
    told: list[object] = []

    def fail(checkpoint: Checkpoint) -> None:
        raise InvalidInput("no")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        pool = ComputePool("test", 2)
        asking = asyncio.ensure_future(pool.run(fail, Deadline(9), "a"))
        await asyncio.sleep(0)
        time.sleep(0.2)  # the thread has failed, and the loop has not heard of it yet
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await pool.close(1)

    asyncio.run(main())
    gc.collect()
    assert told == []
