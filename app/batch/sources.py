"""Which pictures there are: files, folders, globs, zip and tar archives, Parquet files, always in the same order.

Nothing is read before it is asked for, and nothing is extracted: an entry's name is only a name.
"""

import glob
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from app.batch import parquet
from app.batch.errors import BatchError
from app.errors import InvalidInput, TooLarge

ZIP = (".zip",)
TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
PARQUET = (".parquet",)
UNREADABLE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError)
"""What Python's readers of archives raise for damaged, encrypted and unsupported ones; and OSError."""
SKIPPED = ("__MACOSX", "Thumbs.db", "desktop.ini")
"""What systems leave in folders and archives; so are names that begin with a dot."""


class Picture(NamedTuple):
    """One picture that is to be predicted."""

    name: str
    """Of its file, or `archive/entry`, or `file.parquet#row`."""
    read: Callable[[], bytes]
    """Its encoded bytes. Raises ConvoscopeError or OSError."""
    at_once: bool = False
    """Whether it has to be read before the next picture is asked for."""
    size: int = 0
    """Of the archive that it is in, in bytes."""


class Sources:
    """The pictures of some inputs."""

    def __init__(self, inputs: Sequence[str], out: Path, *, column: str | None = None, most_bytes: int) -> None:
        """`column` is that of a Parquet file; a picture of more than `most_bytes` is not read.

        `out` may lie in a folder that is read; it is no picture, and neither is any file whose name goes on from its
        name. Raises BatchError if an input does not exist, a glob matches nothing, a folder holds nothing, or pyarrow
        is needed and not installed.
        """
        self._column = column
        self._most = most_bytes
        self._out = out.name
        self._out_folder = os.path.realpath(out.parent)
        self.paths = [path for given in inputs for path in _paths(given) if not self._is_ours(path)]
        if any(_is(path, PARQUET) for path in self.paths):
            parquet.require()
        for path in self.paths:
            if os.path.isdir(path) and next(self._in_folder(path), None) is None:
                raise BatchError(f"{path}: this folder holds no files; expected pictures")

    def __iter__(self) -> Iterator[Picture]:
        """Every picture, by input: in a folder by name, files before folders; in an archive as they are stored."""
        for path in self.paths:
            yield from self._of(path)

    @property
    def count(self) -> int | None:
        """How many there are, which takes a look at all names; None if compressed tar files would have to be read."""
        if any(_is(path, TAR) and not _is(path, (".tar",)) for path in self.paths):
            return None
        return sum(1 for _ in self)

    def _of(self, path: str) -> Iterator[Picture]:
        if os.path.isdir(path):
            return self._in_folder(path)
        if _is(path, ZIP):
            return self._in_archive(path, self._in_zip)
        if _is(path, TAR):
            return self._in_archive(path, self._in_tar)
        if _is(path, PARQUET):
            return self._in_archive(path, self._in_parquet)
        return iter([self._file(path)])

    def _file(self, path: str) -> Picture:
        return Picture(path, partial(_content_of, path, self._most))

    def _in_folder(self, folder: str) -> Iterator[Picture]:
        """Links to files are followed; one to a folder is a picture that fails, for it may lead round in a circle."""
        files: list[str] = []
        folders: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not _is_skipped(entry.name):
                        (folders if entry.is_dir(follow_symlinks=False) else files).append(entry.name)
        except OSError as error:
            yield unreadable(folder, error.strerror or str(error))
            return
        for name in sorted(files):
            path = os.path.join(folder, name)
            if not self._is_ours(path):
                yield self._file(path)
        del files
        for name in sorted(folders):
            yield from self._in_folder(os.path.join(folder, name))

    def _in_archive(self, path: str, entries: Callable[[str], Iterator[Picture]]) -> Iterator[Picture]:
        """What `entries` finds in it; where it cannot be read to its end, that is one more picture that fails."""
        try:
            size = os.path.getsize(path)
            for picture in entries(path):
                yield picture._replace(size=size)
        except InvalidInput as error:
            yield unreadable(path, error.detail)
        except (*UNREADABLE, OSError) as error:
            yield unreadable(path, f"cannot be read to its end ({_reason(error)})")

    def _in_zip(self, path: str) -> Iterator[Picture]:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not (entry.is_dir() or _is_hidden(entry.filename)):
                    read = partial(self._entry, partial(archive.open, entry), entry.file_size, _why_not(entry))
                    yield Picture(f"{path}/{entry.filename}", read, at_once=True)

    def _in_tar(self, path: str) -> Iterator[Picture]:
        with tarfile.open(path) as archive:
            while entry := archive.next():
                archive.members = []  # type: ignore[attr-defined]  # which would grow with every entry
                if not (entry.isdir() or _is_hidden(entry.name)):
                    why_not = "" if entry.isreg() else "is a link or a device; expected a file"
                    read = partial(self._entry, partial(archive.extractfile, entry), entry.size, why_not)
                    yield Picture(f"{path}/{entry.name}", read, at_once=True)

    def _in_parquet(self, path: str) -> Iterator[Picture]:
        folder = os.path.dirname(path)
        for row, value in parquet.values(path, self._column):
            yield Picture(f"{path}#{row}", partial(self._value, value, folder), at_once=True)

    def _entry(self, opened: Callable[[], IO[bytes] | None], size: int, why_not: str) -> bytes:
        if why_not:
            raise InvalidInput(why_not)
        self._check(size)
        try:
            file = opened()
            assert file  # tarfile has none of links and devices only
            with file:
                return file.read()
        except (*UNREADABLE, OSError) as error:
            raise InvalidInput(f"cannot be unpacked ({_reason(error)})") from None

    def _value(self, value: Callable[[], object], folder: str) -> bytes:
        found = value()
        if isinstance(found, str):
            return _content_of(os.path.join(folder, found), self._most)
        if not isinstance(found, bytes):
            raise InvalidInput(f"the row holds {type(found).__name__}; expected bytes or a path")
        self._check(len(found))
        return found

    def _check(self, size: int) -> None:
        _check_size(size, self._most)

    def _is_ours(self, path: str) -> bool:
        folder, name = os.path.split(path)
        return f"{name}.".startswith(f"{self._out}.") and os.path.realpath(folder) == self._out_folder


def unreadable(name: str, reason: str) -> Picture:
    """A picture that fails for `reason`."""

    def read() -> bytes:
        raise InvalidInput(reason)

    return Picture(name, read, at_once=True)


def _paths(given: str) -> list[str]:
    """The path that an input is, or those that it matches as a glob, in which `**` is any number of folders.

    Raises BatchError.
    """
    if os.path.lexists(given):
        return [given]
    if not glob.has_magic(given):
        raise BatchError(f"{given}: no such file or folder")
    matches = glob.iglob(given, recursive=True)
    # What lies in a folder that `**` matches is matched itself.
    found = sorted(path for path in matches if "**" not in given or not os.path.isdir(path))
    if not found:
        raise BatchError(f"{given}: matches no file")
    return found


def _content_of(path: str, most: int) -> bytes:
    """Without `open`, which would take as long as decoding a small picture."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # or a pipe would wait for somebody who writes
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            what = "a link to a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
            raise InvalidInput(f"is {what}; expected a file")
        _check_size(found.st_size, most)
        data = os.read(descriptor, found.st_size)
        while len(data) < found.st_size and (more := os.read(descriptor, found.st_size - len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise TooLarge(f"has {size} bytes; expected at most {most} (CONVOSCOPE_MAX_BODY)")


def _is(path: str, suffixes: tuple[str, ...]) -> bool:
    return path.lower().endswith(suffixes)


def _why_not(entry: zipfile.ZipInfo) -> str:
    return "is encrypted; expected an archive without a password" if entry.flag_bits & 1 else ""


def _is_hidden(name: str) -> bool:
    return any(_is_skipped(part) for part in name.split("/") if part not in (".", ".."))


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name in SKIPPED


def _reason(error: BaseException) -> str:
    """In one line; tarfile says one more for each method that it has tried."""
    said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return said.splitlines()[0].rstrip(":")
