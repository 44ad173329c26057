"""Pictures to scores: read in order by one thread, decoded by several, inferred in batches, and given back in order.

At most a few chunks are in progress, each with as many pictures as a batch has, so memory does not grow with the input.
"""

import asyncio
import hashlib
import math
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from app import imaging, processors
from app.batch.errors import BatchError
from app.batch.sources import Picture
from app.deadline import Deadline
from app.errors import ConvoscopeError
from app.inference.network import Network
from app.inference.prediction import Scores, by_picture
from app.settings import Settings

CHUNK_BYTES = 16_000_000
"""Of encoded pictures that are read from an archive, after which a chunk ends."""


class Outcome(NamedTuple):
    """What became of one picture: its scores, or the reason why there are none."""

    name: str
    scores: Scores | None
    problem: str = ""


@dataclass(frozen=True)
class Chunk:
    """Pictures that follow each other."""

    pictures: Sequence[Picture]
    end: int
    """How many pictures there are up to its end, counted from the first of all."""
    names: str
    """The digest of their names."""


class Chunks(Iterator[Chunk]):
    """Cuts pictures into chunks of at most `size`. To be called by one thread."""

    def __init__(self, pictures: Iterator[Picture], size: int) -> None:
        self._pictures = pictures
        self._size = size
        self._digest = hashlib.sha256()
        self._end = 0

    def skip(self, count: int, names: str) -> None:
        """Pass over the pictures that are done. Raises BatchError if their names are not those of which `names` is."""
        for picture in self._pictures if count else ():
            self._note(picture)
            if self._end == count:
                break
        if count and (self._end < count or self.names != names):
            raise BatchError(
                f"the inputs have changed: the first {count} pictures are not those that were predicted before; "
                "expected the same files, or another --out"
            )

    @property
    def end(self) -> int:
        """How many pictures have been passed."""
        return self._end

    @property
    def names(self) -> str:
        """The digest of their names."""
        return self._digest.hexdigest()

    def __next__(self) -> Chunk:
        found: list[Picture] = []
        room = CHUNK_BYTES
        for picture in self._pictures:
            self._note(picture)
            if picture.at_once:
                picture, taken = _read(picture)
                room -= taken
            found.append(picture)
            if len(found) == self._size or room <= 0:
                break
        if not found:
            raise StopIteration
        return Chunk(found, self._end, self.names)

    def _note(self, picture: Picture) -> None:
        self._digest.update(f"{picture.name}\0{picture.size}\n".encode(errors="surrogateescape"))
        self._end += 1


class Predicting(Protocol):
    """Makes scores of pictures, in this process or elsewhere."""

    async def prepare(self) -> None: ...

    def outcomes(self, chunks: Chunks) -> AsyncGenerator[tuple[Chunk, list[Outcome]], None]: ...


class Pipeline:
    """Predicts with one network, of each picture up to `views` views."""

    def __init__(self, network: Network, settings: Settings, views: int = 1) -> None:
        self._network = network
        self._input = network.metadata.input
        self._max_pixels = settings.max_pixels
        self._views = views
        self._decoders = settings.threads or processors.usable()

    async def prepare(self) -> None:
        """Make the network ready. Raises ArtifactError."""
        await self._network.prepare()

    async def outcomes(self, chunks: Iterator[Chunk]) -> AsyncGenerator[tuple[Chunk, list[Outcome]], None]:
        """What became of each picture of each chunk, in order. The network must be ready."""
        loop, pending = asyncio.get_running_loop(), deque[asyncio.Task[list[Outcome]]]()
        waiting: deque[Chunk] = deque()
        with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(self._decoders, "decode") as decoders:
            try:
                more = True
                while more or pending:
                    while more and len(pending) < self._decoders + 4:
                        chunk = await loop.run_in_executor(reader, next, chunks, None)
                        more = chunk is not None
                        if chunk:
                            waiting.append(chunk)
                            pending.append(asyncio.create_task(self._predicted(chunk, decoders)))
                    if pending:
                        yield waiting.popleft(), await pending.popleft()
            finally:
                for task in pending:
                    task.cancel()
                with suppress(asyncio.CancelledError):
                    await asyncio.gather(*pending, return_exceptions=True)

    async def _predicted(self, chunk: Chunk, decoders: ThreadPoolExecutor) -> list[Outcome]:
        decoded = await asyncio.get_running_loop().run_in_executor(decoders, self._decoded, chunk)
        arrays = [view for views in decoded if not isinstance(views, str) for view in views]
        counts = [len(views) for views in decoded if not isinstance(views, str)]
        scores: Iterator[Scores] = iter(())
        if arrays:
            answer = await self._network.submit(arrays, Deadline(math.inf), lambda: False)
            scores = iter(by_picture(answer.results, counts) if self._views > 1 else answer.results)
        return [
            Outcome(picture.name, None, views) if isinstance(views, str) else Outcome(picture.name, next(scores))
            for picture, views in zip(chunk.pictures, decoded, strict=True)
        ]

    def _decoded(self, chunk: Chunk) -> "list[Sequence[NDArray[np.uint8]] | str]":
        """The views of each picture, as the network receives them, or what is wrong with it."""
        return [self._views_of(picture) for picture in chunk.pictures]

    def _views_of(self, picture: Picture) -> "Sequence[NDArray[np.uint8]] | str":
        try:
            data = picture.read()
            if self._views == 1:
                return [imaging.thumbnail(data, self._input, max_pixels=self._max_pixels)]
            return list(imaging.views(data, self._input, self._views, max_pixels=self._max_pixels))
        except ConvoscopeError as error:
            return error.detail
        except OSError as error:
            return error.strerror or str(error)
        except MemoryError:
            return "there is not enough memory for this picture"


def _read(picture: Picture) -> tuple[Picture, int]:
    """The same picture with its bytes, or with the reason why it has none; and how many bytes it holds."""
    try:
        data = picture.read()
    except (ConvoscopeError, OSError) as error:
        return picture._replace(read=partial(_fail, error)), 0
    return picture._replace(read=partial(bytes, data)), len(data)


def _fail(error: Exception) -> NoReturn:
    raise error
