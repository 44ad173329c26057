"""One row for each picture, in the format that the name of the file asks for."""

import csv
import io
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from app.batch import parquet
from app.batch.errors import BatchError

Row = dict[str, Any]
"""`picture`, `model`, `version`, what POST /predict says of a picture (`schemas.Prediction`), and `views`."""

PLAIN = ("picture", "model", "version", "label", "index", "probability", "ood_score", "is_ood", "views")
"""The columns of CSV, before `label_2`, `probability_2` and so on, which `top` has."""


class Format(NamedTuple):
    """How rows become a file."""

    header: Callable[[int], bytes]
    """What comes before the first row, for the number of labels in `top`."""
    lines: Callable[[Sequence[Row]], bytes]
    """Rows as they are appended to those so far."""
    finish: Callable[[Path, Path], None]
    """Makes the finished file of the rows so far, and removes these; may be done again where it was interrupted."""


def of(out: Path) -> Format:
    """The format of a file. Raises BatchError if its name ends in no suffix of FORMATS, or pyarrow is missing."""
    if out.suffix not in FORMATS:
        raise BatchError(f"--out is {out}; expected a name that ends in {', '.join(FORMATS)}")
    if out.suffix == ".parquet":
        parquet.require()
    return FORMATS[out.suffix]


def json_lines(rows: Iterable[Row]) -> bytes:
    """Each row as JSON and a line feed."""
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def _csv_header(top: int) -> bytes:
    return _csv([[*PLAIN, *(f"{name}_{i}" for i in range(2, top + 1) for name in ("label", "probability"))]])


def _csv_lines(rows: Iterable[Row]) -> bytes:
    return _csv([*(row[name] for name in PLAIN), *_others(row)] for row in rows)


def _others(row: Row) -> Iterable[object]:
    return (value for label in row["top"][1:] for value in (label["label"], label["probability"]))


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    """RFC 4180, but lines end in a line feed alone."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _to_parquet(rows: Path, out: Path) -> None:
    new = out.with_name(f"{out.name}.new")
    parquet.from_json_lines(rows, new)
    with new.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(new, out)
    rows.unlink()


FORMATS = {
    ".csv": Format(_csv_header, _csv_lines, os.replace),
    ".jsonl": Format(lambda top: b"", json_lines, os.replace),
    ".parquet": Format(lambda top: b"", json_lines, _to_parquet),
}
