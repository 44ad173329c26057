"""A sample of what was predicted, as JSON lines in a folder, for audits and for training on what callers send."""

import base64
import contextlib
import os
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from app import metrics
from app.background import BackgroundWriter
from app.imaging.render import png
from app.inference.metadata import Metadata
from app.inference.prediction import Scores, prediction
from app.settings import Settings

MOST_WAITING = 1_000
"""Predictions that wait for the thread; more are dropped and counted."""

NAME = "predictions-"


class NoFolder(Exception):
    """The folder for predictions cannot be written to. The message names it, and says why."""


class _Entry(NamedTuple):
    """One picture's prediction, as it is noted in the event loop."""

    time: float
    request_id: str
    position: int
    metadata: Metadata
    scores: Scores
    picture: NDArray[np.uint8] | None


class PredictionLog:
    """Writes a share of the predictions to the files of one folder, in a thread. Raises NoFolder where it is made."""

    def __init__(self, folder: Path, *, sample: float, pictures: bool, max_bytes: int, max_files: int) -> None:
        self._sample = sample
        self._pictures = pictures
        self._files = _Files(folder, max_bytes, max_files)
        drop = metrics.DROPPED_LINES.labels("predictions").inc
        self._writer = BackgroundWriter(f"predictions in {folder}", self._write, drop, MOST_WAITING)

    @classmethod
    def of(cls, settings: Settings) -> "PredictionLog | None":
        """What `settings` ask for, None if nothing is to be written. Raises NoFolder."""
        if settings.prediction_log is None:
            return None
        return cls(
            settings.prediction_log,
            sample=settings.prediction_log_sample,
            pictures=settings.prediction_log_pictures,
            max_bytes=settings.prediction_log_bytes,
            max_files=settings.prediction_log_files,
        )

    def offer(
        self, request_id: str, metadata: Metadata, pictures: Sequence[NDArray[np.uint8]], found: Sequence[Scores]
    ) -> None:
        """Leave one request's predictions to the thread, each with the probability of the sample; never waits.

        `pictures` are what the network received: of a prediction over several views these, the first of which is kept.
        """
        now = time.time()
        starts = accumulate((scores.views for scores in found), initial=0)
        for index, (start, scores) in enumerate(zip(starts, found, strict=False)):
            if self._sample == 1 or random.random() < self._sample:
                # A copy, for the picture may be a part of a whole request's body, which would be kept for it.
                kept = pictures[start].copy() if self._pictures else None
                self._writer.offer(_Entry(now, request_id, index, metadata, scores, kept))

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
        self._files.close()

    def _write(self, entries: Sequence[_Entry]) -> None:
        self._files.append([_line(entry) for entry in entries])


def _line(entry: _Entry) -> bytes:
    said = prediction(entry.scores, entry.metadata, 1)
    found = {
        "time": datetime.fromtimestamp(entry.time, UTC).isoformat(timespec="milliseconds"),
        "request_id": entry.request_id,
        "index": entry.position,
        "model": entry.metadata.name,
        "version": entry.metadata.version,
        **{name: said[name] for name in ("label", "probability", "ood_score", "is_ood")},
        "probabilities": entry.scores.probabilities,
    }
    if entry.picture is not None:
        found["picture"] = base64.b64encode(png(entry.picture)).decode()
    return orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE)


class _Files:
    """Files of at most `max_bytes` in a folder, which holds at most `max_files`: the oldest are removed."""

    def __init__(self, folder: Path, max_bytes: int, max_files: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._descriptor: int | None = None
        self._size = 0
        self._opened = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NoFolder(f"{folder}: cannot be made, for predictions ({error.strerror})") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise NoFolder(f"{folder}: predictions cannot be written to it (permission denied)")

    def append(self, lines: Sequence[bytes]) -> None:
        """Write whole lines. Raises OSError, and then no part of a line is left of those that were not written."""
        for line in lines:
            descriptor = self._current(len(line))
            try:
                rest = line
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, self._size)
                raise
            self._size += len(line)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _current(self, size: int) -> int:
        """The file for `size` more bytes: a new one if they would be too many, or if somebody has removed the last."""
        current = self._descriptor
        if current is not None and self._size + size <= self._max_bytes and os.fstat(current).st_nlink:
            return current
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._opened += 1
        began = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        path = self._folder / f"{NAME}{began}-{os.getpid()}-{self._opened:06d}.jsonl"
        self._descriptor, self._size = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o640), 0
        for old in sorted(self._folder.glob(f"{NAME}*.jsonl"))[: -self._max_files]:
            old.unlink(missing_ok=True)  # another process may have been faster
        return self._descriptor
