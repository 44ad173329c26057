import threading
from collections.abc import Sequence

import pytest

from app.background import BackgroundWriter
from tests.conftest import until


def test_items_are_written_in_order_and_those_left_at_the_end() -> None:
    written: list[int] = []
    writer: BackgroundWriter[int] = BackgroundWriter("test", written.extend, lambda count: None)
    for item in range(1000):
        writer.offer(item)
    until(lambda: len(written) == 1000)
    writer.offer(1000)
    writer.close()
    assert written == list(range(1001))


def test_what_finds_no_room_is_dropped_and_counted_and_nobody_waits() -> None:
    stuck, written, dropped = threading.Event(), list[int](), list[int]()

    def write(items: Sequence[int]) -> None:
        stuck.wait()
        written.extend(items)

    writer = BackgroundWriter("test", write, dropped.append, most=10)
    writer.offer(0)
    until(lambda: not writer._items)
    for item in range(1, 31):
        writer.offer(item)
    assert sum(dropped) == 20
    stuck.set()
    writer.close()
    assert written == list(range(11))


def test_a_full_disk_is_said_once_and_so_is_that_it_works_again(caplog: pytest.LogCaptureFixture) -> None:
    full, written, dropped = True, list[int](), list[int]()

    def write(items: Sequence[int]) -> None:
        if full:
            raise OSError(28, "No space left on device")
        written.extend(items)

    writer = BackgroundWriter("the log", write, dropped.append)
    for item in range(3):
        writer.offer(item)
        until(lambda count=item + 1: sum(dropped) == count)  # type: ignore[misc]
    full = False
    writer.offer(3)
    until(lambda: written == [3])
    writer.close()
    assert caplog.text.count("No space left on device") == 1
    assert caplog.text.count("the log: can be written again") == 1
