"""What /convolve and /pool work on: an array or a picture, from any body."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app import imaging
from app.errors import ConvoscopeError, FieldError, InvalidInput, TooLarge
from app.settings import Settings
from app.wire import body as bodies
from app.wire import json, media_types, npy
from app.wire.body import Body
from app.wire.multipart import Part
from app.wire.schemas import MAX_RANK

GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""The shares of red, green and blue in a picture's brightness (ITU-R BT.601)."""


@dataclass(frozen=True, slots=True)
class Operand:
    """An array of any real dtype, or a picture: (H, W, 3) uint8, or (H, W) float32 from 0 to 255."""

    values: NDArray[Any]
    """NaN where `absent` is true; whatever the dtype, to be computed in `arithmetic`."""
    absent: NDArray[np.bool_] | None = None
    """True where a value is missing; None if no value is."""
    picture: bool = False
    reduced_from: str = ""
    """What a picture's samples were before they became 8 bits, such as "16-bit samples"; empty if they had 8 bits."""

    @property
    def arithmetic(self) -> np.dtype[Any]:
        """The dtype to compute in."""
        return np.dtype(np.float32 if self.picture else np.float64)

    def grey(self) -> "Operand":
        """A picture's brightness; an array unchanged."""
        return replace(self, values=self.values @ GREY) if self.picture and self.values.ndim == 3 else self


def read(content_type: str, content: bytes, query: str | None, settings: Settings) -> tuple[Operand, dict[str, Any]]:
    """The operand of a request, and its other fields, not yet validated.

    The operand is the field `input` of a JSON body; or the part `image` or `input` of a form, whose part `options`
    holds the fields as JSON, and whose text fields are fields too; or the whole of any other body, and then `query`
    has the fields as JSON.

    Raises what `body.parse` raises; InvalidInput for a wrong value or part; and what decoding a picture raises.
    """
    body = bodies.parse(content_type, content, settings)
    if body.is_json:
        _reject_query(query, "the body")
        return _from_json(body)
    if body.media_type == media_types.MULTIPART:
        _reject_query(query, "a part called options")
        return _from_form(body.parts, settings)
    fields = json.parse_object((query or "{}").encode(), "options", settings.max_json_values)
    return _from_part(body.parts[0], settings, npy_only=body.media_type == media_types.NPY), fields


def _reject_query(query: str | None, place: str) -> None:
    if query is not None:
        raise InvalidInput.about("options", f"options is {query[:80]!r}; expected its fields in {place}")


def _from_json(body: Body) -> tuple[Operand, dict[str, Any]]:
    if not isinstance(body.document, dict):
        raise InvalidInput.about("body", f"the body is {json.shown(body.document)}; expected a JSON object")
    fields: dict[str, Any] = body.document
    if "input" not in fields:
        raise InvalidInput.about("/input", "input is missing; expected a nested array")
    return nested(fields.pop("input"), "/input"), fields


def _from_form(parts: Sequence[Part], settings: Settings) -> tuple[Operand, dict[str, Any]]:
    most = settings.max_json_values
    options = [part for part in parts if part.name == "options"]
    texts = [part for part in parts if part.text and part.name not in ("options", "image", "input")]
    operands = [part for part in parts if part not in options and part not in texts]
    fields = {part.name: _value(part, most) for part in texts}
    for part in options:
        fields |= json.parse_object(part.content, "options", most)
    if len(operands) != 1 or operands[0].name not in ("image", "input"):
        names = sorted(part.name for part in parts if part not in options)
        detail = f"the parts are {names!r:.200}; expected one called image (a picture) or input (an npy file)"
        raise InvalidInput.about("body", detail)
    (part,) = operands
    if part.name == "input" and part.text:
        return nested(_value(part, most), "input"), fields
    return _from_part(part, settings, npy_only=part.name == "input"), fields


def _value(part: Part, most: int) -> Any:
    """A text field as JSON, such as `2` or `[1, 2]`; a text that is not JSON, such as `sobel_x`, as it is."""
    try:
        return json.parse(part.content, part.name, most)
    except ConvoscopeError as error:
        if isinstance(error, TooLarge):
            raise
        return part.content.decode()


def _from_part(part: Part, settings: Settings, *, npy_only: bool) -> Operand:
    """The bytes decide whether it is an npy file or a picture, unless only npy is expected."""
    if npy_only or part.content.startswith(npy.MAGIC):
        return _from_npy(part, settings)
    try:
        picture = imaging.read(part.content, max_pixels=settings.max_pixels)
        return Operand(picture.pixels, picture=True, reduced_from=picture.reduced_from)
    except ConvoscopeError as error:
        raise type(error).about(part.name, error.detail) from None


def _from_npy(part: Part, settings: Settings) -> Operand:
    """The numbers of an npy file; NaN is a missing value.

    Their dtype stays unless it is longer than float64: as float64, bytes would take eight times the memory.
    """

    def check(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if dtype.kind not in "biuf" or not 1 <= len(shape) <= MAX_RANK or min(shape) < 1:
            expected = f"expected numbers or booleans in 1 to {MAX_RANK} dimensions, each at least 1 long"
            raise InvalidInput.about(part.name, f"the array is {dtype} of shape {shape}; {expected}")
        if (count := math.prod(shape)) > settings.max_elements:
            detail = f"the array has {count} elements; expected at most {settings.max_elements}"
            raise TooLarge.about(part.name, detail)

    found = npy.parse(part.content, part.name, check)
    values = np.ascontiguousarray(found) if found.dtype.itemsize < 8 else found.astype(np.float64, order="C")
    if values.dtype.kind != "f":
        return Operand(values)
    if np.isinf(values).any():
        first = np.argwhere(np.isinf(values))[0].tolist()
        detail = f"element {first} is infinite; expected finite numbers, or NaN for a missing value"
        raise InvalidInput.about(part.name, detail)
    absent = np.isnan(values)
    return Operand(values, absent if absent.any() else None)


def nested(value: object, where: str) -> Operand:
    """A nested list of one to three dimensions as an array; null is a missing value.

    Raises InvalidInput naming the first element, by its JSON pointer from `where`, that is not a number or breaks the
    shape.
    """
    if not isinstance(value, list):
        raise InvalidInput.about(where, f"{where} is {json.shown(value)}; expected a nested array of numbers")
    problem = _problem(value, where, _shape(value))
    if problem:
        raise InvalidInput(problem.detail, [problem])
    values = np.array(value, np.float64)  # None becomes NaN, which JSON itself cannot hold
    absent = np.isnan(values)
    return Operand(values, absent if absent.any() else None)


def _shape(value: object) -> list[int]:
    """The shape that a nested list begins with."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _problem(value: object, where: str, shape: Sequence[int]) -> FieldError | None:
    """The first thing that keeps `value` from being an array of `shape`."""
    if not 1 <= len(shape) <= MAX_RANK or 0 in shape:
        expected = f"expected a nested array of 1 to {MAX_RANK} dimensions, each at least 1 long"
        return FieldError(where, f"{where} has the shape {list(shape)[:8]}; {expected}")
    if not isinstance(value, list) or len(value) != shape[0]:
        found = f"has {len(value)} elements" if isinstance(value, list) else f"is {json.shown(value)}"
        return FieldError(where, f"{where} {found}; expected {shape[0]} elements, as in the first list of its rank")
    if len(shape) == 1:
        return _not_a_number(value, where)
    for i, element in enumerate(value):
        if problem := _problem(element, f"{where}/{i}", shape[1:]):
            return problem
    return None


def _not_a_number(values: list[Any], where: str) -> FieldError | None:
    """The first element of a list that is neither a number nor null."""
    if operator.countOf(map(type, values), float) == len(values) or set(map(type, values)) <= {int, float, type(None)}:
        return None
    at = next(i for i, element in enumerate(values) if type(element) not in (int, float, type(None)))
    return FieldError(f"{where}/{at}", f"{where}/{at} is {json.shown(values[at])}; expected a number or null")
