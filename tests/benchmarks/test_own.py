from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import hands, own, turntable
from benchmarks.own import COLUMNS, Outcome, maker, row

SAID = """\
pictures: 2,050 files under 10 labels
First result after 31 s: a linear layer on the features of fast recognises 98.4% of 192 held-out pictures (95 %: 95.5% \
to 99.5%).
Training from the weights of `fast` for about 500 s, batches of 64, float32. Ctrl-C ends it and keeps the best.
99.5% of 197 test pictures are recognised (95 %: 97.2% to 99.9%)
"""


def test_a_row_tells_what_the_command_said_and_cost(tmp_path: Path) -> None:
    found = row("turntable", "10m", Outcome(tmp_path, SAID, 606, 1140, 1_360_000_000))
    assert dict(zip(COLUMNS, found, strict=True)) == {
        "set": "turntable",
        "pictures": "2,050",
        "time": "10m",
        "took": "10.1 min",
        "CPU": "19.0 min",
        "first result": "98.4% after 31 s",
        "held out": "99.5% (97.2% to 99.9%)",
        "CIFAR-10 test": "-",
        "memory": "1.36 GB",
    }


def test_new_weights_have_no_first_result(tmp_path: Path) -> None:
    said = "".join(line for line in SAID.splitlines(keepends=True) if not line.startswith("First"))
    assert row("digits", "1m", Outcome(tmp_path, said, 60, 60, 1))[5] == "-"


def test_views_next_to_each_other_are_alike_and_kinds_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turntable, "VIEWS", 90)
    monkeypatch.setattr(turntable, "KINDS", turntable.KINDS[:2])
    turntable.write(tmp_path / "set")

    def view(kind: int, turn: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        with Image.open(tmp_path / "set" / f"kind-{kind}" / f"{turn}.jpg") as picture:
            assert picture.size == (100, 100)
            return np.asarray(picture.resize((8, 8)), np.float32)

    def apart(one: tuple[int, int], other: tuple[int, int]) -> float:
        return float(np.sqrt(np.mean((view(*one) - view(*other)) ** 2)))

    assert apart((1, 0), (1, 1)) < 0.5 * apart((1, 0), (1, 45))
    assert apart((1, 0), (0, 0)) > 2 * apart((1, 0), (1, 1))


def test_each_person_shows_each_number_with_another_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands, "PEOPLE", 8)
    monkeypatch.setattr(hands, "_light", lambda *_: 1)
    hands.write(tmp_path / "set")
    skin = []
    for number in range(10):
        paths = sorted((tmp_path / "set" / str(number)).iterdir())
        assert [path.name for path in paths] == [f"{person}.jpg" for person in range(8)]
        pictures = np.stack([np.asarray(Image.open(path), np.float32) for path in paths])
        assert pictures.shape == (8, 100, 100, 3)
        unlike_wall = np.abs(pictures - pictures[:, 2:3, 2:3]).max(axis=-1) > 30
        skin.append(unlike_wall[:, :50].mean())
    assert skin[5] > skin[2] > skin[0]  # all fingers, two, none reach into the upper half


def test_a_set_is_known_by_name_and_anything_else_is_a_folder() -> None:
    assert maker("digits") is own.digits
    assert maker("cifar10-500")
    assert maker("cifar10-many") is None
    assert maker("/a/folder") is None
