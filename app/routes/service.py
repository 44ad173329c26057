"""What the routes of one process share: the settings, the registry of networks, and the threads that work for them."""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

from fastapi import Request

from app.compute import ComputePool, Work
from app.deadline import Deadline
from app.errors import TooLarge
from app.inference.metadata import Input
from app.inference.network import Network, Pictures
from app.inference.prediction import Scores
from app.inference.registry import Registry
from app.routes.http import header
from app.routes.prediction_log import PredictionLog
from app.settings import Settings
from app.wire import pictures
from app.wire.pictures import Received

Result = TypeVar("Result")

SMALL_BODY = 16_384
"""Bytes."""

SMALL_PICTURE = 64 * 64
"""Pixels."""

ARRAY = "application/x-npy"
SMALL_ARRAY = 1_000_000
"""Bytes of pictures that need no decoding, only a look at their header, for a network that takes small ones."""

STOP = 0.5
"""Seconds that jobs get to reach their next checkpoint when the service stops."""


class Service:
    """Started and closed by the application's lifespan."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        prediction_log: PredictionLog | None = None,
        *,
        traced: bool = False,
    ) -> None:
        """Needs a running event loop."""
        self.settings = settings
        self.registry = registry
        self._prediction_log = prediction_log
        self._small = settings.model_copy(
            update={"max_pixels": min(SMALL_PICTURE, settings.max_pixels), "max_pictures": 1}
        )
        self._with_pixels = lru_cache(maxsize=16)(lambda most: settings.model_copy(update={"max_pixels": most}))
        self.takes_notes = traced or settings.access_log == "on" or prediction_log is not None
        """Whether anything wants to know what was predicted; see `note`."""

        share = settings.client_share
        self._decoding = ComputePool("decode", settings.max_queue, share=share)
        self._computing = ComputePool("compute", settings.max_jobs, share=share, polite=True)

    async def start(self) -> None:
        """Compile the default network, and follow what changes under models/. Raises ArtifactError."""
        await self.registry.start()

    def network(self, name: str | None) -> Network:
        """The network that a request names, or the default for None. Raises NotFound, Unavailable."""
        return self.registry.find(name)

    def note(self, request: Request, network: Network, pictures: Pictures, found: Sequence[Scores]) -> None:
        """Leave what was predicted for `request` to the logs and the trace."""
        request.scope["state"].update(model=network.metadata.name, pictures=len(found))
        if self._prediction_log:
            self._prediction_log.offer(request.scope["state"]["request_id"], network.metadata, pictures, found)

    def deadline(self) -> Deadline:
        """The deadline of a request whose body is complete; every step of its answer shares it.

        How long the client takes to send its body is limited by `read_timeout`, and is not the answer's delay.
        """
        return Deadline(self.settings.deadline)

    def describe_models(self) -> list[str]:
        """For the log: `name@version precision digest` of each network, the default first."""
        networks = sorted(self.registry.networks, key=lambda network: not self.registry.is_default(network))
        return [f"{one.metadata.name}@{one.metadata.version} {one.precision} {one.digest[:12]}" for one in networks]

    def reject_without_room(self, request: Request) -> None:
        """Raise Overloaded if `compute` would not admit this request now: to be asked before its body is read."""
        self._computing.reject_without_room(client_of(request))

    async def compute(self, request: Request, deadline: Deadline, work: Work[Result]) -> Result:
        """What `work(checkpoint)` returns, called in a thread of the pool that all computing routes share.

        To be called when the request's body has been read; a request may call it several times. `work` must call
        `checkpoint()` between steps that take less than a second each. The checkpoint raises DeadlineExceeded,
        ClientDisconnected or Draining when nobody waits for the result any more, and `work` lets it pass.

        This coroutine raises DeadlineExceeded as soon as the deadline passes, and ClientDisconnected as soon as the
        client disconnects: work that has not begun is then dropped. Work that has begun counts against the limits
        until its thread has really ended with it. Raises Overloaded where the pool, or this client's share of it
        (`client_share`), has no room; and whatever `work` raises.
        """
        leaving = asyncio.ensure_future(_disconnect(request))
        try:
            return await self._computing.run(work, deadline, client_of(request), leaving)
        finally:
            leaving.cancel()

    async def received(
        self, request: Request, body: bytes, input: Input, deadline: Deadline, views: int = 1
    ) -> Received:
        """The pictures of a request's body, as the network with that input receives them, and the fields of a form.

        With `views`, up to so many views of each picture, which are always cut in a thread.

        A small one is decoded at once, which takes less time than handing it to a thread would. A small body whose
        picture turns out to be large, and any other body, is decoded in a thread. Raises Overloaded, DeadlineExceeded,
        ClientDisconnected and what `pictures.received` raises.
        """
        content_type = header(request.scope, b"content-type")
        if views == 1 and self.is_small(content_type, len(body), input):
            try:
                return self.small_pictures(content_type, body, input)
            except TooLarge:  # for the event loop; a thread decides whether it is too large for the settings
                pass
        return await self.decode(
            request,
            deadline,
            lambda checkpoint: pictures.received(content_type, body, input, self.settings, checkpoint, views),
        )

    async def decode(self, request: Request, deadline: Deadline, work: Work[Result]) -> Result:
        """The same as `compute`, in the threads that decode pictures for predictions."""
        leaving = asyncio.ensure_future(_disconnect(request))
        try:
            return await self._decoding.run(work, deadline, client_of(request), leaving)
        finally:
            leaving.cancel()

    @property
    def small(self) -> Settings:
        """The settings under which a small body may be decoded in the event loop; beyond them TooLarge is raised."""
        return self._small

    def is_small(self, content_type: str, size: int, input: Input) -> bool:
        """Whether a body of `size` bytes may be decoded in the event loop."""
        limit = SMALL_ARRAY if content_type == ARRAY and input.size**2 <= SMALL_PICTURE else SMALL_BODY
        return size <= min(limit, self.settings.max_body)

    def small_pictures(self, content_type: str, body: bytes, input: Input) -> Received:
        """The pictures of a body that `is_small`, decoded at once.

        Raises what `pictures.received` raises, and TooLarge for pictures that are too large for the event loop.
        """
        settings = self._small
        if content_type == ARRAY:  # of several pictures, which must not have to be reduced here
            most = min(input.size**2, SMALL_PICTURE, self.settings.max_pixels)
            settings = self._with_pixels(most)
        return pictures.received(content_type, body, input, settings)

    async def close(self) -> int:
        """Stop within about a second; returns how many jobs did not, and still run in their threads."""
        await asyncio.wait([asyncio.ensure_future(self.registry.close())], timeout=STOP)
        return sum(await asyncio.gather(self._decoding.close(STOP), self._computing.close(STOP)))


def client_of(request: Request) -> str:
    """The client that a request counts for: its address."""
    return request.client.host if request.client else "unknown"


async def _disconnect(request: Request) -> None:
    """Return once the client has disconnected. The request's body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
