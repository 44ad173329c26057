"""What is under models/: which networks can be served, verified by digest before anything is loaded."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from app.errors import ArtifactError, NotFound, Unavailable
from app.inference.metadata import FileName, Metadata, PrecisionName

PREFERRED = ("accurate", "fast")
"""The networks to serve by default, best first."""

SERVED: tuple[FileName, ...] = ("model.onnx", "model.int8.onnx")
"""The files that must match their digests. The model card may change, and the checkpoint may be left out."""

logger = logging.getLogger(__name__)


def graph_file(precision: PrecisionName) -> FileName:
    """The file that has the network for this precision."""
    return "model.int8.onnx" if precision == "int8" else "model.onnx"


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
        name = graph_file(precision)
        _verify(self.folder / name, self.metadata.files[name])
        return self.folder / name


class Catalog(Mapping[str, Artifact]):
    """The sound artifacts by name, why the others cannot be served, and which network is the default."""

    def __init__(self, artifacts: Mapping[str, Artifact], default: str, unavailable: Mapping[str, str]) -> None:
        self._artifacts = artifacts
        self.default = default
        """A name, perhaps of an artifact that is unavailable: another network would give other answers unasked."""

        self.unavailable = unavailable
        """What is wrong with each artifact that cannot be served, by the name of its folder."""

    @classmethod
    def open(cls, models: Path, default: str | None = None) -> "Catalog":
        """Read and verify every artifact under `models`. What is wrong with one does not keep the others from serving.

        Raises ArtifactError if the folder is missing or holds no artifact that can be served, or if there is none
        called `default`.
        """
        if not models.is_dir():
            raise ArtifactError(f"{models}: no such folder; expected one that holds <name>/metadata.json")
        found = models.glob("[!.]*/metadata.json")  # a hidden folder is one that is being written
        folders = sorted(path.parent for path in found)
        artifacts, unavailable = {}, {}
        for folder in folders:
            try:
                artifacts[folder.name] = _read(folder)
            except ArtifactError as error:
                unavailable[folder.name] = str(error).replace(f"{models}/", "")
                logger.error("%s cannot be served: %s", folder.name, error)
        if not artifacts:
            expected = f"{models}: holds no artifact; expected at least one <name>/metadata.json"
            raise ArtifactError("; ".join(unavailable.values()) or expected)
        names = [folder.name for folder in folders]
        if default is None:
            default = next((name for name in PREFERRED if name in names), next(iter(artifacts)))
        elif default not in names:
            raise ArtifactError(f"default_model is {default!r}; expected one of {', '.join(names)}")
        return cls(artifacts, default, unavailable)

    def __getitem__(self, name: str) -> Artifact:
        return self._artifacts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._artifacts)

    def __len__(self) -> int:
        return len(self._artifacts)

    def find(self, name: str | None) -> Artifact:
        """The artifact that a request names, or the default for None.

        Raises Unavailable for one that cannot be served, and NotFound, listing what is served.
        """
        wanted = self.default if name is None else name
        if wanted in self.unavailable:
            detail = f"{wanted} cannot be served; expected one of {', '.join(self)}, or its files mended and a restart"
            raise Unavailable.about("model", detail)
        try:
            return self[wanted]
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
    if missing := set(SERVED) - set(metadata.files):
        raise ArtifactError(f"{path}: files has no digest for {', '.join(sorted(missing))}")
    for name in SERVED:
        _verify(folder / name, metadata.files[name])
    return Artifact(folder, metadata)


def _verify(path: Path, expected: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    if found != expected:
        raise ArtifactError(f"{path}: SHA-256 is {found}; metadata.json expects {expected}")
