"""A request's body to the array or the picture to work on, and its options; and arrays to answers."""

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header

from app.errors import ConvoscopeError, FieldError, InvalidInput, MalformedRequest, TooLarge, UnsupportedPicture
from app.imaging import images
from app.settings import Settings
from app.wire import json_body, multipart, npy

FORMS = "application/json, multipart/form-data, image/* or application/x-npy"
MAX_RANK = 3
GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""The shares of red, green and blue in a picture's brightness (ITU-R BT.601)."""

Options = TypeVar("Options", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Operand:
    """What to work on: an array in float64, or a picture (H, W, 3) uint8 or (H, W) float32, 0 to 255.

    Where `absent` is true a value is missing; None where none is.
    """

    values: NDArray[Any]
    absent: NDArray[np.bool_] | None = None
    picture: bool = False

    def grey(self) -> "Operand":
        """A picture's brightness; an array as it is."""
        return Operand(self.values @ GREY, picture=True) if self.picture and self.values.ndim == 3 else self


def read(content_type: str, body: bytes, query: str | None, settings: Settings) -> tuple[Operand, dict[str, Any]]:
    """The operand of a request and its other fields, as they came.

    The operand is the field `input` of a JSON body; or the part `image` (a picture) or `input` (npy) of a multipart
    body, whose part `options` holds the fields as JSON; or the whole of an `image/*` or npy body, and then `query`
    has the fields as JSON. Raises MalformedRequest, UnsupportedPicture, TooLarge, InvalidInput and as `images.full`.
    """
    if not body:
        raise MalformedRequest.about("body", "the body is empty; expected an array or a picture")
    kind, parameters = parse_options_header(content_type)
    kind = kind.lower()
    if query is not None and kind in (b"application/json", b"multipart/form-data"):
        beside = "the body" if kind == b"application/json" else "a part called options"
        raise InvalidInput.about("options", f"options is {query!r:.80}; expected its fields in {beside}")
    most = settings.max_json_values
    if kind == b"application/json":
        fields = _object(body, "body", most)
        if "input" not in fields:
            raise InvalidInput.about("/input", "input is missing; expected a nested array")
        return operand(fields.pop("input"), "/input"), fields
    if kind == b"multipart/form-data":
        parts = dict(multipart.parse(body, parameters.get(b"boundary", b""), 3))
        fields = _object(parts.pop("options", b"{}"), "options", most)
        if len(parts) != 1 or parts.keys() - {"image", "input"}:
            detail = f"the parts are {sorted(parts)!r:.200}; expected one called image (a picture) or input (npy)"
            raise InvalidInput.about("body", detail)
        ((name, content),) = parts.items()
        return (_picture(content, name, settings) if name == "image" else _npy(content, name, settings)), fields
    fields = _object((query or "{}").encode(), "options", most)
    if kind == b"application/x-npy":
        return _npy(body, "body", settings), fields
    if kind.startswith(b"image/"):
        return _picture(body, "body", settings), fields
    detail = f"the content type is {content_type!r:.100}; expected {FORMS}"
    raise UnsupportedPicture.about("Content-Type", detail)


def operand(value: object, where: str) -> Operand:
    """A nested array from JSON, of one to three dimensions; null is a missing value.

    Raises InvalidInput naming the first element, by JSON pointer from `where`, that is no number or spoils the shape.
    """
    if not isinstance(value, list):
        raise InvalidInput.about(where, f"{where} is {json_body.shown(value)}; expected a nested array of numbers")
    problem = _problem(value, where, _shape(value))
    if problem:
        raise InvalidInput(problem.detail, [problem])
    values = np.array(value, np.float64)  # None becomes NaN, which JSON itself cannot hold
    absent = np.isnan(values)
    return Operand(values, absent if absent.any() else None)


def validated(kind: type[Options], fields: Mapping[str, object]) -> Options:
    """`fields` as a model. Raises InvalidInput, saying of each bad field its pointer, value and what was expected."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        names = dict.fromkeys(str(mistake["loc"][0]) for mistake in error.errors(include_url=False))
        bad = [found for name in names for found in _mistakes(kind, name, fields)]
        raise InvalidInput("; ".join(field.detail for field in bad)[:1000], bad) from error


def _mistakes(kind: type[BaseModel], name: str, fields: Mapping[str, object]) -> Sequence[FieldError]:
    """What is wrong with the field `name` of `fields`, which are no `kind`; of an object, with which of its fields."""
    pointer = f"/{name[:80].replace('~', '~0').replace('/', '~1')}"
    known, value = kind.model_fields.get(name), fields.get(name)
    if known is None:
        return [FieldError(pointer, f"no option is called {name!r:.80}; expected {', '.join(kind.model_fields)}")]
    if name not in fields:
        return [FieldError(pointer, f"{name} is missing; expected {known.description}")]
    for inner in get_args(known.annotation):
        if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, BaseModel):
            try:
                validated(inner, value)
            except InvalidInput as error:
                return [FieldError(pointer + e.field, e.detail) for e in error.errors]
    return [FieldError(pointer, f"{name} is {json_body.shown(value)}; expected {known.description}")]


def to_json(document: Mapping[str, object]) -> bytes:
    """`document` as JSON, its arrays as nested lists and NaN as null."""
    # orjson reads arrays whose rows lie in memory one after the other, and hands the others back.
    return orjson.dumps(document, default=np.ascontiguousarray, option=orjson.OPT_SERIALIZE_NUMPY)


def refuse_long_json(count: int, limit: int, advice: str) -> None:
    """Raises TooLarge where an answer's `count` values are more than `limit`; `advice` says how to get it anyway."""
    if count > limit:
        detail = f"the answer has {count} values; expected at most {limit} as JSON; {advice}"
        raise TooLarge.about("Accept", detail)


def _object(content: bytes, where: str, most: int) -> dict[str, Any]:
    document = json_body.parse(content, where, most)
    if not isinstance(document, dict):
        raise InvalidInput.about(where, f"{where} is {json_body.shown(document)}; expected a JSON object")
    return document


def _shape(value: object) -> list[int]:
    """The shape that a nested array begins with."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _problem(value: object, where: str, shape: Sequence[int]) -> FieldError | None:
    """The first thing that keeps `value` from being an array of `shape`."""
    if not 1 <= len(shape) <= MAX_RANK or 0 in shape:
        expected = f"expected a nested array of 1 to {MAX_RANK} dimensions, none empty"
        return FieldError(where, f"{where} has the shape {list(shape)[:8]}; {expected}")
    if not isinstance(value, list) or len(value) != shape[0]:
        found = f"{len(value)} elements" if isinstance(value, list) else json_body.shown(value)
        return FieldError(where, f"{where} is {found}; expected {shape[0]} elements, as its neighbours have")
    if len(shape) == 1:
        if operator.countOf(map(type, value), float) == len(value) or set(map(type, value)) <= {int, float, type(None)}:
            return None
        at = next(i for i, element in enumerate(value) if type(element) not in (int, float, type(None)))
        return FieldError(f"{where}/{at}", f"{where}/{at} is {json_body.shown(value[at])}; expected a number or null")
    for i, element in enumerate(value):
        if problem := _problem(element, f"{where}/{i}", shape[1:]):
            return problem
    return None


def _picture(content: bytes, where: str, settings: Settings) -> Operand:
    try:
        return Operand(images.full(content, max_pixels=settings.max_pixels), picture=True)
    except ConvoscopeError as error:
        raise type(error).about(where, error.detail) from error


def _npy(content: bytes, where: str, settings: Settings) -> Operand:
    """An npy file of numbers, as float64; NaN is a missing value."""

    def check(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if dtype.kind not in "biuf" or not 1 <= len(shape) <= MAX_RANK or min(shape) < 1:
            expected = f"expected numbers or booleans in 1 to {MAX_RANK} dimensions, none empty"
            raise InvalidInput.about(where, f"the array is {dtype} of shape {shape}; {expected}")
        if (count := math.prod(shape)) > settings.max_elements:
            detail = f"the array has {count} elements; expected at most {settings.max_elements}"
            raise TooLarge.about(where, detail)

    values = npy.parse(content, where, check).astype(np.float64, order="C")
    if np.isinf(values).any():
        first = np.argwhere(np.isinf(values))[0].tolist()
        raise InvalidInput.about(
            where, f"element {first} is infinite; expected finite numbers, or NaN for a missing value"
        )
    absent = np.isnan(values)
    return Operand(values, absent if absent.any() else None)
