"""The pictures as a network of one size receives them, in one file on disk: memory holds no more than a batch."""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import app.imaging as imaging
from app import processors
from app.errors import ConvoscopeError
from app.inference.metadata import Input
from training.own.errors import OwnPicturesError
from training.own.listing import Entry, Listing, Skipped

LARGEST = 200_000_000
"""Bytes of a file that is read."""

Images = NDArray[np.uint8]


class Store:
    """N pictures (side, side, 3) uint8 RGB in a file, read where they are wanted. A context manager.

    They are read, not mapped: pages that were touched once would count as this process's memory.
    """

    def __init__(self, path: Path, side: int) -> None:
        self.side = side
        self._file = path.open("rb")
        self._bytes = side * side * 3

    def __getitem__(self, chosen: NDArray[np.integer] | Sequence[int]) -> Images:
        """The pictures of these numbers, (len(chosen), side, side, 3)."""
        pictures = np.empty((len(chosen), self.side, self.side, 3), np.uint8)
        for picture, number in zip(pictures, chosen, strict=True):
            content = os.pread(self._file.fileno(), self._bytes, int(number) * self._bytes)
            picture[:] = np.frombuffer(content, np.uint8).reshape(picture.shape)
        return pictures

    def batches(self, chosen: NDArray[np.integer], size: int = 256) -> Iterator[Images]:
        """The pictures of these numbers, in order, `size` at a time."""
        for start in range(0, len(chosen), size):
            yield self[chosen[start : start + size]]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


@dataclass(frozen=True)
class Kept:
    """What was read: `entries` whose pictures are in the file at `path`, in its order, each with the SHA-256 of its
    bytes in `digests`; and the files that were left out."""

    path: Path
    side: int
    entries: tuple[Entry, ...]
    digests: tuple[str, ...]
    skipped: tuple[Skipped, ...]

    @property
    def labels(self) -> NDArray[np.int64]:
        """The position of each picture's label, (N,)."""
        return np.array([entry.label for entry in self.entries], np.int64)

    def open(self) -> Store:
        return Store(self.path, self.side)


def keep(listing: Listing, side: int, folder: Path) -> Kept:
    """Read every picture that can be read, as the service would, into a file in `folder`.

    A file of an earlier call is used again where names, sizes and times of all pictures are the same. Raises
    OwnPicturesError where nothing can be written, or a label has no picture that can be read.
    """
    path, index = folder / f"pictures-{side}.bin", folder / f"pictures-{side}.json"
    wanted = [_state(listing, entry) for entry in listing.entries]
    outcomes = _earlier(path, index, wanted, side)
    if outcomes is None:
        outcomes = _read_all(listing, side, path)
        _write(index, {"pictures": wanted, "outcomes": outcomes})
    pairs = list(zip(listing.entries, outcomes, strict=True))
    kept = [(entry, outcome["sha256"]) for entry, outcome in pairs if "sha256" in outcome]
    left = [Skipped(listing.name(entry), outcome["reason"]) for entry, outcome in pairs if "reason" in outcome]
    _check_labels(listing, [outcome.get("reason") for outcome in outcomes])
    return Kept(
        path,
        side,
        tuple(entry for entry, _ in kept),
        tuple(digest for _, digest in kept),
        (*listing.skipped, *left),
    )


def _check_labels(listing: Listing, reasons: Sequence[str | None]) -> None:
    """`reasons` say of each entry why it is not there. Raises OwnPicturesError for a label that has no other."""
    whole = {entry.label for entry, reason in zip(listing.entries, reasons, strict=True) if reason is None}
    for entry, reason in zip(listing.entries, reasons, strict=True):
        if entry.label not in whole:
            raise OwnPicturesError(
                f"{listing.root}: no picture of the label {listing.labels[entry.label]!r} can be read; "
                f"{listing.name(entry)}: {reason}"
            )


def _state(listing: Listing, entry: Entry) -> list[Any]:
    """What changes when the file does."""
    try:
        found = entry.path.stat()
    except OSError:
        return [listing.name(entry)]
    return [listing.name(entry), found.st_size, found.st_mtime_ns]


def _earlier(path: Path, index: Path, wanted: list[list[Any]], side: int) -> list[dict[str, str]] | None:
    try:
        found = json.loads(index.read_bytes())
        outcomes: list[dict[str, str]] = found["outcomes"]
        count = sum("sha256" in outcome for outcome in outcomes)
        same = found["pictures"] == wanted and path.stat().st_size == count * side * side * 3
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return outcomes if same else None


def _read_all(listing: Listing, side: int, path: Path) -> list[dict[str, str]]:
    outcomes = []
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file, ThreadPoolExecutor(processors.usable()) as pool:
            bar = _Progress(len(listing.entries))
            entries = iter(listing.entries)
            while some := list(islice(entries, 256)):  # a few at a time, so that no more wait in memory
                for outcome, picture in pool.map(lambda entry: _read(entry, side), some):
                    outcomes.append(outcome)
                    if picture is not None:
                        file.write(picture.tobytes())
                bar.show(len(outcomes))
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OwnPicturesError(f"{path}: cannot be written ({error.strerror})") from error
    return outcomes


class _Progress:
    """How many pictures are read, on a terminal's one line."""

    def __init__(self, count: int) -> None:
        self._count, self._shown = count, time.monotonic()

    def show(self, done: int) -> None:
        now = time.monotonic()
        if sys.stdout.isatty() and (now - self._shown > 0.5 or done == self._count):
            self._shown = now
            print(
                f"\rreading {done:,} of {self._count:,} pictures", end="\n" if done == self._count else "", flush=True
            )


def _read(entry: Entry, side: int) -> tuple[dict[str, str], Images | None]:
    """The picture as a network receives it and the SHA-256 of its file, or why there is none."""
    try:
        size = entry.path.stat().st_size
        if not size:
            return {"reason": "an empty file (0 bytes)"}, None
        if size > LARGEST:
            return {"reason": f"{size:,} bytes; expected at most {LARGEST:,}"}, None
        content = entry.path.read_bytes()
        return {"sha256": hashlib.sha256(content).hexdigest()}, imaging.thumbnail(content, Input(size=side))
    except ConvoscopeError as error:
        return {"reason": str(error)}, None
    except OSError as error:
        return {"reason": f"cannot be read ({error.strerror})"}, None
    except MemoryError:
        return {"reason": "too large for the memory"}, None


def _write(path: Path, content: Any) -> None:
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(json.dumps(content))
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OwnPicturesError(f"{path}: cannot be written ({error.strerror})") from error
