import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from app.deadline import Deadline
from app.errors import ClientDisconnected, DeadlineExceeded, Draining, Overloaded
from app.inference.batcher import PATIENCE, Batcher, batch_sizes

THREADS = ThreadPoolExecutor(8)


def in_thread(work: Callable[[list[int]], Sequence[int]]) -> "Callable[[list[int]], Future[Sequence[int]]]":
    """What a batcher asks: `work`, done in a thread."""
    return lambda items: THREADS.submit(work, items)


class Doubler:
    """A runner that doubles numbers, refuses negative ones, and waits while its gate is shut."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, items: list[int]) -> Sequence[int]:
        self.gate.wait(60)
        self.batches.append(items)
        if any(item < 0 for item in items):
            raise ValueError(f"negative: {items}")
        return [2 * item for item in items]


def run(
    scenario: Callable[[Batcher[int, int], Doubler], Coroutine[Any, Any, None]],
    max_batch: int = 4,
    max_queue: int = 16,
    depth: int = 1,
    step: int = 1,
) -> Doubler:
    """Run `scenario` with a batcher around a Doubler and close it."""
    doubler = Doubler()

    async def main() -> None:
        batcher = Batcher(in_thread(doubler), max_batch=max_batch, max_queue=max_queue, depth=depth, step=step)
        await scenario(batcher, doubler)
        doubler.gate.set()
        await batcher.close()

    asyncio.run(main())
    return doubler


async def held(batcher: Batcher[int, int], doubler: Doubler, item: int = 0) -> "asyncio.Task[list[int]]":
    """A call whose batch is running and held up, so that what comes next has to queue."""
    doubler.gate.clear()
    call = asyncio.create_task(submit(batcher, [item]))
    await asyncio.sleep(0.01)
    assert batcher.waiting == 0
    return call


async def submit(batcher: Batcher[int, int], items: list[int], gone: Callable[[], bool] | None = None) -> list[int]:
    return list((await batcher.submit(items, disconnected=gone)).results)


def test_concurrent_callers_share_a_batch() -> None:
    async def scenario(batcher: Batcher[int, int], doubler: Doubler) -> None:
        first = await held(batcher, doubler)
        others = [asyncio.create_task(submit(batcher, [n])) for n in (1, 2, 3)]
        await asyncio.sleep(0.01)
        doubler.gate.set()
        assert await asyncio.gather(first, *others) == [[0], [2], [4], [6]]

    assert run(scenario).batches == [[0], [1, 2, 3]]


def test_an_idle_runner_starts_at_once() -> None:
    async def scenario(batcher: Batcher[int, int], doubler: Doubler) -> None:
        await submit(batcher, [1])
        waits = [(await batcher.submit([1])).queued for _ in range(50)]
        assert sorted(waits)[25] < 0.001

    assert run(scenario).batches == [[1]] * 51


def test_batches_count_items_not_callers_and_split_a_large_call() -> None:
    async def scenario(batcher: Batcher[int, int], doubler: Doubler) -> None:
        first = await held(batcher, doubler)
        small, large = (asyncio.create_task(submit(batcher, items)) for items in ([1, 2, 3], [4, 5, 6, 7, 8, 9]))
        await asyncio.sleep(0.01)
        assert batcher.waiting == 9
        doubler.gate.set()
        assert list(await asyncio.gather(first, small, large)) == [[0], [2, 4, 6], [8, 10, 12, 14, 16, 18]]

    assert run(scenario).batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]]


def test_a_batch_joins_a_running_one_only_half_full() -> None:
    async def scenario(batcher: Batcher[int, int], doubler: Doubler) -> None:
        first = await held(batcher, doubler)
        calls = [asyncio.create_task(submit(batcher, [1]))]
        await asyncio.sleep(0.01)
        assert batcher.waiting == 1
        calls.append(asyncio.create_task(submit(batcher, [2])))
        await asyncio.sleep(0.01)
        assert batcher.waiting == 0
        doubler.gate.set()
        assert list(await asyncio.gather(first, *calls)) == [[0], [2], [4]]

    assert sorted(run(scenario, depth=2).batches) == [[0], [1, 2]]


def test_larger_batches_are_multiples_of_the_step() -> None:
    async def scenario(batcher: Batcher[int, int], doubler: Doubler) -> None:
        assert await submit(batcher, list(range(19))) == list(range(0, 38, 2))

    assert [len(batch) for batch in run(scenario, max_batch=14, max_queue=32, step=4).batches] == [12, 4, 3]


@pytest.mark.parametrize(("max_batch", "step"), [(14, 4), (8, 1), (3, 4), (1, 4)])
def test_the_sizes_of_batches_are_known_beforehand(max_batch: int, step: int) -> None:
    async def scenario(batcher: Batcher[int, int], doubler: Doubler) -> None:
        for count in range(1, 20):
            await submit(batcher, list(range(count)))

    seen = {len(batch) for batch in run(scenario, max_batch=max_batch, max_queue=32, step=step).batches}
    assert sorted(seen) == batch_sizes(max_batch, step)


def test_a_call_over_two_batches_keeps_its_order() -> None:
    async def scenario(batcher: Batcher[int, int], doubler: Doubler) -> None:
        doubler.gate.clear()
        calls = [asyncio.create_task(submit(batcher, items)) for items in ([0, 1, 2, 3, 4], [5])]
        await asyncio.sleep(0.01)
        assert batcher.waiting == 0
        doubler.gate.set()
        assert list(await asyncio.gather(*calls)) == [[0, 2, 4, 6, 8], [10]]

    assert sorted(run(scenario, depth=2).batches) == [[0, 1, 2, 3], [4, 5]]


def test_batches_that_end_in_any_order_deliver_in_order() -> None:
    async def main() -> None:
        def slow_at_first(items: list[int]) -> list[int]:
            time.sleep(0.05 if items[0] == 0 else 0)
            return items

        batcher: Batcher[int, int] = Batcher(in_thread(slow_at_first), max_batch=2, max_queue=16, depth=3)
        assert (await batcher.submit(list(range(9)))).results == list(range(9))
        await batcher.close()

    asyncio.run(main())


def test_callers_who_left_are_dropped_while_two_batches_run() -> None:
    async def scenario(batcher: Batcher[int, int], doubler: Doubler) -> None:
        doubler.gate.clear()
        running = []
        for items in ([1, 2], [3, 4]):  # a batch each
            running.append(asyncio.create_task(submit(batcher, items)))
            await asyncio.sleep(0.01)
        left = [asyncio.create_task(submit(batcher, [n], gone=lambda: True)) for n in (5, 6, 7)]
        staying = [asyncio.create_task(submit(batcher, [n])) for n in (8, 9)]
        await asyncio.sleep(PATIENCE * 1.5)
        doubler.gate.set()
        assert list(await asyncio.gather(*running, *staying)) == [[2, 4], [6, 8], [16], [18]]
        answers = await asyncio.gather(*left, return_exceptions=True)
        assert all(isinstance(answer, ClientDisconnected) for answer in answers)
        assert batcher.waiting == 0

    assert sorted(item for batch in run(scenario, depth=2).batches for item in batch) == [1, 2, 3, 4, 8, 9]


def test_a_failing_call_disturbs_no_other_in_its_batch() -> None:
    async def scenario(batcher: Batcher[int, int], doubler: Doubler) -> None:
        first = await held(batcher, doubler)
        calls = [asyncio.create_task(submit(batcher, [n])) for n in (1, -2, 3)]
        await asyncio.sleep(0.01)
        doubler.gate.set()
        assert await first == [0]
        good, bad, also_good = await asyncio.gather(*calls, return_exceptions=True)
        assert (good, also_good) == ([2], [6])
        assert isinstance(bad, ValueError)
        assert str(bad) == "negative: [-2]"
        assert await submit(batcher, [4]) == [8]

    assert run(scenario).batches[:2] == [[0], [1, -2, 3]]


def test_a_full_queue_refuses_at_once_and_whole() -> None:
    async def scenario(batcher: Batcher[int, int], doubler: Doubler) -> None:
        first = await held(batcher, doubler)
        waiting = asyncio.create_task(submit(batcher, [1, 2, 3]))
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded, match="3 pictures are waiting already and 2 more would exceed 4"):
            await submit(batcher, [4, 5])
        assert batcher.waiting == 3
        doubler.gate.set()
        assert list(await asyncio.gather(first, waiting)) == [[0], [2, 4, 6]]
        assert await submit(batcher, [4, 5]) == [8, 10]

    run(scenario, max_queue=4)


def test_a_caller_who_left_is_dropped_before_it_runs() -> None:
    async def scenario(batcher: Batcher[int, int], doubler: Doubler) -> None:
        first = await held(batcher, doubler)
        left = asyncio.create_task(submit(batcher, [1], gone=lambda: True))
        await asyncio.sleep(PATIENCE * 1.5)
        doubler.gate.set()
        assert await first == [0]
        with pytest.raises(ClientDisconnected):
            await left
        assert await submit(batcher, [2]) == [4]

    assert run(scenario).batches == [[0], [2]]


def test_a_cancelled_call_is_dropped_before_it_runs() -> None:
    async def scenario(batcher: Batcher[int, int], doubler: Doubler) -> None:
        first = await held(batcher, doubler)
        cancelled = asyncio.create_task(submit(batcher, [1]))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        doubler.gate.set()
        assert await first == [0]
        assert await submit(batcher, [2]) == [4]

    assert run(scenario).batches == [[0], [2]]


def test_closing_finishes_what_was_admitted_and_refuses_the_rest() -> None:
    async def scenario(batcher: Batcher[int, int], doubler: Doubler) -> None:
        first = await held(batcher, doubler)
        waiting = asyncio.create_task(submit(batcher, [1]))
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.01)
        with pytest.raises(Draining):
            await submit(batcher, [2])
        assert not closing.done()
        doubler.gate.set()
        assert list(await asyncio.gather(first, waiting)) == [[0], [2]]
        await closing

    assert run(scenario).batches == [[0], [1]]


def test_the_event_loop_stays_free_while_a_batch_runs() -> None:
    async def scenario(batcher: Batcher[int, int], doubler: Doubler) -> None:
        started = time.perf_counter()
        first = await held(batcher, doubler)
        assert time.perf_counter() - started < 30  # the batch would wait longer
        doubler.gate.set()
        await first

    run(scenario)


def test_a_runner_that_loses_a_result_is_reported() -> None:
    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(in_thread(lambda items: items[1:]), max_batch=4, max_queue=4)
        with pytest.raises(RuntimeError, match="2 items went into the batch, 1 results came out"):
            await batcher.submit([1, 2])
        await batcher.close()

    asyncio.run(main())


def test_every_batch_is_observed() -> None:
    sizes: list[int] = []

    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(
            in_thread(lambda items: items), max_batch=4, max_queue=8, observe=lambda size, *_: sizes.append(size)
        )
        await batcher.submit([1, 2, 3, 4, 5])
        await batcher.close()

    asyncio.run(main())
    assert sizes == [4, 1]


def test_a_caller_waits_no_longer_than_it_said() -> None:
    async def scenario(batcher: Batcher[int, int], doubler: Doubler) -> None:
        call = await held(batcher, doubler)
        with pytest.raises(DeadlineExceeded, match=r"within 0\.01 s"):
            await batcher.submit([1], Deadline(0.01))
        doubler.gate.set()
        assert await call == [0]
        assert await submit(batcher, [2]) == [4]

    assert [1] not in run(scenario).batches
