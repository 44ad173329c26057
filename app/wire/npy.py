"""NumPy's npy format, from anyone: the header is checked before the data is touched, and nothing is unpickled."""

import io
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import MalformedRequest, TooLarge

READERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def parse(content: bytes, where: str, check: Callable[[tuple[int, ...], np.dtype[Any]], None]) -> NDArray[np.generic]:
    """The array of an npy file, read-only and without a copy.

    `check` is called with the shape and the dtype the header tells of and refuses what is not wanted, by raising. After
    it, raises MalformedRequest, for the field `where`, if this is no npy file or its data is not as long as it says.
    """
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        if version not in READERS:
            raise ValueError(f"its version is {version[0]}.{version[1]}; expected 1.0 or 2.0")
        shape, fortran, dtype = READERS[version](file)
        if bool in map(type, shape):  # which numpy lets pass for integers
            raise ValueError(f"its shape is {shape}; expected integers")
    except Exception as error:  # numpy evaluates the header's text, which can fail in any way
        reason = re.split(r"\n|: <ast", str(error))[0] if isinstance(error, ValueError) else "its header cannot be read"
        detail = f"the {where} is not an npy file: {reason:.200}"
        raise MalformedRequest.about(where, detail) from error
    check(shape, dtype)
    data = memoryview(content)[file.tell() :]
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        detail = f"the header says {expected} bytes of data, {len(data)} follow"
        raise MalformedRequest.about(where, detail)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def empty(shape: tuple[int, ...], dtype: np.dtype[Any], most: int) -> tuple[memoryview, NDArray[Any]]:
    """A whole npy file of that shape and dtype, and its data as an array, to be filled in.

    Raises TooLarge where the data would have more than `most` bytes.
    """
    if (needed := math.prod(shape) * dtype.itemsize) > most:
        detail = f"the answer, {dtype} of shape {list(shape)}, has {needed} bytes; expected at most {most}"
        raise TooLarge.about("Accept", detail)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype.str, "fortran_order": False, "shape": shape})
    file = np.empty(header.tell() + needed, np.uint8)
    file[: header.tell()] = np.frombuffer(header.getbuffer(), np.uint8)
    return file.data, file[header.tell() :].view(dtype).reshape(shape)
