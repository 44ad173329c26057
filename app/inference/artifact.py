"""One folder of an artifact: read, verified by digest, and kept readable after it has been replaced."""

import hashlib
import os
import re
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from app.errors import ArtifactError, NotFound, one_of
from app.inference.metadata import FileName, Metadata, PrecisionName

METADATA = "metadata.json"
PINNED = "pinned"
"""A file in the folder of a network with several versions: it names the version to serve by default."""

SERVED: tuple[FileName, ...] = ("model.onnx", "model.int8.onnx")
"""The files that must match their digests. The model card may change, and the checkpoint may be left out."""

Signature = tuple[tuple[int, int, int] | None, ...]
"""Of METADATA and of each of SERVED: when it was modified, its size and its inode; None where it is missing."""


def graph_file(precision: PrecisionName) -> FileName:
    """The file that has the network for this precision."""
    return "model.int8.onnx" if precision == "int8" else "model.onnx"


class Place(NamedTuple):
    """Where an artifact lies: `models/<name>`, or `models/<name>/<version>` with versions side by side."""

    name: str
    version: str = ""
    """The name of its folder, if it has one of its own."""

    def within(self, models: Path) -> Path:
        """Its folder."""
        return models / self.name / self.version if self.version else models / self.name

    def __str__(self) -> str:
        return f"{self.name}/{self.version}" if self.version else self.name


@dataclass(frozen=True)
class Artifact:
    """One verified folder under models/."""

    folder: Path
    metadata: Metadata
    kept: "Kept" = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.metadata.name

    def graph(self, precision: PrecisionName = "float32") -> Path | bytes:
        """What to compile for `precision`, verified again: long after the start the file may have been replaced.

        Its path, or its content where another file has taken the path. Raises ArtifactError.
        """
        name = graph_file(precision)
        expected = self.metadata.files[name]
        try:
            return verified(self.folder / name, expected)
        except ArtifactError:
            content = self.kept.read(name)
            if hashlib.sha256(content).hexdigest() != expected:
                raise
            return content

    def file(self, name: str) -> bytes:
        """The content of a file that metadata.json lists. Raises NotFound, and ArtifactError if it has changed."""
        if name not in self.metadata.files:
            shown = [found for found in self.metadata.files if not found.startswith("model.")]
            raise NotFound.about("file", f"{self.name} has no file {name!r:.80}; expected {one_of(shown)}")
        return verified(self.folder / name, self.metadata.files[name]).read_bytes()


class Kept:
    """Open files, which can be read when the folder that they were in has been removed or replaced by another."""

    def __init__(self, folder: Path, names: tuple[FileName, ...]) -> None:
        """Raises OSError."""
        self._opened = {name: os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC) for name in names}
        for descriptor in self._opened.values():
            weakref.finalize(self, os.close, descriptor)

    def read(self, name: FileName) -> bytes:
        """All of a file."""
        descriptor = self._opened[name]
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def places(models: Path) -> Iterator[Place]:
    """Where there is an artifact, sorted. A hidden folder is one that is being written."""
    for folder in sorted(models.glob("[!.]*")):
        if (folder / METADATA).exists():
            yield Place(folder.name)
        yield from (Place(folder.name, path.parent.name) for path in sorted(folder.glob(f"[!.]*/{METADATA}")))


def signature(folder: Path) -> Signature:
    """What differs once a file has changed; cheap enough to be asked for again and again."""
    found: list[tuple[int, int, int] | None] = []
    for name in (METADATA, *SERVED):
        try:
            about = os.stat(folder / name)
        except OSError:
            found.append(None)
        else:
            found.append((about.st_mtime_ns, about.st_size, about.st_ino))
    return tuple(found)


def read(models: Path, place: Place) -> Artifact:
    """The artifact of that place, verified. Raises ArtifactError."""
    folder = place.within(models)
    path = folder / METADATA
    try:
        metadata = Metadata.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(
            f"{path}: {where}: {first['msg']}, but it is {first['input']!r:.80}; where an earlier version made it, "
            f"`convoscope renew {folder.name}` makes it again"
        ) from error
    if metadata.name != place.name:
        raise ArtifactError(f"{path}: name is {metadata.name!r}; expected the folder's name, {place.name!r}")
    if place.version not in ("", metadata.version):
        found = f"version is {metadata.version!r}"
        raise ArtifactError(f"{path}: {found}; expected the folder's name, {place.version!r}")
    names = tuple(name for name in SERVED if name in metadata.files)
    for name in names:
        verified(folder / name, metadata.files[name])
    try:
        return Artifact(folder, metadata, Kept(folder, names))
    except OSError as error:
        raise ArtifactError(f"{error.filename}: cannot be read ({error.strerror})") from error


def verified(path: Path, expected: str) -> Path:
    """The path, whose content has the SHA-256 that is `expected`. Raises ArtifactError."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    if found != expected:
        raise ArtifactError(f"{path}: SHA-256 is {found}; metadata.json expects {expected}")
    return path


def age(metadata: Metadata) -> tuple[str, list[tuple[int, str]]]:
    """What orders the versions of a network, the newest last: when it was made, then its version, numbers by value."""
    date = metadata.training.date if metadata.training else None
    parts = [part for part in re.split(r"(\d+)", metadata.version) if part]
    return metadata.created or date or "", [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
