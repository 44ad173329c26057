"""Several worker processes that serve one address, each with its own networks and event loop.

The Python code of one process uses one core; the engine uses the others. If that core is the bottleneck, run several
workers: the kernel hands each new connection to a worker that is waiting for one. Each worker writes its metrics to
files, and whichever worker is asked for /metrics adds them up.
"""

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from prometheus_client import multiprocess

from app.metrics import METRICS

logger = logging.getLogger(__name__)

SPAWN = multiprocessing.get_context("spawn")  # a forked process would inherit locks that other threads hold
BACKLOG = 2048
"""The most connections that wait to be accepted; the same as uvicorn's default."""

PREFIX = "convoscope-metrics-"

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a dead worker is replaced. Each further death within WITHIN seconds doubles them."""

MOST_DEATHS, WITHIN = 8, 60.0
"""With so many deaths of workers within so many seconds, the supervisor gives up."""

ROOM_PER_WORKER = 4 * 2**20
"""Bytes that a worker's metrics may take. They are memory-mapped files: on a full disk, SIGBUS ends the worker."""


class NowhereToCount(Exception):
    """No folder has room for the workers' metrics; the message says what to do."""


Work = Callable[[socket.socket], None]


def supervise(work: Work, listener: socket.socket, count: int, patience: float) -> None:
    """Run `work`, which serves `listener`, in `count` processes until SIGTERM or SIGINT; then exit with code 0.

    `listener` must listen already, so that no client that comes before the first worker is rejected. `work` must be
    picklable. A worker that dies is replaced, after a pause that grows with each death; after MOST_DEATHS within a
    minute the supervisor stops all workers, says why, and exits with code 1. A worker that exits by itself with a
    code, as for a damaged artifact, ends them all with that code. Workers that have not stopped `patience` seconds
    after the signal are killed. Raises NowhereToCount.
    """
    with _metrics_folder(count) as folder:
        os.environ[METRICS] = folder
        code = _Supervisor(work, listener, count, patience).run()
    sys.exit(code)


class _Supervisor:
    """Starts the workers, replaces those that die, and stops them all."""

    def __init__(self, work: Work, listener: socket.socket, count: int, patience: float) -> None:
        self._work = work
        self._listener = listener
        self._patience = patience
        self._stop_by: float | None = None
        self._code = 0
        self._deaths: deque[float] = deque(maxlen=MOST_DEATHS)
        self._workers: list[BaseProcess] = []
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, lambda *_: self._stop(0))
        for _ in range(count):
            self._start()

    def run(self) -> int:
        """Wait until all workers have ended; returns the exit code."""
        while self._workers:
            left = None if self._stop_by is None else self._stop_by - time.monotonic()
            if left is not None and left <= 0:
                for worker in self._workers:
                    worker.kill()
                left = None
            wait([worker.sentinel for worker in self._workers], left)
            for worker in [worker for worker in self._workers if worker.exitcode is not None]:
                self._ended(worker)
        return self._code

    def _start(self) -> None:
        try:
            listener = self._listener.dup()  # a signal closes the other, which may be while this one is handed over
        except OSError:
            if self._stop_by is None:
                raise
            return
        with listener:
            self._workers.append(_started(self._work, listener))
        if self._stop_by is not None:  # the signal came while it started
            self._workers[-1].terminate()

    def _stop(self, code: int) -> None:
        """Tell all workers to stop and close the listener here. The workers finish their in-flight requests."""
        self._code = self._code or code
        self._stop_by = self._stop_by or time.monotonic() + self._patience
        self._listener.close()
        for worker in self._workers:
            worker.terminate()

    def _ended(self, worker: BaseProcess) -> None:
        self._workers.remove(worker)
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
        if self._stop_by is not None:
            return
        if worker.exitcode and worker.exitcode > 0:
            self._stop(worker.exitcode)
            return
        self._deaths.append(time.monotonic())
        recent = sum(time.monotonic() - death < WITHIN for death in self._deaths)
        how = _name(worker.exitcode)
        if recent == MOST_DEATHS:
            logger.error("worker %s was ended by %s, the %dth within a minute: giving up", worker.pid, how, recent)
            self._stop(1)
            return
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (recent - 1))
        logger.error("worker %s was ended by %s; another starts in %g s", worker.pid, how, pause)
        time.sleep(pause)
        self._start()


def _name(code: int | None) -> str:
    """The signal that ended a process with this exit code; for SIGBUS, also its usual cause."""
    if not code:
        return "itself"
    name = signal.Signals(-code).name
    full = f" (no room left in {tempfile.gettempdir()} for metrics?)" if name == "SIGBUS" else ""
    return name + full


@contextmanager
def _metrics_folder(count: int) -> Iterator[str]:
    """A new folder for the metrics of `count` workers. Folders that killed supervisors left behind are removed."""
    remove_abandoned(Path(tempfile.gettempdir()))
    try:
        with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as folder:
            free = shutil.disk_usage(folder).free
            if free < count * ROOM_PER_WORKER:
                needed = f"expected at least {count * ROOM_PER_WORKER} bytes free for {count} workers' metrics"
                raise NowhereToCount(f"{folder} is on a disk with {free} bytes free; {needed} (TMPDIR names another)")
            yield folder
    except OSError as error:
        raise NowhereToCount(f"several workers need a folder to count in, such as a writable /tmp ({error})") from error


def remove_abandoned(folder: Path) -> None:
    """Remove the metrics folders in `folder` whose supervisor no longer runs."""
    for path in folder.glob(f"{PREFIX}*-*"):
        pid = path.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(path, ignore_errors=True)  # a folder of another user stays


def _started(work: Work, listener: socket.socket) -> BaseProcess:
    worker = SPAWN.Process(target=_run, args=(work, listener))
    worker.start()
    return worker


def _run(work: Work, listener: socket.socket) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work(listener)


def _end_with_parent() -> None:
    """Stop this worker when its supervisor is killed; it would otherwise keep serving, and keep the address in use."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
