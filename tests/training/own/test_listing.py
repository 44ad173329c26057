"""Folders and CSV files, good and bad."""

import os
from pathlib import Path

import pytest

from tests.training.own.shapes import folder
from training.own import listing
from training.own.errors import OwnPicturesError
from training.own.listing import Listing, find


def names(listing: Listing, label: str) -> list[str]:
    return [listing.name(entry) for entry in listing.entries if listing.labels[entry.label] == label]


def rejected(place: Path) -> str:
    with pytest.raises(OwnPicturesError) as caught:
        find(place)
    message = str(caught.value)
    assert message.startswith(str(place))
    assert "\n" not in message
    return message


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not looked at")


def test_a_folder_is_a_label_and_numbers_are_in_order(tmp_path: Path) -> None:
    touch(*(tmp_path / label / "a.png" for label in ("10", "9", "été", "猫")), tmp_path / "9" / "deep" / "b.png")
    found = find(tmp_path)
    assert found.labels[:2] == ("9", "10")
    assert set(found.labels[2:]) == {"été", "猫"}
    assert names(found, "9") == ["9/a.png", "9/deep/b.png"]
    assert {entry.part for entry in found.entries} == {None}


def test_what_file_managers_leave_behind_is_no_picture(tmp_path: Path) -> None:
    for label in ("a", "b"):
        touch(tmp_path / label / "1.png", tmp_path / label / "Thumbs.db", tmp_path / label / ".DS_Store")
    touch(tmp_path / ".thumbnails" / "1.png")
    assert len(find(tmp_path).entries) == 2
    assert find(tmp_path).skipped == ()


def test_folders_of_a_split_say_what_a_picture_is_for(tmp_path: Path) -> None:
    touch(*(tmp_path / part / label / "1.png" for part in ("train", "Val", "test") for label in ("a", "b")))
    found = find(tmp_path)
    assert found.labels == ("a", "b")
    assert [entry.part for entry in found.entries if entry.label == 0] == ["validation", "test", "training"]


def test_a_label_that_is_only_tested_cannot_be_learnt(tmp_path: Path) -> None:
    touch(*(tmp_path / "train" / label / "1.png" for label in ("a", "b")), tmp_path / "test" / "c" / "1.png")
    assert "the label 'c' has no training picture" in rejected(tmp_path)


def test_a_label_may_be_called_test(tmp_path: Path) -> None:
    touch(*(tmp_path / label / "1.png" for label in ("test", "other")))
    assert find(tmp_path).labels == ("other", "test")


def test_a_csv_says_paths_labels_and_parts(tmp_path: Path) -> None:
    touch(tmp_path / "1.png", tmp_path / "2.png", tmp_path / "3.png")
    (tmp_path / "p.csv").write_text("Filename,class,split\n1.png,a,train\n2.png,b,\n3.png,a,test\n4.png,a,\n")
    found = find(tmp_path / "p.csv")
    assert [(found.labels[entry.label], entry.part) for entry in found.entries] == [
        ("a", "training"),
        ("b", None),
        ("a", "test"),
    ]
    assert [(left.name, left.reason) for left in found.skipped] == [("p.csv, row 5, '4.png'", "no such file")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"path,kind\n1.png,a\n",
            "the columns are 'path', 'kind'; expected a column called label or class or category",
        ),
        (b"path,label\n", "no rows; expected a header with the column path and the column label"),
        (b"", "no rows"),
        (b"path,label\n1.png,\xff\n", "byte 17 is not UTF-8"),
        (b"path,label,split\n1.png,a,both\n", "row 2: split is 'both'; expected train"),
        (b"path,label\n1.png,a\n1.png,b\n", "1.png has more than one row"),
        (b"path,label\n2.png,a\n3.png,b\n", "none of 2 rows can be used; p.csv, row 2, '2.png': no such file"),
        (b"path,label\n1.png\0,a\n", "row 2, '1.png\\x00': not a path that can be read (embedded null byte)"),
        (b"path,label\n" + 5000 * b"a" + b",a\n", "not a path that can be read (File name too long)"),
    ],
)
def test_a_bad_csv_is_rejected_by_name(tmp_path: Path, content: bytes, said: str) -> None:
    touch(tmp_path / "1.png")
    (tmp_path / "p.csv").write_bytes(content)
    assert said in rejected(tmp_path / "p.csv")


def test_no_folder_an_empty_one_and_one_label_are_rejected(tmp_path: Path) -> None:
    assert "no such folder; expected one folder for each label" in rejected(tmp_path / "nowhere")
    assert "no pictures in folders; expected at least 2 labels" in rejected(tmp_path)
    touch(tmp_path / "a" / "1.png")
    assert "only one label, 'a'; expected at least 2 labels" in rejected(tmp_path)
    (tmp_path / "b").mkdir()
    with pytest.raises(OwnPicturesError, match="/b: no pictures; expected some of the label 'b', or no folder"):
        find(tmp_path)
    touch(tmp_path / "file.zip")
    assert "not a folder" in rejected(tmp_path / "file.zip")


def test_too_many_labels_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MOST_LABELS", 9)
    touch(*(tmp_path / str(number) / "1.png" for number in range(10)))
    assert "10 labels; expected at most 9" in rejected(tmp_path)


@pytest.mark.parametrize("other", ["Cat", "CAT", "\uff43at"])
def test_labels_that_look_the_same_are_rejected(tmp_path: Path, other: str) -> None:
    touch(tmp_path / "cat" / "1.png", tmp_path / other / "1.png")
    assert "differ in case or spelling only" in rejected(tmp_path)


def test_a_label_with_control_characters_is_rejected(tmp_path: Path) -> None:
    touch(tmp_path / "a\nb" / "1.png", tmp_path / "c" / "1.png")
    assert "the label 'a\\nb'; expected 1 to 100 characters without control characters" in rejected(tmp_path)


def test_links_that_lead_out_or_round_in_circles_are_skipped(tmp_path: Path) -> None:
    pictures = folder(tmp_path / "pictures", 1)
    touch(tmp_path / "secret.png")
    (pictures / "red" / "out.png").symlink_to(tmp_path / "secret.png")
    (pictures / "red" / "round").symlink_to(pictures)
    (pictures / "red" / "self.png").symlink_to(pictures / "red" / "self.png")
    (pictures / "red" / "inside.png").symlink_to(pictures / "red" / "0.png")
    (pictures / "outside").symlink_to(tmp_path)
    found = find(pictures)
    assert names(found, "red") == ["red/0.png", "red/inside.png"]
    assert {left.name: left.reason for left in found.skipped} == {
        "outside": "leads out of the folder",
        "red/out.png": "leads out of the folder",
        "red/round": "a link to a folder",
        "red/self.png": "leads out of the folder",
    }


def test_a_csv_does_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    touch(tmp_path / "secret.png", tmp_path / "in" / "1.png", tmp_path / "in" / "2.png")
    (tmp_path / "in" / "p.csv").write_text("path,label\n../secret.png,a\n1.png,a\n2.png,b\n")
    found = find(tmp_path / "in" / "p.csv")
    assert [left.reason for left in found.skipped] == ["leads out of the folder"]


def test_a_name_that_is_not_utf8_can_be_printed_and_written(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png", tmp_path / "b" / "1.png", tmp_path / "b" / os.fsdecode(b"caf\xe9.png"))
    found = find(tmp_path)
    assert names(found, "b") == ["b/1.png", "b/caf\\udce9.png"]
    assert "".join(names(found, "b")).isprintable()
