"""Parquet, read and written by pyarrow, which is the extra `batch`."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.batch.errors import BatchError
from app.errors import InvalidInput, one_of

if TYPE_CHECKING:
    from pyarrow import RecordBatch
    from pyarrow.parquet import ParquetFile

ROWS = 64
"""Rows that are read at once; each may hold megabytes."""
BLOCK = 1 << 24
"""Bytes of JSON that become one group of rows, some ten thousand."""
USUAL = "image"
"""The column to read where there are several that could be meant, as data sets call it."""


def require() -> None:
    """Raises BatchError where pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        raise BatchError("Parquet needs pyarrow, which is not installed: pip install 'convoscope[batch]'")


def values(path: str, column: str | None) -> Iterator[tuple[int, Callable[[], object]]]:
    """The number of each row, from 0, and what reads its value in `column`: bytes, the path of a file, or None.

    Values are to be read in their order, each before the next row is asked for; no others are read from the disk. A
    column of structs counts by its field `bytes`, or `path` where that is null, as in the data sets of Hugging Face.
    Raises InvalidInput if the file is not Parquet or has no such column.
    """
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
    except pyarrow.ArrowException as error:
        raise InvalidInput(f"is not a Parquet file ({_reason(error)})") from None
    with file:
        name, row = _column(file, column), 0
        for group in range(file.metadata.num_row_groups):
            values = _Group(file, group, name)
            for index in range(file.metadata.row_group(group).num_rows):
                yield row, partial(values.value, index)
                row += 1


class _Group:
    """The values of one group of rows, read from the disk when the first is asked for."""

    def __init__(self, file: "ParquetFile", group: int, column: str) -> None:
        self._batches: Iterator[RecordBatch] = file.iter_batches(ROWS, row_groups=[group], columns=[column])
        self._batch: RecordBatch | None = None
        self._end = 0

    def value(self, index: int) -> object:
        """The value at `index`, which is above the last one. Raises InvalidInput where the file is damaged."""
        import pyarrow

        try:
            while index >= self._end:
                self._batch = next(self._batches)
                self._end += self._batch.num_rows
        except (pyarrow.ArrowException, OSError, StopIteration) as error:
            raise InvalidInput(f"cannot be read from the Parquet file ({_reason(error)})") from None
        assert self._batch
        found = self._batch.column(0)[index - self._end].as_py()
        if isinstance(found, dict):
            return found.get("bytes") or found.get("path")
        return found


def _column(file: "ParquetFile", wanted: str | None) -> str:
    """The column to read. Raises InvalidInput."""
    fitting = [field.name for field in file.schema_arrow if _fits(field.type)]
    if wanted is not None:
        if wanted not in fitting:
            raise InvalidInput(f"no column of bytes or paths is called {wanted!r:.80}; expected {one_of(fitting)}")
        return wanted
    if len(fitting) != 1 and USUAL not in fitting:
        raise InvalidInput(f"has {len(fitting)} columns of bytes or paths; expected --column to be {one_of(fitting)}")
    return USUAL if USUAL in fitting else fitting[0]


def _reason(error: Exception) -> str:
    """In one line; rows that follow damage have no reason of their own."""
    return (str(error).splitlines() or ["an earlier row is damaged"])[0][:200]


def _fits(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return any(kind.get_field_index(name) >= 0 for name in ("bytes", "path"))
    checks = (types.is_binary, types.is_large_binary, types.is_string, types.is_large_string)
    return any(check(kind) for check in checks)


def from_json_lines(rows: Path, out: Path) -> None:
    """Write the `out` file with what `formats.json_lines` wrote to `rows`, a block at a time. Raises OSError."""
    import pyarrow as pa
    from pyarrow import json
    from pyarrow.parquet import ParquetWriter

    label = [("label", pa.string()), ("index", pa.int32()), ("probability", pa.float64())]
    schema = pa.schema(
        [
            ("picture", pa.string()),
            ("model", pa.string()),
            ("version", pa.string()),
            *label,
            ("ood_score", pa.float64()),
            ("is_ood", pa.bool_()),
            ("top", pa.list_(pa.struct(label))),
            ("views", pa.int32()),
        ]
    )
    with ParquetWriter(out, schema, compression="zstd") as writer:
        options = json.ParseOptions(explicit_schema=schema)
        with json.open_json(rows, json.ReadOptions(block_size=BLOCK), options) as batches:
            for batch in batches:
                writer.write_batch(batch)
