"""JSON: a body, or a part of one, to Python's objects; and arrays to an answer."""

import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from app.errors import InvalidInput, MalformedRequest, TooLarge


class _Shown(reprlib.Repr):
    def repr_NoneType(self, value: None, level: int) -> str:
        return "null"

    def repr_bool(self, value: bool, level: int) -> str:
        return str(value).lower()


shown = _Shown().repr
"""A few dozen characters of a value, for an error text."""


def pointer(name: str) -> str:
    """The JSON pointer (RFC 6901) of a field of the document; long names are cut."""
    return f"/{name[:80].replace('~', '~0').replace('/', '~1')}"


MAX_STRINGS = 20_000
"""Strings of a document, keys included."""


def parse(content: bytes, where: str, most: int) -> Any:
    """The document in `content`, which error texts call `where`.

    Raises MalformedRequest if it is not valid JSON, and TooLarge if it has more than `most` values, a quarter as many
    arrays and objects, or more than MAX_STRINGS strings. They are counted by their punctuation before parsing, because
    the parser blocks the whole process.
    """
    if len(content) > 2 * most:  # a value and its comma are two bytes
        _reject_more(content.count(b",") + 1, most, "values", where)
    _reject_more(content.count(b"[") + content.count(b"{"), max(most // 4, 64), "arrays and objects", where)
    _reject_more(content.count(b'"') // 2, MAX_STRINGS, "strings", where)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        # orjson says "surrogates not allowed" of every byte that is not UTF-8.
        reason = "it is not in UTF-8" if str(error).startswith("str is not valid UTF-8") else str(error)
        raise MalformedRequest.about(where, f"{where} is not valid JSON: {reason}") from None


def _reject_more(found: int, most: int, what: str, where: str) -> None:
    if found > most:
        detail = f"{where} has {found} {what} or more; expected at most {most} as JSON"
        raise TooLarge.about(where, detail)


def parse_object(content: bytes, where: str, most: int) -> dict[str, Any]:
    """The object in `content`. Raises as `parse`, and InvalidInput if the document is not an object."""
    document = parse(content, where, most)
    if not isinstance(document, dict):
        raise InvalidInput.about(where, f"{where} is {shown(document)}; expected a JSON object")
    return document


def encode(document: Mapping[str, object]) -> bytes:
    """`document` as JSON, with its arrays as nested lists and NaN as null."""
    # orjson reads only arrays that are contiguous in memory, and hands the others to `default`.
    return orjson.dumps(document, default=np.ascontiguousarray, option=orjson.OPT_SERIALIZE_NUMPY)


def reject_long(count: int, limit: int, advice: str) -> None:
    """Raise TooLarge if an answer's `count` values exceed `limit`; `advice` says how to get the answer anyway."""
    if count > limit:
        detail = f"the answer has {count} values; expected at most {limit} as JSON; {advice}"
        raise TooLarge.about("Accept", detail)
