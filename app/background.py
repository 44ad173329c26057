"""A thread that writes what the event loop leaves to it, so that no request waits for a disk or a pipe."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")

PAUSE = 0.1
"""Seconds for which items are collected: a write for many costs a fraction of a write for each."""

LONGEST_CLOSE = 2.0
"""Seconds that the thread gets for what is left at the end."""

logger = logging.getLogger(__name__)


class BackgroundWriter(Generic[Item]):
    """Calls `write` with the items that have been offered since the last call, in a thread of its own.

    Where `write` is slower than the offers, items beyond `most` are dropped; where it raises OSError, all of that call
    are. Both are counted by `drop`, and the first failure of a row of them is logged.
    """

    def __init__(
        self, name: str, write: Callable[[Sequence[Item]], None], drop: Callable[[int], None], most: int = 10_000
    ) -> None:
        self._name = name
        self._write = write
        self._drop = drop
        self._most = most
        self._items: deque[Item] = deque()
        self._offered = threading.Event()
        self._closing = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, item: Item) -> None:
        """Queue an item for the thread without waiting; it is dropped, and counted, where the queue is full."""
        if len(self._items) >= self._most:
            self._drop(1)
            return
        self._items.append(item)
        if not self._offered.is_set():
            self._offered.set()

    def close(self) -> None:
        """Write what is left, and end the thread."""
        self._closing.set()
        self._offered.set()
        self._thread.join(LONGEST_CLOSE)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._offered.wait()
            self._closing.wait(PAUSE)
            self._offered.clear()
            self._write_all()
        self._write_all()

    def _write_all(self) -> None:
        items = [self._items.popleft() for _ in range(len(self._items))]
        if not items:
            return
        try:
            self._write(items)
        except OSError as error:
            self._drop(len(items))
            if not self._failing:
                logger.error("%s: cannot be written (%s); what comes is dropped and counted", self._name, error)
            self._failing = True
        except Exception:  # a mistake of ours must not end the thread
            self._drop(len(items))
            logger.exception("%s: %d items could not be written", self._name, len(items))
        else:
            if self._failing:
                logger.warning("%s: can be written again", self._name)
            self._failing = False
