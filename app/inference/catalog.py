"""What is under models/: which networks can be served, verified by digest before anything is loaded."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from app.errors import ArtifactError, NotFound
from app.inference.metadata import FileName, Metadata, PrecisionName

PREFERRED = ("accurate", "fast")
"""The networks to serve by default, best first."""

CHECKPOINT = "model.keras"
"""What training goes on from; it may be left out where an artifact is only served, as in the image."""


@dataclass(frozen=True)
class Artifact:
    """One verified folder under models/."""

    folder: Path
    metadata: Metadata

    @property
    def name(self) -> str:
        return self.metadata.name

    def graph(self, precision: PrecisionName = "float32") -> Path:
        """The file to compile for `precision`, verified again: long after the start it may have been replaced.

        Raises ArtifactError.
        """
        name: FileName = "model.int8.onnx" if precision == "int8" else "model.onnx"
        _verify(self.folder / name, self.metadata.files[name])
        return self.folder / name


class Catalog(Mapping[str, Artifact]):
    """The artifacts by name, and which one is the default."""

    def __init__(self, artifacts: Mapping[str, Artifact], default: str) -> None:
        self._artifacts = artifacts
        self.default = default

    @classmethod
    def open(cls, models: Path, default: str | None = None) -> "Catalog":
        """Read and verify every artifact under `models`.

        Raises ArtifactError where the folder is missing or empty, a file is missing, unreadable or has another digest
        than its metadata says, or `default` is not there.
        """
        if not models.is_dir():
            raise ArtifactError(f"{models}: no such folder; expected one that holds <name>/metadata.json")
        found = models.glob("[!.]*/metadata.json")  # a hidden folder is one that is being written
        folders = sorted(path.parent for path in found)
        artifacts = {folder.name: _read(folder) for folder in folders}
        if not artifacts:
            raise ArtifactError(f"{models}: holds no artifact; expected at least one <name>/metadata.json")
        if default is None:
            default = next((name for name in PREFERRED if name in artifacts), next(iter(artifacts)))
        elif default not in artifacts:
            raise ArtifactError(f"default_model is {default!r}; expected one of {', '.join(artifacts)}")
        return cls(artifacts, default)

    def __getitem__(self, name: str) -> Artifact:
        return self._artifacts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._artifacts)

    def __len__(self) -> int:
        return len(self._artifacts)

    def find(self, name: str | None) -> Artifact:
        """The artifact a caller asked for, or the default for None. Raises NotFound, listing what is served."""
        try:
            return self[self.default if name is None else name]
        except KeyError:
            detail = f"no model is called {name!r:.80}; expected one of {', '.join(self)}"
            raise NotFound.about("model", detail) from None


def _read(folder: Path) -> Artifact:
    path = folder / "metadata.json"
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
    if metadata.name != folder.name:
        raise ArtifactError(f"{path}: name is {metadata.name!r}; expected the folder's name, {folder.name!r}")
    if missing := set(get_args(FileName)) - set(metadata.files):
        raise ArtifactError(f"{path}: files has no digest for {', '.join(sorted(missing))}")
    for name, expected in metadata.files.items():
        if name != CHECKPOINT or (folder / name).exists():
            _verify(folder / name, expected)
    return Artifact(folder, metadata)


def _verify(path: Path, expected: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    if found != expected:
        raise ArtifactError(f"{path}: SHA-256 is {found}; metadata.json expects {expected}")
