import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.batch.errors import BatchError
from app.batch.sources import Sources
from app.errors import ConvoscopeError
from app.settings import Settings
from tests.batch.conftest import COUNT, Done, lines, problems


def packed(folder: Path) -> dict[str, bytes]:
    """Name and content of each picture below a folder, in its order."""
    files = sorted(folder.rglob("*.png"), key=lambda path: (len(path.parts), path))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def write_zip(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, entries: dict[str, bytes], mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def write_parquet(file: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), file, row_group_size=13)
    return file


def names(*inputs: str | Path, out: Path = Path("out.csv")) -> list[str]:
    return [picture.name for picture in Sources([str(path) for path in inputs], out, most_bytes=10**6)]


@pytest.mark.parametrize("form", ["zip", "stored", "tar", "gz", "xz", "bytes", "paths", "struct", "glob", "files"])
def test_every_kind_of_input_gives_the_same_rows(done: Done, pictures: Path, tmp_path: Path, form: str) -> None:
    entries = packed(pictures)
    done(pictures, tmp_path / "expected.jsonl")
    makers: dict[str, Any] = {
        "zip": lambda: write_zip(tmp_path / "a.ZIP", entries),
        "stored": lambda: write_zip(tmp_path / "a.zip", entries, zipfile.ZIP_STORED),
        "tar": lambda: write_tar(tmp_path / "a.tar", entries),
        "gz": lambda: write_tar(tmp_path / "a.tgz", entries, "w:gz"),
        "xz": lambda: write_tar(tmp_path / "a.tar.xz", entries, "w:xz"),
        "bytes": lambda: write_parquet(tmp_path / "a.parquet", image=list(entries.values()), label=[1] * COUNT),
        "paths": lambda: write_parquet(tmp_path / "a.parquet", path=[f"pictures/{name}" for name in entries]),
        "struct": lambda: write_parquet(
            tmp_path / "a.parquet",
            image=[{"bytes": data, "path": "no"} for data in entries.values()],
            text=["x"] * COUNT,
        ),
        "glob": lambda: [f"{pictures}/*.png", f"{pictures}/m*"],
        "files": lambda: [pictures / name for name in entries],
    }
    done(makers[form](), tmp_path / "a.jsonl")
    found, expected = lines(tmp_path / "a.jsonl"), lines(tmp_path / "expected.jsonl")
    for row, other, (number, name) in zip(found, expected, enumerate(entries), strict=True):
        ending = f"a.parquet#{number}" if form in ("bytes", "paths", "struct") else name
        assert row.pop("picture").endswith(ending)
        assert other.pop("picture").endswith(name)
    assert found == expected


def test_what_is_hidden_is_left_out_and_links_to_folders_fail(pictures: Path, tmp_path: Path) -> None:
    (pictures / ".git").mkdir()
    (pictures / ".git" / "config").write_text("")
    (pictures / "round").symlink_to(pictures)
    (pictures / "link.png").symlink_to(pictures / "01.png")
    found = [os.path.relpath(name, pictures) for name in names(pictures)]
    assert found == [*sorted(name for name in found if "/" not in name), *(f"more/{i:02}.png" for i in range(0, 30, 3))]
    assert "link.png" in found
    assert not {"round/01.png", ".git/config"} & set(found)
    link = next(picture for picture in Sources([str(pictures)], Path("a.csv"), most_bytes=9) if "round" in picture.name)
    with pytest.raises(ConvoscopeError, match="is a link to a folder; expected a file"):
        link.read()
    archive = write_zip(tmp_path / "a.zip", {"__MACOSX/._a.png": b"", "a/.b": b"", "a/b.png": b"", "../c.png": b""})
    assert names(archive) == [f"{archive}/a/b.png", f"{archive}/../c.png"]


def test_a_glob_takes_each_file_once(pictures: Path) -> None:
    everything = names(pictures)
    for pattern in ("**", "**/*", "**/*.png"):
        assert sorted(names(f"{pictures}/{pattern}")) == sorted(everything)
    strange = pictures / "a[1].png"
    strange.write_bytes(b"")
    assert names(strange) == [str(strange)]


def test_the_files_of_the_job_are_no_pictures(pictures: Path) -> None:
    before = names(pictures)
    for suffix in ("", ".partial", ".job.json", ".failures.jsonl"):
        (pictures / f"out.csv{suffix}").write_text("x")
    assert names(pictures, out=pictures / "out.csv") == before
    assert names(f"{pictures}/*", out=pictures / "out.csv") == before
    assert len(names(pictures)) == len(before) + 4


def test_entries_that_cannot_be_taken_fail_alone(done: Done, pictures: Path, mini: Settings, tmp_path: Path) -> None:
    picture = (pictures / "01.png").read_bytes()
    archive = write_zip(
        tmp_path / "a.zip",
        {"good.png": picture, "bomb.png": bytes(3_000_000), "secret.png": picture, "damaged.png": bytes(1000)},
    )
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):  # where the flags are, of the third entry
        at = -1
        for _ in range(3):
            at = content.index(signature, at + 1)
        content[at + offset] |= 1
    at = content.index(b"damaged.png") + len("damaged.png")
    content[at : at + 5] = b"\xff" * 5
    archive.write_bytes(content)
    small = mini.model_copy(update={"max_body": 100_000})
    assert done(archive, tmp_path / "a.csv", small).pictures == 1
    found = problems(tmp_path / "a.csv")
    assert found["bomb.png"] == "has 3000000 bytes; expected at most 100000 (CONVOSCOPE_MAX_BODY)"
    assert found["secret.png"] == "is encrypted; expected an archive without a password"
    assert found["damaged.png"].startswith("cannot be unpacked (")
    assert len(found) == 3


def test_links_and_devices_in_a_tar_are_not_followed(done: Done, pictures: Path, tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", {"good.png": (pictures / "01.png").read_bytes()})
    with tarfile.open(tar, "a") as archive:
        for name, kind in (("soft", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("device", tarfile.CHRTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, str(pictures / "01.png")
            archive.addfile(entry)
    assert done(tar, tmp_path / "a.csv").pictures == 1
    assert problems(tmp_path / "a.csv") == dict.fromkeys(
        ("soft", "hard", "device"), "is a link or a device; expected a file"
    )


@pytest.mark.parametrize("form", ["a.zip", "a.tar", "a.tar.gz", "a.parquet"])
def test_a_truncated_archive_is_one_failure_and_the_rest_is_predicted(
    done: Done, pictures: Path, tmp_path: Path, form: str
) -> None:
    entries = packed(pictures)
    path = tmp_path / form
    if form == "a.zip":
        write_zip(path, entries)
    elif form == "a.parquet":
        write_parquet(path, image=list(entries.values()))
    else:
        write_tar(path, entries, "w:gz" if form.endswith("gz") else "w")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    out = tmp_path / "a.csv"
    summary = done([path, pictures / "01.png"], out)
    assert summary.pictures >= 1
    assert out.read_text().splitlines()[-1].startswith(f"{pictures / '01.png'},")
    assert form in problems(out)
    if ".tar" in form:
        assert summary.pictures > 5


def test_columns_of_parquet_are_found_or_named(done: Done, pictures: Path, tmp_path: Path) -> None:
    data = list(packed(pictures).values())[:3]
    table = write_parquet(tmp_path / "a.parquet", front=data, back=data, label=[1, 2, 3])
    with pytest.raises(BatchError, match="has 2 columns of bytes or paths; expected --column to be one of front, back"):
        done(table, tmp_path / "a.csv")
    with pytest.raises(BatchError, match="no column of bytes or paths is called 'label'; expected one of front, back"):
        done(table, tmp_path / "a.csv", column="label")
    assert done(table, tmp_path / "a.csv", column="back").pictures == 3
    none = write_parquet(tmp_path / "b.parquet", image=[None, data[0], b""])
    assert done(none, tmp_path / "b.csv").pictures == 1
    assert problems(tmp_path / "b.csv")["b.parquet#0"] == "the row holds NoneType; expected bytes or a path"


def test_damage_within_a_parquet_file_stops_nothing(done: Done, pictures: Path, tmp_path: Path) -> None:
    table = write_parquet(tmp_path / "a.parquet", image=list(packed(pictures).values()))
    column = pq.ParquetFile(table).metadata.row_group(1).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(table.read_bytes())
    content[start : start + 50] = b"\xff" * 50
    table.write_bytes(content)
    summary = done([table, pictures / "01.png"], tmp_path / "a.csv")
    found = problems(tmp_path / "a.csv")
    assert list(found) == [f"a.parquet#{row}" for row in range(13, 26)]
    assert all(problem.startswith("cannot be read from the Parquet file (") for problem in found.values())
    assert "an earlier row is damaged" in found["a.parquet#25"]
    assert summary.pictures == COUNT + 1 - 13


def test_nothing_is_read_before_it_is_asked_for(pictures: Path, tmp_path: Path) -> None:
    for path in pictures.rglob("*.png"):
        path.unlink()
        os.mkfifo(path)  # which would wait for a writer
    found = list(Sources([str(pictures)], tmp_path / "a.csv", most_bytes=10))
    assert len(found) == COUNT
    with pytest.raises(ConvoscopeError, match="is a pipe or a device; expected a file"):
        found[0].read()
