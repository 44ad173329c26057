import asyncio
import csv
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from PIL import Image

from app import processors
from app.batch.errors import BatchError
from app.batch.pipeline import Chunks, Pipeline
from app.batch.progress import Progress, text
from app.batch.sources import Picture
from app.errors import InvalidInput, NotFound
from app.inference.registry import Registry
from app.settings import Settings
from tests import artifacts
from tests.batch.conftest import COUNT, Done, lines, problems
from tests.conftest import PICTURES, until


@pytest.mark.parametrize("views", [1, 14])
def test_each_row_is_what_predict_answers(client: httpx.Client, done: Done, tmp_path: Path, views: int) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("cat.png", "frog.png", "ship.png"):
        shutil.copy(PICTURES / name, folder)
    large = Image.open(PICTURES / "dog.png").convert("RGB").resize((320, 200))
    large.save(folder / "large.jpg")
    large.convert("L").save(folder / "grey.webp", lossless=True)
    out = tmp_path / "a.jsonl"
    summary = done(folder, out, Settings(), model="fast", views=views, top_k=10)
    rows = lines(out)
    assert [row["picture"] for row in rows] == [str(path) for path in sorted(folder.iterdir())]
    assert (summary.pictures, summary.failures, summary.failed) == (5, 0, None)
    ship = {"image": (PICTURES / "ship.png").read_bytes()}  # until the network is compiled, which may take a while
    until(lambda: client.post("/predict", params={"model": "fast"}, files=ship).status_code == 200, 120)
    for row in rows:
        files = {"image": Path(row.pop("picture")).read_bytes()}
        answer = client.post("/predict", params={"model": "fast", "views": views, "top_k": 10}, files=files).json()
        (said,) = answer["predictions"]
        assert (row.pop("model"), row.pop("version")) == (answer["model"], answer["version"])
        assert row.pop("views") == said.pop("views", 1)
        top, expected = row.pop("top"), said.pop("top")
        assert row == pytest.approx(said, abs=1e-9)
        for one, other in zip(top, expected, strict=True):
            assert one == pytest.approx(other, abs=1e-9)


def test_every_format_has_the_same_rows(done: Done, pictures: Path, tmp_path: Path) -> None:
    for suffix in ("csv", "jsonl", "parquet"):
        assert done(pictures, tmp_path / f"a.{suffix}").pictures == COUNT
    rows = lines(tmp_path / "a.jsonl")
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == rows
    with (tmp_path / "a.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    for line, row in zip(table, rows, strict=True):
        second = row.pop("top")[1]
        row |= {"label_2": second["label"], "probability_2": second["probability"]}
        assert {name: line[name] for name in row} == {name: str(value) for name, value in row.items()}
    assert len({row["probability"] for row in rows}) > 20
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob("*.new")) + list(tmp_path.glob("*failures*"))


def test_memory_does_not_grow_with_the_input(mini: Settings) -> None:
    png, asked, ahead = artifacts.png(artifacts.picture(16)), [0], []

    def endless() -> Iterator[Picture]:
        while True:
            yield Picture(str(asked[0]), lambda: png, at_once=True)
            asked[0] += 1

    async def work() -> None:
        network = Registry(mini).find(None)
        await network.prepare()
        found = Pipeline(network, mini).outcomes(Chunks(endless(), 4))
        async for chunk, outcomes in found:
            assert [outcome.name for outcome in outcomes] == [str(i) for i in range(chunk.end - 4, chunk.end)]
            ahead.append(asked[0] - chunk.end)
            if len(ahead) == 50:
                break
        await found.aclose()

    asyncio.run(work())
    assert max(ahead) <= 4 * (processors.usable() + 4)


def test_pictures_that_fail_are_listed_and_stop_nothing(done: Done, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    (pictures / "05.png").write_text("no picture")
    (pictures / "07.png").write_bytes(b"")
    (pictures / "08.png").write_bytes((pictures / "01.png").read_bytes()[:50])
    (pictures / "10.png").unlink()
    (pictures / "10.png").symlink_to("nowhere")
    (pictures / "11.png").unlink()
    os.mkfifo(pictures / "11.png")
    (pictures / ".hidden").write_text("no picture")
    summary = done(pictures, out)
    assert (summary.pictures, summary.failures, summary.failed) == (COUNT - 5, 5, f"{out}.failures.jsonl")
    found = problems(out)
    assert found.keys() == {"05.png", "07.png", "08.png", "10.png", "11.png"}
    assert found["05.png"].startswith('the picture begins with the text "no picture"; expected JPEG')
    assert found["07.png"].startswith("the picture is empty")
    assert found["10.png"] == "No such file or directory"
    assert found["11.png"] == "is a pipe or a device; expected a file"


def test_a_picture_with_too_many_bytes_or_pixels_fails(done: Done, mini: Settings, tmp_path: Path) -> None:
    small = mini.model_copy(update={"max_body": 5_000, "max_pixels": 400})
    for name, side in (("a", 16), ("b", 30), ("c", 100)):
        (tmp_path / f"{name}.png").write_bytes(artifacts.png(artifacts.picture(side)))
    out = tmp_path / "out" / "a.csv"
    out.parent.mkdir()
    done(sorted(tmp_path.glob("*.png")), out, small)
    found = problems(out)
    assert found["b.png"] == "the PNG has 30 x 30 pixels; expected at most 400 in all"
    assert "bytes; expected at most 5000 (CONVOSCOPE_MAX_BODY)" in found["c.png"]


def test_names_that_are_no_utf_8_are_escaped(done: Done, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("caf\udce9.png", "日本,\n.png"):
        (folder / name).write_bytes(artifacts.png(artifacts.picture(16)))
    for suffix in ("csv", "jsonl", "parquet"):
        done(folder, tmp_path / f"a.{suffix}")
    assert [row["picture"] for row in lines(tmp_path / "a.jsonl")] == [
        f"{folder}/caf\\xe9.png",
        f"{folder}/日本,\n.png",
    ]
    with (tmp_path / "a.csv").open(newline="") as file:
        assert [row["picture"] for row in csv.DictReader(file)][1] == f"{folder}/日本,\n.png"


def test_a_finished_job_is_not_done_again(done: Done, pictures: Path, tmp_path: Path) -> None:
    out = pictures / "a.jsonl"  # in the folder that it reads, and no picture of it
    first = done(pictures, out)
    before = out.stat()
    assert done(pictures, out) == first
    assert out.stat() == before
    (pictures / "new.png").write_bytes((pictures / "01.png").read_bytes())
    with pytest.raises(BatchError, match="the inputs have changed"):
        done(pictures, out)
    out.unlink()
    assert done(pictures, out).pictures == COUNT + 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "nope"}, NotFound, "no model is called 'nope'; expected one of mini"),
        ({"model": "mini@7"}, NotFound, "version '7' of mini is not served; expected 1"),
        ({"views": 15}, InvalidInput, "views is 15; expected an integer from 1 to 14"),
        ({"top_k": 4}, InvalidInput, "top_k is 4; expected an integer from 1 to 3"),
    ],
)
def test_a_wrong_option_is_rejected_before_anything_is_written(
    done: Done, pictures: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        done(pictures, tmp_path / "a.csv", **options)
    assert list(tmp_path.iterdir()) == [pictures]


@pytest.mark.parametrize(
    ("inputs", "out", "message"),
    [
        ("nowhere", "a.csv", "nowhere: no such file or folder"),
        ("*.gif", "a.csv", r"\*.gif: matches no file"),
        ("empty", "a.csv", "empty: this folder holds no files"),
        ("pictures", "a.txt", r"--out is a.txt; expected a name that ends in .csv, .jsonl, .parquet"),
        ("pictures", "/dev/full", "--out is /dev/full; expected a name that ends in"),
        ("pictures", "nowhere/a.csv", "--out is nowhere/a.csv; expected a name in a folder that exists"),
        ("pictures", "there.csv", "there.csv exists already; expected another --out"),
        ("pictures", "pictures/01.png/a.csv", "expected a name in a folder that exists"),
        ("note.txt", "a.csv", "none of 1 pictures could be predicted; the first: note.txt: the picture begins with"),
        ("note.parquet", "a.csv", "the first: note.parquet: is not a Parquet file"),
        ("note.zip", "a.csv", r"the first: note.zip: cannot be read to its end \(File is not a zip file\)"),
        ("note.tar", "a.csv", "the first: note.tar: cannot be read to its end"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    done: Done,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: str,
    out: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("there.csv").write_text("mine")
    for suffix in ("txt", "zip", "tar", "parquet"):
        Path(f"note.{suffix}").write_text("no picture")
    with pytest.raises(BatchError, match=message) as raised:
        done(inputs, Path(out))
    assert "\n" not in str(raised.value)
    assert Path("there.csv").read_text() == "mine"
    assert not list(tmp_path.glob("a.csv*.partial")) + list(tmp_path.glob("*job.json"))


def test_parquet_without_pyarrow_is_said_in_one_line(
    done: Done, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.batch.parquet.find_spec", lambda name: None)
    (tmp_path / "a.parquet").write_bytes(b"")
    for inputs, out in ((pictures, "b.parquet"), (tmp_path / "a.parquet", "a.csv")):
        with pytest.raises(BatchError, match="Parquet needs pyarrow, which is not installed"):
            done(inputs, tmp_path / out)
    assert done(pictures, tmp_path / "a.csv").pictures == COUNT


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (Progress(1200, 0, 400.4, None), "1,200 pictures, 400 a second"),
        (Progress(1200, 3, 10, 2000), "1,200 of 2,000 pictures, 10 a second, 1:20 left, 3 failed"),
        (Progress(0, 0, 10, 100_000), "0 of 100,000 pictures, 10 a second, 2:46:40 left"),
    ],
)
def test_progress_says_rate_and_time_left(progress: Progress, expected: str) -> None:
    assert text(progress) == expected


def test_progress_counts_what_is_there(done: Done, pictures: Path, mini: Settings, tmp_path: Path) -> None:
    from app.batch.run import Job, run

    shown: list[Progress] = []
    asyncio.run(run(Job([str(pictures)], tmp_path / "a.csv"), mini, shown.append))
    assert [progress.done for progress in shown] == [*range(4, COUNT, 4), COUNT]
    assert {progress.total for progress in shown} <= {None, COUNT}


def numbered(names: Iterator[str]) -> Iterator[Picture]:
    return (Picture(name, lambda: b"") for name in names)


def test_what_was_predicted_before_must_still_be_there() -> None:
    chunks = Chunks(numbered(iter("abcdef")), 4)
    first = next(chunks, None)
    assert first
    again = Chunks(numbered(iter("abcdefg")), 4)
    again.skip(4, first.names)
    rest = next(again, None)
    assert rest
    assert [picture.name for picture in rest.pictures] == ["e", "f", "g"]
    for names in ("abdcef", "abc", ""):
        with pytest.raises(BatchError, match="the first 4 pictures are not those"):
            Chunks(numbered(iter(names)), 4).skip(4, first.names)
