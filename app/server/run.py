"""Runs uvicorn: starting, and stopping on a signal once the in-flight requests are finished."""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app import __version__, processors
from app.inference.registry import Registry
from app.routes.service import Service
from app.server import logs, memory, processes
from app.server.in_flight import InFlight
from app.server.keys import Keys
from app.server.listening import address, listening
from app.server.origins import is_loopback
from app.server.protocol import Protocol
from app.settings import Settings

logger = logging.getLogger(__name__)

GRACE = 1.9
"""Seconds after the drain when the process ends even if a thread or the event loop does not."""

LAST_REQUESTS = 0.5
"""Seconds in which clients that have connected before listening ends may still send a request; they get 503."""

SENDING = 0.3
"""Seconds that remain after the drain for answers that are still being sent."""

CreateApp = Callable[[Settings], FastAPI]
"""`app.main.create_app`. It is passed in, because this room may not import `app.main`."""


class _Server(uvicorn.Server):
    """On SIGTERM or SIGINT: readiness fails, new requests get 503, in-flight requests are finished, then it stops.

    A second SIGINT abandons the in-flight requests. In any case the process ends GRACE seconds after the drain.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, settings: Settings) -> None:
        super().__init__(config)
        self._app = app
        self._in_flight: InFlight = app.state.in_flight
        self._settings = settings
        self._impatient = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._in_flight.draining = True
        if not self.should_exit:
            watchdog = threading.Timer(self._settings.drain + GRACE, _exit)
            watchdog.daemon = True
            watchdog.start()
        if self.should_exit and sig == signal.SIGINT:
            self._impatient = True  # instead of uvicorn's `force_exit`, which would leave the application running
        else:
            super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        memory.settle()
        self._trimming = asyncio.create_task(memory.keep_trimmed(lambda: self._in_flight.requests > 0))
        for listener in sockets or ():
            if self._settings.workers == 1:
                _greet(self._settings, address(listener))
            _log_start(self._app.state.service, address(listener))

    async def main_loop(self) -> None:
        await super().main_loop()
        draining = asyncio.create_task(self._in_flight.drain(self._settings.drain))
        while not draining.done():
            if self._impatient:
                self._in_flight.give_up()
            await asyncio.wait([draining], timeout=0.1)
        # For answers still being sent. uvicorn passes it to `asyncio.wait_for`, which accepts fractions of a second.
        self.config.timeout_graceful_shutdown = max(SENDING, draining.result())  # type: ignore[assignment]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._trimming.cancel()
        await self._accept_the_last(sockets or [])
        # uvicorn closes every connection without a request in progress, also one whose first request is on its way.
        until = time.monotonic() + LAST_REQUESTS
        while self.server_state.connections and time.monotonic() < until and not self._impatient:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
        if self._in_flight.left_behind:  # Python would wait for their threads to end
            _exit()

    async def _accept_the_last(self, listeners: Sequence[socket.socket]) -> None:
        """Stop listening. The kernel resets what no process has accepted by then, so every connection is accepted."""
        accepted = []
        for listener in listeners:
            with suppress(OSError):  # at the latest BlockingIOError, when no connection is left
                while True:
                    accepted.append(listener.accept()[0])
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for connection in accepted:
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        return Protocol(self.config, self.server_state, self.lifespan.state)


def serve(settings: Settings, create_app: CreateApp) -> None:
    """Serve until told to stop, then exit with 0. `create_app` must be picklable.

    Raises ArtifactError, BadKeys or AddressInUse before anything is served.
    """
    logs.configure(settings)
    with listening(settings) as listener:
        warn_if_open(settings)
        if settings.workers == 1:
            _serve(create_app, settings, listener)
            return
        # Report bad artifacts or keys once, here, and not in every worker.
        Registry(settings)
        Keys.of(settings)
        share = settings.threads or max(1, processors.usable() // settings.workers)
        one = settings.model_copy(update={"threads": share})
        listener.listen(processes.BACKLOG)
        _exit_on_signals()
        _greet(settings, f"{address(listener)} in {settings.workers} processes")
        processes.supervise(partial(_serve, create_app, one), listener, settings.workers, settings.drain + GRACE)


def warn_if_open(settings: Settings) -> None:
    """Say so where anybody could use the service."""
    if not (settings.uds or is_loopback(settings.host) or settings.api_keys or settings.api_keys_file):
        message = "other computers reach %s, and no API keys are set: anybody may use it (docs/how-to/operate.md)"
        logger.warning(message, settings.host)


def _serve(create_app: CreateApp, settings: Settings, listener: socket.socket) -> None:
    logs.configure(settings)  # again, because a worker is a new process
    memory.share_one_arena()
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        timeout_keep_alive=settings.keep_alive,  # type: ignore[arg-type]  # goes to `loop.call_later`
        log_config=None,  # its loggers use our handlers
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # `ProxyHeaders` does that
        server_header=False,
    )
    _exit_on_signals()  # uvicorn raises the signal again once it has shut down
    _Server(config, app, settings).run(sockets=[listener])


def _exit_on_signals() -> None:
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: sys.exit(0))


def _exit() -> None:
    """End the process at once, even if threads still run."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


def _greet(settings: Settings, where: str) -> None:
    """Print the address for a person at a terminal; with `log_format` json, the log has it."""
    if settings.log_format == "text":
        print(f"Convoscope on {where}, stop with Ctrl-C", flush=True)


def _log_start(service: Service, where: str) -> None:
    settings = service.settings
    limits = {name: getattr(settings, name) for name in ("threads", "max_batch", "max_queue", "deadline", "rate_limit")}
    values = logs.with_fields(
        version=__version__, address=where, pid=os.getpid(), models=service.describe_models(), **limits
    )
    logger.info("serving", extra=values)
