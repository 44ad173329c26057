"""Which pictures there are, under which labels: a folder for each label, train/ and test/ of such folders, or a CSV."""

import csv
import math
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.own.errors import OwnPicturesError

Part = Literal["training", "validation", "test"]

PARTS: dict[str, Part] = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""The names of folders, and values in a CSV, that say what a picture is for."""

COLUMNS = {"path": ("path", "file", "filename", "image"), "label": ("label", "class", "category")}
SPLIT_COLUMNS = ("split", "part", "set")
MOST_LABELS = 1000
LONGEST_LABEL = 100
LABEL = f"1 to {LONGEST_LABEL} characters without control characters"
IGNORED = ("thumbs.db", "desktop.ini")
"""What file managers leave behind, in lower case. Files whose names begin with a dot are ignored, too."""

OUTSIDE = "leads out of the folder"

EXPECTED = "expected one folder for each label, train/ and test/ of such folders, or a .csv of paths and labels"


@dataclass(frozen=True)
class Entry:
    """One file, the position of its label, and what it is for where the owner has decided that."""

    path: Path
    label: int
    part: Part | None = None


@dataclass(frozen=True)
class Skipped:
    """A file that is left out, as it is called below the folder, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """`entries` in a fixed order; a label is at least one entry's. `root` is the folder that all lie in."""

    root: Path
    labels: tuple[str, ...]
    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]

    def name(self, entry: Entry) -> str:
        """What a person calls the file: its path below the root."""
        return _called(entry.path, self.root)


def _called(path: Path, root: Path) -> str:
    """The path below the root; bytes of it that are not UTF-8 are escaped, so that it can be printed and written."""
    return str(path.relative_to(root)).encode("utf-8", "backslashreplace").decode("utf-8")


def find(place: Path) -> Listing:
    """List the pictures of a folder or a CSV file; none is opened. Raises OwnPicturesError."""
    if place.is_dir():
        return _listing(place, *_in_folder(place))
    if not place.exists():
        raise OwnPicturesError(f"{place}: no such folder; {EXPECTED}")
    if place.suffix.lower() != ".csv":
        raise OwnPicturesError(f"{place}: not a folder; {EXPECTED}")
    return _listing(place.parent, *_in_csv(place))


Found = list[tuple[Path, str, Part | None]]


def _listing(root: Path, found: Found, skipped: list[Skipped]) -> Listing:
    labels = sorted({label for _, label, _ in found}, key=_natural)
    _check_labels(root, labels)
    positions = {label: position for position, label in enumerate(labels)}
    trained_on = {label for _, label, part in found if part in (None, "training")}
    for label in labels:
        if label not in trained_on:
            raise OwnPicturesError(f"{root}: the label {label!r} has no training picture; expected at least one")
    entries = (Entry(path, positions[label], part) for path, label, part in found)
    return Listing(root, tuple(labels), tuple(entries), tuple(skipped))


def _check_labels(root: Path, labels: Sequence[str]) -> None:
    if len(labels) < 2:
        there = f"only one label, {labels[0]!r}" if labels else "no pictures in folders"
        raise OwnPicturesError(f"{root}: {there}; expected at least 2 labels ({EXPECTED})")
    if len(labels) > MOST_LABELS:
        raise OwnPicturesError(f"{root}: {len(labels):,} labels; expected at most {MOST_LABELS:,}")
    for label in labels:
        if not is_label(label):
            raise OwnPicturesError(f"{root}: the label {label!r:.120}; expected {LABEL}")
    alike: dict[str, str] = {}
    for label in labels:
        other = alike.setdefault(unicodedata.normalize("NFKC", label).casefold(), label)
        if other != label:
            raise OwnPicturesError(
                f"{root}: the labels {other!r} and {label!r} differ in case or spelling only; expected different names"
            )


def is_label(text: str) -> bool:
    """Whether a label may be called so: LABEL."""
    return 1 <= len(text) <= LONGEST_LABEL and not any(unicodedata.category(sign).startswith("C") for sign in text)


def _natural(label: str) -> tuple[list[tuple[float, str]], str]:
    """So that "2" comes before "10"."""
    digits = "".join(sign if sign.isdecimal() else f" {sign} " for sign in label).split()
    return [(int(part), "") if part.isdecimal() else (math.inf, part) for part in digits], label


def _in_folder(root: Path) -> tuple[Found, list[Skipped]]:
    folders = _folders(root)
    parts = {folder: PARTS.get(folder.name.lower()) for folder in folders}
    if not folders or "training" not in parts.values() or not all(parts.values()):
        return _below(root, folders, None)
    found: Found = []
    skipped: list[Skipped] = []
    for folder, part in parts.items():
        more, left = _below(root, _folders(folder), part)
        found += more
        skipped += left
    return found, skipped


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise OwnPicturesError(f"{folder}: cannot be read ({error.strerror}); {EXPECTED}") from error


def _below(root: Path, folders: Sequence[Path], part: Part | None) -> tuple[Found, list[Skipped]]:
    found: Found = []
    skipped: list[Skipped] = []
    for folder in folders:
        before = len(found)
        if _leads_out(folder, root):
            skipped.append(Skipped(_called(folder, root), OUTSIDE))
            continue
        for path in _files(folder):
            reason = _reason(path, root)
            if reason:
                skipped.append(Skipped(_called(path, root), reason))
            else:
                found.append((path, unicodedata.normalize("NFC", folder.name), part))
        if len(found) == before and part is None:
            raise OwnPicturesError(f"{folder}: no pictures; expected some of the label {folder.name!r}, or no folder")
    return found, skipped


def _files(folder: Path) -> Iterator[Path]:
    """Every visible file below `folder`, and links to folders, which are not followed: they may go round in circles."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in sorted([*files, *links]):
            if not name.startswith(".") and name.lower() not in IGNORED:
                yield Path(place) / name


def _reason(path: Path, root: Path) -> str | None:
    """Why a file is left out without being opened."""
    try:
        if _leads_out(path, root):
            return OUTSIDE
        if path.is_symlink() and path.is_dir():
            return "a link to a folder"
        if not path.exists():
            return "no such file"
        return None if path.is_file() else "not a regular file"
    except (OSError, ValueError) as error:  # too long, or with a null character, as a CSV file may have it
        return f"not a path that can be read ({error.strerror if isinstance(error, OSError) else error})"


def _leads_out(path: Path, root: Path) -> bool:
    try:
        return not path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a link to itself
        return True


def _in_csv(path: Path) -> tuple[Found, list[Skipped]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, restval=""))
    except UnicodeDecodeError as error:
        raise OwnPicturesError(f"{path}: byte {error.start} is not UTF-8; expected a CSV file in UTF-8") from error
    except csv.Error as error:
        raise OwnPicturesError(f"{path}: not a CSV file ({error})") from error
    except OSError as error:
        raise OwnPicturesError(f"{path}: cannot be read ({error.strerror})") from error
    if not rows:
        raise OwnPicturesError(f"{path}: no rows; expected a header with {_column_names()}, and a row for each picture")
    names = {(name or "").strip().lower(): name for name in rows[0] if name is not None}
    columns = {kind: _column(path, kind, names) for kind in COLUMNS}
    part = next((names[name] for name in SPLIT_COLUMNS if name in names), None)
    found: Found = []
    skipped: list[Skipped] = []
    for number, row in enumerate(rows, start=2):
        name, label = (row[columns[kind]].strip() for kind in COLUMNS)
        file_path = path.parent / name
        reason = _reason(file_path, path.parent) if name and label else "no path or no label"
        if reason:
            skipped.append(Skipped(f"{path.name}, row {number}, {name!r:.100}", reason))
            continue
        said = row[part].strip().lower() if part else ""
        if said and said not in PARTS:
            raise OwnPicturesError(f"{path}, row {number}: {part} is {said!r:.50}; expected {', '.join(PARTS)}")
        found.append((file_path, unicodedata.normalize("NFC", label), PARTS.get(said)))
    if not found:
        raise OwnPicturesError(
            f"{path}: none of {len(rows):,} rows can be used; {skipped[0].name}: {skipped[0].reason}"
        )
    repeated = [name for name, times in Counter(file for file, _, _ in found).items() if times > 1]
    if repeated:
        raise OwnPicturesError(f"{path}: {repeated[0].relative_to(path.parent)} has more than one row; expected one")
    return found, skipped


def _column(path: Path, kind: str, names: dict[str, str]) -> str:
    for name in COLUMNS[kind]:
        if name in names:
            return names[name]
    expected = f"a column called {' or '.join(COLUMNS[kind])}"
    raise OwnPicturesError(f"{path}: the columns are {', '.join(map(repr, names))}; expected {expected}")


def _column_names() -> str:
    return " and ".join(f"the column {names[0]}" for names in COLUMNS.values())
