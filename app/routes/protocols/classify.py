"""What every adapter does between its protocol's request and its answer: the way of /predict, limits and all."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from fastapi import Request

from app.deadline import Checkpoint, Deadline, unbounded
from app.errors import TooLarge
from app.inference.metadata import Input
from app.inference.network import Network
from app.inference.prediction import Scores
from app.routes.http import has_left, header, timing, whole_body
from app.routes.service import Service
from app.settings import Settings
from app.wire import coding
from app.wire.pictures import Pictures

Asked = TypeVar("Asked")
Read = Callable[[bytes, Settings, Checkpoint], tuple[Pictures, Asked]]
"""Reads a body to its pictures and to whatever else was asked for. Runs in a thread unless the body is small."""


@dataclass(frozen=True, slots=True)
class Classified(Generic[Asked]):
    """The scores of a request's pictures, in their order."""

    asked: Asked
    scores: Sequence[Scores]
    headers: dict[str, str]


def served(request: Request, name: str | None, version: str | None = None) -> Network:
    """The network a path names, or the default for None. Raises NotFound, also for a version that is not served."""
    service: Service = request.app.state.service
    return service.network(name if version is None else f"{name}@{version}")


async def classify(request: Request, network: Network, read: Read[Asked]) -> Classified[Asked]:
    """Read a request's body with `read` and classify its pictures.

    A body may be compressed; `max_body` and `max_bodies` count before and after. Raises what `read` raises,
    TooLarge, Overloaded, DeadlineExceeded, ClientDisconnected.
    """
    service: Service = request.app.state.service
    network.reject_without_room()
    body = await whole_body(request, service.settings.max_body)
    deadline = service.deadline()
    received = time.perf_counter()
    pictures, asked = await _read(request, service, body, network.metadata.input, deadline, read)
    decoded = time.perf_counter()
    answer = await network.scores(pictures, deadline, lambda: has_left(request.receive))
    if service.takes_notes:
        service.note(request, network, pictures, answer.results)
    steps = timing(decode=decoded - received, queue=answer.queued, infer=answer.ran)
    return Classified(asked, answer.results, {"Server-Timing": steps})


async def _read(
    request: Request, service: Service, body: bytes, input: Input, deadline: Deadline, read: Read[Asked]
) -> tuple[Pictures, Asked]:
    """Read a small body at once, and any other in a thread."""
    compressed = header(request.scope, b"content-encoding")
    if not compressed and service.is_small("", len(body), input):
        try:
            return read(body, service.small, unbounded)
        except TooLarge:  # for the event loop; a thread decides whether it is too large for the settings
            pass
    limit, in_flight = service.settings.max_body, request.app.state.in_flight

    def work(checkpoint: Checkpoint) -> tuple[Pictures, Asked]:
        with in_flight.inflating() as hold:
            content = coding.decoded(body, compressed, limit, hold)
            checkpoint()
            return read(content, service.settings, checkpoint)

    return await service.decode(request, deadline, work)
