"""Several processes that serve one address, each with networks and an event loop of its own; they share nothing.

A single process answers with one core besides the engine's. Where that is too little, the kernel hands each new
connection to whichever process is free. Metrics are counted in files that every process adds up when it is asked.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType

from prometheus_client import multiprocess

from app.metrics import METRICS

logger = logging.getLogger(__name__)

SPAWN = multiprocessing.get_context("spawn")  # a fork would copy threads' locks
BACKLOG = 2048
"""Connections that wait to be accepted; uvicorn's own number."""


class NowhereToCount(Exception):
    """There is no folder for the files in which several processes count; the message says what to do."""


Work = Callable[[socket.socket], None]


def supervise(work: Work, listener: socket.socket, count: int) -> None:
    """Run `work`, which serves `listener`, in `count` processes until SIGTERM or SIGINT; then end with exit code 0.

    `listener` is to listen already, so that nobody who comes before the first worker is refused.
    `work` must be picklable. A process that dies is replaced; one that ends by itself with an exit code, as where an
    artifact is damaged, ends them all with that code. Raises NowhereToCount.
    """
    with _metrics_folder() as folder:
        os.environ[METRICS] = folder
        workers = [_started(work, listener) for _ in range(count)]
        stopping = False

        def stop(sig: int, frame: FrameType | None) -> None:
            nonlocal stopping
            stopping = True
            for worker in workers:
                worker.terminate()

        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, stop)
        code = 0
        while workers:
            wait([worker.sentinel for worker in workers])
            for worker in [worker for worker in workers if worker.exitcode is not None]:
                workers.remove(worker)
                multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
                if stopping:
                    continue
                if worker.exitcode and worker.exitcode > 0:
                    code = worker.exitcode
                    stop(signal.SIGTERM, None)
                else:
                    logger.error("worker %s died with %s and is replaced", worker.pid, worker.exitcode)
                    workers.append(_started(work, listener))
                    if stopping:  # since it was asked above
                        workers[-1].terminate()
    sys.exit(code)


def _metrics_folder() -> "tempfile.TemporaryDirectory[str]":
    try:
        return tempfile.TemporaryDirectory(prefix="convoscope-metrics-")
    except OSError as error:
        raise NowhereToCount(f"several workers need a folder to count in, such as a writable /tmp ({error})") from error


def _started(work: Work, listener: socket.socket) -> BaseProcess:
    worker = SPAWN.Process(target=_run, args=(work, listener))
    worker.start()
    return worker


def _run(work: Work, listener: socket.socket) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work(listener)


def _end_with_parent() -> None:
    """A worker whose supervisor was killed would serve on, unseen, and keep the address."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
