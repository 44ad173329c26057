import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import InvalidInput, MalformedRequest
from app.wire import npy


def saved(array: NDArray[Any], version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def with_header(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def parsed(content: bytes) -> NDArray[np.generic]:
    return npy.parse(content, "body", lambda shape, dtype: None)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("dtype", ["|u1", "<f4", ">f8", "<i2", "|b1", "<c16", "<U3", "<M8[s]"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 0), (1, 2, 3, 4)])
def test_what_numpy_writes_is_read(version: tuple[int, int], dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).astype("<i8").reshape(shape).astype(dtype)
    found = parsed(saved(array, version))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_fortrans_order_is_read() -> None:
    array = np.asfortranarray(np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(parsed(saved(array)), array)


@pytest.mark.parametrize(
    "header",
    [
        "{'shape': (1, 2L), 'fortran_order': False, 'descr': '|u1'}",
        '{"descr":"|u1","fortran_order":False,"shape":(2,),}\n',
        "  {'descr' : '|u1' , 'fortran_order' : False , 'shape' : ( 2 , ) , }  \n",
    ],
)
def test_headers_of_other_writers_are_read(header: str) -> None:
    assert parsed(with_header(header) + b"\1\2").ravel().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("{'descr':'|u1','fortran_order':False,'shape':(1,0x" + "f" * 4000 + ",1,3)}", "not a dictionary"),
        ("{'descr':'|u1','fortran_order':False,'shape':(" + "9" * 5000 + ",)}", "at most 19 digits"),
        ("{'descr':'|u1','fortran_order':False,'shape':(" + "1," * 65 + ")}", "at most 64 integers"),
        ("{'descr':'|u1','fortran_order':False,'shape':(1,,2)}", "integers"),
        ("{'descr':'|u1','fortran_order':False,'shape':(True,)}", "not a dictionary"),
        ("{'descr':'|u1','fortran_order':False,'shape':'x'}", "its shape is 'x'"),
        ("{'descr':'|u1','fortran_order':'no','shape':(1,)}", "its fortran_order is 'no'"),
        ("{'descr':'nonsense','fortran_order':False,'shape':(1,)}", "its descr is 'nonsense'"),
        ("{'descr':'<q9','fortran_order':False,'shape':(1,)}", "its descr is '<q9'"),
        ("{'descr':'|u1','fortran_order':False}", "not a dictionary of descr"),
        ("{'descr':'|u1','fortran_order':False,'shape':(1,),'more':(1,)}", "not a dictionary of descr"),
        ("__import__('os').abort()", "not a dictionary"),
        ("(" * 9000, "not a dictionary"),
        ("{" * 9000 + "}" * 900, "not a dictionary"),
        (" " * 20_000, "20000 bytes; expected at most 10000"),
    ],
)
def test_a_wrong_header_is_malformed(header: str, reason: str) -> None:
    with pytest.raises(MalformedRequest, match=reason) as error:
        parsed(with_header(header) + b"\1")
    assert len(error.value.detail) < 300


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x93NUMPY", b"\x93NUMPY\x03\x00\x01\x00{}", b"\x93NUMPY\x01\x00\xff\x00{}", with_header("")],
)
def test_what_is_not_an_npy_file_is_malformed(content: bytes) -> None:
    with pytest.raises(MalformedRequest, match="the body is not an npy file"):
        parsed(content)


@pytest.mark.parametrize("change", [-1, 1])
def test_data_of_another_length_than_declared_is_malformed(change: int) -> None:
    content = saved(np.zeros(4, np.uint8)) + b"0"
    with pytest.raises(MalformedRequest, match=f"declares 4 bytes of data; found {4 + change}"):
        parsed(content[: len(content) - 1 + change])


def test_structured_elements_are_rejected() -> None:
    with pytest.raises(InvalidInput, match="structured"):
        parsed(saved(np.zeros(3, [("a", "<i4")])))
