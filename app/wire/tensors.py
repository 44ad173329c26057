"""Bodies of the Open Inference Protocol V2 with its binary extension: a JSON head, and behind it the tensors' bytes.

Specification: https://github.com/kserve/open-inference-protocol; the binary extension is Triton's
`extension_binary_data.md`. A tensor of type BYTES has, for each element, a 4-byte little-endian length and its bytes.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from app.deadline import Checkpoint
from app.errors import InvalidInput, MalformedRequest
from app.imaging import Input
from app.settings import Settings
from app.wire import instances, json
from app.wire.multipart import Part
from app.wire.pictures import Pictures, of_files

HEADER = "Inference-Header-Content-Length"
DATATYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype("u1"), "FP32": np.dtype("<f4")}
"""Of pixel values; encoded pictures are BYTES."""
EXPECTED = "UINT8 or FP32 (pixel values from 0 to 255) or BYTES (encoded pictures)"
INPUT = "/inputs/0"


class Tensor(NamedTuple):
    """One output; `values` are flat, in row-major order: strings for the datatype BYTES, numbers for FP32."""

    name: str
    datatype: str
    shape: list[int]
    values: Sequence[Any]


def split(content: bytes, head_length: str | None, most: int) -> tuple[dict[str, Any], memoryview]:
    """The JSON head of a request and the bytes behind it; `head_length` is the header HEADER, None if there was none.

    Raises MalformedRequest if the header is not a number within the body or the head is not JSON, TooLarge if the head
    has more than `most` values, InvalidInput if it is not an object.
    """
    size = len(content)
    if head_length is not None:
        valid = head_length.isascii() and head_length.isdigit() and len(head_length) < 20
        if not valid or int(head_length) > size:
            detail = f"{HEADER} is {head_length!r:.80}; expected at most the {size} bytes of the body"
            raise MalformedRequest.about(HEADER, detail)
        size = int(head_length)
    return json.parse_object(content[:size], "body", most), memoryview(content)[size:]


def pictures(
    head: Mapping[str, Any], rest: memoryview, input: Input, settings: Settings, checkpoint: Checkpoint
) -> Pictures:
    """The pictures in the one input of a request. Raises InvalidInput, TooLarge, UnsupportedPicture, as `instances`."""
    inputs = head.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        detail = f"inputs is {json.shown(inputs)}; expected a list of one tensor, the pictures"
        raise InvalidInput.about("/inputs", detail)
    (tensor,) = inputs
    datatype, shape = tensor.get("datatype"), _shape(tensor.get("shape"), input)
    if not isinstance(datatype, str) or datatype not in (*DATATYPES, "BYTES"):
        detail = f"datatype is {json.shown(datatype)}; expected {EXPECTED}"
        raise InvalidInput.about(f"{INPUT}/datatype", detail)
    binary = _binary(tensor, rest)
    if datatype == "BYTES":
        instances.reject_too_many(math.prod(shape), settings, f"{INPUT}/shape")
        return of_files(_files(tensor, math.prod(shape), binary), input, settings, checkpoint)
    values = _of_json(tensor, shape) if binary is None else _of_bytes(binary, DATATYPES[datatype], shape)
    if datatype == "UINT8" and binary is None and (values % 1).any():
        raise InvalidInput.about(f"{INPUT}/data", "data has fractions; expected integers from 0 to 255 for UINT8")
    return instances.of_pixels(values, INPUT, input, settings)


def answer(head: dict[str, Any], tensors: Sequence[Tensor], binary: Sequence[bool]) -> tuple[bytes, int | None]:
    """A response's body, and the length of its JSON head if bytes follow it: those of the tensors that are `binary`."""
    outputs: list[dict[str, Any]] = []
    behind: list[bytes] = []
    for tensor, as_bytes in zip(tensors, binary, strict=True):
        output: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if as_bytes:
            behind.append(_to_bytes(tensor))
            output["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            output["data"] = tensor.values
        outputs.append(output)
    text = orjson.dumps({**head, "outputs": outputs})
    return (text + b"".join(behind), len(text)) if behind else (text, None)


def _shape(value: object, input: Input) -> tuple[int, ...]:
    """Raises InvalidInput if it is not a list of up to 4 positive integers."""
    if not isinstance(value, list) or not 1 <= len(value) <= 4 or any(type(n) is not int or n < 1 for n in value):
        detail = (
            f"shape is {json.shown(value)}; expected {instances.shapes(input)} for pixels, [N] for encoded pictures"
        )
        raise InvalidInput.about(f"{INPUT}/shape", detail)
    return tuple(value)


def _binary(tensor: Mapping[str, Any], rest: memoryview) -> memoryview | None:
    """The tensor's bytes behind the head; None if its values are in the head. Raises InvalidInput."""
    parameters = tensor.get("parameters") or {}
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if (size is None) == ("data" not in tensor):
        found = "has both data and binary_data_size" if size is not None else "has neither data nor binary_data_size"
        raise InvalidInput.about(INPUT, f"the input {found}; expected one of them")
    expected = 0 if size is None else size
    if type(expected) is not int or expected != len(rest):
        said = "has no binary_data_size" if size is None else f"has a binary_data_size of {json.shown(size)}"
        detail = f"the input {said}, and {len(rest)} bytes follow the JSON (by the header {HEADER}); expected as many"
        raise InvalidInput.about(f"{INPUT}/parameters/binary_data_size", detail)
    return None if size is None else rest


def _of_bytes(data: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    needed = math.prod(shape) * dtype.itemsize
    if needed != len(data):
        detail = f"shape is {list(shape)}, which needs {needed} bytes; found {len(data)}"
        raise InvalidInput.about(f"{INPUT}/shape", detail)
    return np.frombuffer(data, dtype).reshape(shape)


def _of_json(tensor: Mapping[str, Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Values in JSON, flat or nested."""
    values = instances.numbers(tensor["data"], f"{INPUT}/data")
    if values.size != math.prod(shape) or (values.ndim > 1 and values.shape != shape):
        detail = f"shape is {list(shape)}, which needs {math.prod(shape)} values; data has the shape {values.shape}"
        raise InvalidInput.about(f"{INPUT}/shape", detail)
    return values.reshape(shape)


def _files(tensor: Mapping[str, Any], count: int, binary: memoryview | None) -> list[Part]:
    """The `count` encoded pictures of a BYTES tensor: in JSON as Base64, in binary each behind its length."""
    where = f"{INPUT}/data"
    if binary is not None:
        return [Part(f"{where}/{i}", element) for i, element in enumerate(_elements(binary, count))]
    found = _flat(tensor["data"])
    if len(found) != count:
        raise InvalidInput.about(f"{INPUT}/shape", f"shape says {count} pictures; found {len(found)} in data")
    return instances.decoded_all([(f"{where}/{i}", text) for i, text in enumerate(found)])


def _flat(data: object) -> list[Any]:
    """A list of texts, each in a list of its own or not (MLServer sends the shape [N, 1])."""
    if not isinstance(data, list):
        raise InvalidInput.about(f"{INPUT}/data", f"data is {json.shown(data)}; expected a list of Base64 texts")
    return [inner for element in data for inner in (element if isinstance(element, list) else [element])]


def _elements(data: memoryview, count: int) -> list[bytes]:
    """Exactly `count` elements, each behind its length. Raises InvalidInput if the data ends earlier or later."""
    found: list[bytes] = []
    at = 0
    for i in range(count):
        end = at + 4 + (struct.unpack_from("<I", data, at)[0] if at + 4 <= len(data) else 0)
        if end > len(data):
            detail = f"element {i} of {count} would end after {end} bytes; the tensor has {len(data)}"
            raise InvalidInput.about(f"{INPUT}/data/{i}", detail)
        found.append(bytes(data[at + 4 : end]))
        at = end
    if at < len(data):
        raise InvalidInput.about(f"{INPUT}/shape", f"shape says {count} pictures; {len(data) - at} bytes follow them")
    return found


def _to_bytes(tensor: Tensor) -> bytes:
    if tensor.datatype != "BYTES":
        return struct.pack(f"<{len(tensor.values)}f", *tensor.values)
    return b"".join([len(text).to_bytes(4, "little") + text for text in map(str.encode, tensor.values)])
