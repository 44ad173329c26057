"""NumPy's npy format: the header is parsed strictly and checked before the data is touched; nothing is evaluated."""

import io
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInput, MalformedRequest, TooLarge

MAGIC = b"\x93NUMPY"
LENGTH_BYTES = {b"\x01\x00": 2, b"\x02\x00": 4}
"""By format version: how many bytes hold the header's length."""

MAX_HEADER = 10_000
"""Bytes; NumPy's own limit. NumPy pads to a multiple of 64, so a usual header has 118."""

ENTRY = re.compile(
    r"""\s*(?:'(\w{1,20})'|"(\w{1,20})")\s*:\s*"""
    r"""(True|False|'[^'"]{1,50}'|"[^'"]{1,50}"|\([\s\dL,-]*\)|\[[^{}]*\])\s*(?:,|$)"""
)
"""One entry of the header's dictionary; a list in brackets describes structured elements."""
DESCRIPTION = re.compile(r"[<>=|]?[a-zA-Z?]\d{0,9}(?:\[\w{1,10}\])?")
DIMENSION = re.compile(r"\s*(-?\d{1,19})L?\s*")

Check = Callable[[tuple[int, ...], np.dtype[Any]], None]


def parse(content: bytes, where: str, check: Check) -> NDArray[np.generic]:
    """The array of an npy file, read-only and without a copy.

    `check` is called with the shape and dtype that the header declares, and raises if they are not wanted. Raises
    MalformedRequest, naming the field `where`, if this is not an npy file or its data is longer or shorter than
    declared; InvalidInput if its elements are structured.
    """
    try:
        start, header = _header(content)
        shape, fortran, dtype = _declared(header, where)
    except ValueError as error:
        raise MalformedRequest.about(where, f"the {where} is not an npy file: {error}") from None
    check(shape, dtype)
    data = memoryview(content)[start:]
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        detail = f"the npy header declares {expected} bytes of data; found {len(data)}"
        raise MalformedRequest.about(where, detail)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _header(content: bytes) -> tuple[int, str]:
    """Where the data starts, and the header's text. Raises ValueError."""
    if not content.startswith(MAGIC):
        raise ValueError(f"it begins with {content[:6]!r}; expected {MAGIC!r}")
    size = LENGTH_BYTES.get(content[6:8])
    if size is None:
        raise ValueError(f"its version is {'.'.join(map(str, content[6:8]))}; expected 1.0 or 2.0")
    length, start = int.from_bytes(content[8 : 8 + size], "little"), 8 + size
    if length > MAX_HEADER:
        raise ValueError(f"its header has {length} bytes; expected at most {MAX_HEADER}")
    if len(content) < start + length:
        raise ValueError(f"it ends inside its header of {length} bytes")
    return start + length, content[start : start + length].decode("latin-1").strip()


def _declared(header: str, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether the data is in Fortran's order, and dtype. Raises ValueError, and InvalidInput as `parse`."""
    entries = _entries(header)
    if entries.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header is not a dictionary of descr, fortran_order and shape")
    if entries["descr"].startswith("["):
        raise InvalidInput.about(where, f"the {where} has structured elements; expected an array of plain numbers")
    if entries["fortran_order"] not in ("True", "False"):
        raise ValueError(f"its fortran_order is {entries['fortran_order']:.50}; expected True or False")
    return _shape(entries["shape"]), entries["fortran_order"] == "True", _dtype(entries["descr"])


def _entries(header: str) -> dict[str, str]:
    """The entries of the dictionary that `header` spells; none if it is not one."""
    if not (header.startswith("{") and header.endswith("}")):
        return {}
    inner, at, entries = header[1:-1].strip(), 0, {}
    while at < len(inner):
        entry = ENTRY.match(inner, at)
        if not entry:
            return {}
        entries[entry[1] or entry[2]] = entry[3]
        at = entry.end()
    return entries


def _shape(text: str) -> tuple[int, ...]:
    if not text.startswith("("):
        raise ValueError(f"its shape is {text:.50}; expected a tuple of integers")
    *dimensions, last = text[1:-1].split(",")
    if last.strip():
        dimensions.append(last)
    found = [DIMENSION.fullmatch(dimension) for dimension in dimensions]
    if len(found) > 64 or None in found:
        raise ValueError(f"its shape is {text:.50}; expected at most 64 integers of at most 19 digits")
    return tuple(int(dimension[1]) for dimension in found if dimension)


def _dtype(text: str) -> np.dtype[Any]:
    description = text[1:-1]
    if not DESCRIPTION.fullmatch(description):
        raise ValueError(f"its descr is {text:.50}; expected one type, such as '<f8'")
    try:
        return np.dtype(description)
    except (TypeError, ValueError):
        raise ValueError(f"its descr is {text:.50}; expected one type, such as '<f8'") from None


def empty(shape: tuple[int, ...], dtype: np.dtype[Any], most: int) -> tuple[memoryview, NDArray[Any]]:
    """A whole npy file of that shape and dtype, and its data as an array to fill in.

    Raises TooLarge if the data would have more than `most` bytes.
    """
    if (needed := math.prod(shape) * dtype.itemsize) > most:
        detail = f"the answer, {dtype} of shape {list(shape)}, has {needed} bytes; expected at most {most}"
        raise TooLarge.about("Accept", detail)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype.str, "fortran_order": False, "shape": shape})
    file = np.empty(header.tell() + needed, np.uint8)
    file[: header.tell()] = np.frombuffer(header.getbuffer(), np.uint8)
    return file.data, file[header.tell() :].view(dtype).reshape(shape)
