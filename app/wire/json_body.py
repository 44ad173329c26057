"""A body in JSON, or a part of one, to Python's objects."""

import reprlib
from typing import Any

import orjson

from app.errors import MalformedRequest, TooLarge


class _Shown(reprlib.Repr):
    def repr_NoneType(self, value: None, level: int) -> str:
        return "null"

    def repr_bool(self, value: bool, level: int) -> str:
        return str(value).lower()


shown = _Shown().repr
"""A few dozen characters of a document, for a refusal."""


def parse(content: bytes, where: str, most: int) -> Any:
    """The document in `content`, which is called `where` in refusals.

    Raises MalformedRequest where it is no JSON, and TooLarge where it has more than `most` values: parsing holds the
    whole process up all its time, so they are counted before, by their commas.
    """
    if len(content) > 2 * most and (values := content.count(b",") + 1) > most:  # a value and its comma are two bytes
        detail = f"{where} has {values} values or more; expected at most {most} as JSON"
        raise TooLarge.about(where, detail)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest.about(where, f"{where} is not JSON: {error}") from error
