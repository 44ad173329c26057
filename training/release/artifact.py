"""The folder models/<name>/: everything the service and a reader need of one finished network, whole or not at all."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.release import card

CHECKPOINT = "model.keras"
"""What everything else in an artifact can be made again from, but for its history."""

METADATA = "metadata.json"

UNITS = "units"
"""The folder, if there is one, of what units look for."""

FILES = (
    CHECKPOINT,
    "model.onnx",
    "model.int8.onnx",
    "history.csv",
    "training.png",
    "confusion.png",
    "reliability.png",
    "README.md",
)
"""What metadata.json keeps a digest of."""


class ArtifactError(Exception):
    """An artifact is missing or damaged; the message names the file."""


class ArtifactExists(Exception):
    """A finished artifact would be overwritten; the message says how to allow it."""


def refuse_to_overwrite(folder: Path, overwrite: bool) -> None:
    """Raises ArtifactExists where `folder` is there and `overwrite` is not given."""
    if folder.exists() and not overwrite:
        raise ArtifactExists(f"{folder} is there already; --overwrite replaces it, --name writes another")


def read(folder: Path, files: Sequence[str] = FILES) -> dict[str, Any]:
    """metadata.json of a whole artifact. Raises ArtifactError where one of `files` is missing or has another digest."""
    if not folder.is_dir():
        found = ", ".join(sorted(path.parent.name for path in folder.parent.glob("[!.]*/metadata.json"))) or "none"
        raise ArtifactError(f"{folder}: no such artifact; {folder.parent} has {found}")
    try:
        metadata: dict[str, Any] = json.loads((folder / "metadata.json").read_bytes())
        for name in files:
            expected, found = metadata["files"][name], digest(folder / name)
            if found != expected:
                raise ArtifactError(f"{folder / name}: damaged; SHA-256 is {found}, metadata.json expects {expected}")
    except OSError as error:
        raise ArtifactError(f"{error.filename}: cannot be read ({error.strerror})") from error
    except KeyError as error:
        raise ArtifactError(f"{folder / 'metadata.json'}: damaged (no digest of {error.args[0]})") from error
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"{folder / 'metadata.json'}: damaged ({error})") from error
    return metadata


def weights(folder: Path) -> str:
    """The SHA-256 of an artifact's model.keras, verified. Raises ArtifactError."""
    return str(read(folder, (CHECKPOINT,))["files"][CHECKPOINT])


def render(folder: Path) -> None:
    """Render the card of a whole artifact again. Raises ArtifactError and OSError."""
    with replacing(folder) as temporary:
        metadata = read(folder, [name for name in FILES if name != "README.md"])
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        seal(temporary, metadata)


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` once all in it is written; until then `folder` stays as it is.

    One at a time does so in the same parent folder; others wait. What is killed between taking the old one away and
    putting the new one there leaves the old one under another name, from which the next to come takes it back.
    """
    folder = folder.resolve()  # what a symbolic link points to, not the link, is replaced
    temporary, old = (folder.with_name(f".{folder.name}.{kind}") for kind in ("tmp", "old"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.parent):
        _tidy(folder, temporary, old)
        temporary.mkdir()
        try:
            yield temporary
            if folder.exists():
                os.replace(folder, old)
            os.replace(temporary, folder)
        except OSError as error:
            if error.filename is None:  # a full disk does not say where
                raise OSError(error.errno, error.strerror, str(folder)) from error
            raise
        finally:
            _tidy(folder, temporary, old)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process has this folder to itself, then have it."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _tidy(folder: Path, temporary: Path, old: Path) -> None:
    """Leave nothing but `folder`, which `old` becomes again where nothing took its place."""
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    for rest in (temporary, old):
        shutil.rmtree(rest, ignore_errors=True)


def seal(folder: Path, metadata: dict[str, Any]) -> None:
    """Render the card, then write metadata.json with every other file's digest."""
    (folder / "README.md").write_text(card.render(metadata))
    looked = sorted(str(path.relative_to(folder)) for path in (folder / UNITS).glob("*"))
    metadata["files"] = {name: digest(folder / name) for name in (*FILES, *looked)}
    write_metadata(folder, metadata)


def write_metadata(folder: Path, metadata: Mapping[str, Any]) -> None:
    """Write metadata.json, last of all: a folder without it is not an artifact."""
    (folder / METADATA).write_text(json.dumps(metadata, indent=1) + "\n")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
