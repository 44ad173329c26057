"""Reading pictures into one file, and which show the same."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app import imaging
from app.inference.metadata import Input
from tests.training.own.shapes import COLOURS, folder, square
from training.own import duplicates, listing, split, store
from training.own.errors import OwnPicturesError

HEADER = b"IHDR" + struct.pack(">II5B", 40_000, 40_000, 8, 2, 0, 0, 0)
HUGE_PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + HEADER + struct.pack(">I", zlib.crc32(HEADER))


def test_pictures_are_kept_as_the_service_would_see_them(tmp_path: Path) -> None:
    found = listing.find(folder(tmp_path / "pictures", 3))
    kept = store.keep(found, 32, tmp_path)
    with kept.open() as pictures:
        for number, entry in enumerate(kept.entries):
            expected = imaging.thumbnail(entry.path.read_bytes(), Input(size=32))
            np.testing.assert_array_equal(pictures[[number]][0], expected)
        np.testing.assert_array_equal(np.concatenate(list(pictures.batches(np.arange(9), 4)))[8], pictures[[8]][0])


def test_files_that_cannot_be_read_are_listed_and_stay(tmp_path: Path) -> None:
    place = folder(tmp_path / "pictures", 2)
    bad = {
        "empty.png": (b"", "an empty file (0 bytes)"),
        "notes.txt": (b"my pictures", ""),
        "cut.png": ((place / "red" / "0.png").read_bytes()[:200], "ends early"),
        "huge.png": (HUGE_PNG, "40000 x 40000 pixels"),
    }
    for name, (content, _) in bad.items():
        (place / "red" / name).write_bytes(content)
    kept = store.keep(listing.find(place), 32, tmp_path)
    assert len(kept.entries) == 6
    reasons = {left.name: left.reason for left in kept.skipped}
    assert reasons.keys() == {f"red/{name}" for name in bad}
    for name, (content, said) in bad.items():
        assert said in reasons[f"red/{name}"]
        assert (place / "red" / name).read_bytes() == content


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "an empty file (0 bytes)"), (HUGE_PNG, "40000 x 40000 pixels"), (b"text", "")]
)
def test_a_label_of_which_nothing_can_be_read_is_told_with_the_reason(
    tmp_path: Path, content: bytes, said: str
) -> None:
    place = folder(tmp_path / "pictures", 2)
    for path in (place / "green").iterdir():
        path.write_bytes(content)
    with pytest.raises(OwnPicturesError) as caught:
        store.keep(listing.find(place), 32, tmp_path)
    assert str(caught.value).startswith(f"{place}: no picture of the label 'green' can be read; green/0.png: ")
    assert said in str(caught.value)


def test_pictures_are_read_again_only_when_one_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(tmp_path / "pictures", 2)
    first = store.keep(listing.find(place), 32, tmp_path)
    reads: list[Path] = []

    def thumbnail(content: bytes, input: Input) -> np.ndarray[Any, np.dtype[np.uint8]]:
        reads.append(place)
        return np.zeros((input.size, input.size, 3), np.uint8)

    monkeypatch.setattr(imaging, "thumbnail", thumbnail)
    assert store.keep(listing.find(place), 32, tmp_path).digests == first.digests
    assert not reads
    (place / "red" / "0.png").write_bytes((place / "red" / "1.png").read_bytes() + b" ")
    store.keep(listing.find(place), 32, tmp_path)
    assert len(reads) == 6


def test_a_full_disk_is_told_by_the_files_name(tmp_path: Path) -> None:
    found = listing.find(folder(tmp_path / "pictures", 2))
    (tmp_path / "pictures-32.tmp").symlink_to("/dev/full")
    with pytest.raises(OwnPicturesError, match=r"pictures-32\.bin: cannot be written \(No space left on device\)"):
        store.keep(found, 32, tmp_path)


def test_copies_and_the_same_picture_saved_again_are_one_group(tmp_path: Path) -> None:
    place = tmp_path / "pictures"
    for label in COLOURS:
        (place / label).mkdir(parents=True)
    photo = Image.fromarray(square(COLOURS["red"], 0, 96)).resize((200, 200))
    photo.save(place / "red" / "0.png")
    photo.save(place / "red" / "1.jpg", quality=60)
    photo.resize((90, 90)).point(lambda value: min(value + 3, 255)).save(place / "red" / "2.png")
    (place / "blue" / "3.png").write_bytes((place / "red" / "0.png").read_bytes())
    Image.fromarray(square(COLOURS["red"], 1, 96)).save(place / "red" / "4.png")
    Image.fromarray(square(COLOURS["green"], 0, 96)).save(place / "green" / "5.png")
    kept = store.keep(listing.find(place), 32, tmp_path)
    with kept.open() as pictures:
        first = duplicates.groups(
            duplicates.exact(list(kept.digests)), duplicates.averages(pictures, len(kept.entries))
        )
    together = {kept.entries[number].path.stem for number in np.flatnonzero(first == first[0])}
    assert kept.entries[0].path.stem == "3"
    assert together == {"0", "1", "2", "3"}
    assert len(set(first.tolist())) == 3


def test_flat_pictures_are_no_duplicates_of_each_other(tmp_path: Path) -> None:
    flat = [np.full((32, 32, 3), 100 + step, np.uint8) for step in range(3)]
    values = np.stack([picture.reshape(8, 4, 8, 4, 3).mean(axis=(1, 3)).ravel() for picture in flat])
    assert duplicates.groups(np.arange(3), values.astype(np.float32)).tolist() == [0, 1, 2]


def labelled(*counts: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.repeat(np.arange(len(counts)), counts)


def test_a_tenth_of_each_label_chooses_and_another_measures() -> None:
    labels = labelled(100, 20, 3)
    found = split.split(labels, np.arange(123), np.arange(123), [None] * 123, "abc")
    assert np.bincount(labels[found.validation]).tolist() == [10, 2, 1]
    assert np.bincount(labels[found.test]).tolist() == [10, 2, 1]
    everything = np.concatenate([found.training, found.validation, found.test])
    assert sorted(everything.tolist()) == list(range(123))
    again = split.split(labels, np.arange(123), np.arange(123), [None] * 123, "abc")
    np.testing.assert_array_equal(again.test, found.test)
    other = split.split(labels, np.arange(123), np.arange(123), [None] * 123, "abc", seed=1)
    assert other.test.tolist() != found.test.tolist()


def test_pictures_that_show_the_same_stay_on_one_side() -> None:
    labels = labelled(40, 40)
    first = np.arange(80) // 2 * 2
    found = split.split(labels, first, np.arange(80), [None] * 80, "ab")
    sides = [set(first[part].tolist()) for part in (found.training, found.validation, found.test)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert len(found.left_out) == 0


def test_of_what_its_owner_holds_out_only_exact_copies_are_left_out() -> None:
    labels = labelled(10, 10)
    exact, first = np.arange(20), np.arange(20)
    exact[5] = first[5] = 0
    first[6] = 0
    parts = ["test" if number in (0, 10) else None for number in range(20)]
    found = split.split(labels, first, exact, parts, "ab")  # type: ignore[arg-type]
    assert found.test.tolist() == [0, 10]
    assert found.left_out.tolist() == [5]


def test_a_series_of_nearly_equal_views_is_divided_by_file() -> None:
    labels = labelled(40, 40)
    first = np.arange(80)
    first[:40] = 0
    assert split.series(labels, first, np.arange(80), 2).tolist() == [True, False]
    found = split.split(labels, first, np.arange(80), [None] * 80, "ab")
    assert np.bincount(labels[found.test]).tolist() == np.bincount(labels[found.validation]).tolist() == [4, 4]
    assert len(found.left_out) == 0


@pytest.mark.parametrize("seed", range(5))
def test_no_more_is_held_out_than_a_tenth_where_one_group_is_large(seed: int) -> None:
    labels = labelled(40, 40)
    first = np.arange(80)
    first[:34] = 0
    found = split.split(labels, first, np.arange(80), [None] * 80, "ab", seed)
    assert np.bincount(labels[found.training]).min() >= 32


@pytest.mark.parametrize("first", [[0, 1, 2, 3, 4], [0, 1, 2, 3, 3], [0, 1, 2, 3, 4, 4, 4]])
def test_a_label_with_too_few_different_pictures_is_rejected_by_name(first: list[int]) -> None:
    labels = np.array([0, 0, 0, *[1] * (len(first) - 3)])
    with pytest.raises(OwnPicturesError, match=r"the label 'dog': .*; expected at least 3 different pictures"):
        split.split(labels, np.array(first), np.array(first), [None] * len(labels), ["cat", "dog"])


def test_a_picture_in_memory_reads_as_one_on_disk(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(square(COLOURS["red"], 3, 80)).save(buffer, "JPEG")
    place = folder(tmp_path / "pictures", 1)
    (place / "red" / "0.png").write_bytes(buffer.getvalue())
    kept = store.keep(listing.find(place), 64, tmp_path)
    with kept.open() as pictures:
        reds = [number for number, entry in enumerate(kept.entries) if entry.path.parent.name == "red"]
        np.testing.assert_array_equal(pictures[reds][0], imaging.thumbnail(buffer.getvalue(), Input(size=64)))
