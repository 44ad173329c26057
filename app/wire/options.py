"""A request's options, from JSON, checked against their schema."""

import re
from collections.abc import Container, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from app.errors import FieldError, InvalidInput, one_of
from app.wire import json

MAX_UNKNOWN = 5
"""Unknown fields that a rejection names."""

WHOLE = re.compile(r"-?[0-9]{1,9}(\.0{1,9})?", re.ASCII)

Options = TypeVar("Options", bound=BaseModel)


def check_names(given: Sequence[tuple[str, str]], known: Sequence[str], lists: Container[str] = ()) -> None:
    """Raises InvalidInput for an option of a URL that is not one of `known`, or is given twice and not in `lists`."""
    seen = set()
    for name, _ in given:
        if name not in known:
            expected = f"one of {', '.join(known)}" if known else "none"
            raise InvalidInput.about(name[:80], f"no option is called {name!r:.80}; expected {expected}")
        if name in seen and name not in lists:
            raise InvalidInput.about(name, f"{name} is given more than once; expected one value")
        seen.add(name)


def top_k(value: object, where: str, labels: int, default: int) -> int:
    """How many labels to answer, for the field at `where`; None is `default`, or all labels if they are fewer.

    Raises InvalidInput if it is not an integer from 1 to `labels`.
    """
    return min(default, labels) if value is None else integer("top_k", value, where, 1, labels)


def integer(name: str, value: object, where: str, least: int, most: int) -> int:
    """The value of the option `name` at `where`. Raises InvalidInput if it is not an integer from `least` to `most`."""
    if type(value) is not int or not least <= value <= most:
        raise InvalidInput.about(where, f"{name} is {json.shown(value)}; expected an integer from {least} to {most}")
    return value


def number(text: str) -> int | str:
    """An integer as a URL or a form writes it; any other text as it is, for `integer` to reject."""
    return int(float(text)) if WHOLE.fullmatch(text) else text


def expectation(schema: Mapping[str, Any]) -> str:
    """The values that the JSON schema of a URL's parameter allows, in words: "an integer from 1 to 14".

    Of a list it is each element that is described, and null, which no URL can say, is left out.
    """
    (kind,) = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    kind = kind.get("items", kind)
    if "enum" in kind:
        return one_of(kind["enum"])
    what = {"integer": "an integer", "number": "a number"}.get(kind.get("type", ""), "a text")
    least, most = kind.get("minimum"), kind.get("maximum")
    if least is None:
        return what
    return f"{what} of at least {least}" if most is None else f"{what} from {least} to {most}"


def validated(kind: type[Options], fields: Mapping[str, object]) -> Options:
    """`fields` as a model.

    Raises InvalidInput with the pointer, the value and the expectation of each bad field. It costs no more than the
    fields that `kind` has: pydantic would list every mistake of a body with a million of them, so unknown fields never
    reach it, and the lists of the schemas have a maximum length.
    """
    unknown = islice((name for name in fields if name not in kind.model_fields), MAX_UNKNOWN)
    bad = [FieldError(json.pointer(name), _unknown(kind, name)) for name in unknown]
    known = {name: fields[name] for name in kind.model_fields if name in fields}
    rejected = set()
    for name, value in known.items():
        inner = _model_of(kind, name)
        if inner and isinstance(value, dict):
            try:
                validated(inner, value)
            except InvalidInput as error:
                bad += [FieldError(json.pointer(name) + e.field, e.detail) for e in error.errors]
                rejected.add(name)
    try:
        options = kind.model_validate({name: value for name, value in known.items() if name not in rejected})
    except ValidationError as error:
        names = dict.fromkeys(str(mistake["loc"][0]) for mistake in error.errors(include_url=False))
        bad += [FieldError(json.pointer(name), _wrong(kind, name, fields)) for name in names if name not in rejected]
    else:
        if not bad:
            return options
    raise InvalidInput("; ".join(field.detail for field in bad)[:1000], bad)


def _unknown(kind: type[BaseModel], name: str) -> str:
    return f"no option is called {name[:80]!r}; expected {', '.join(kind.model_fields)}"


def _wrong(kind: type[BaseModel], name: str, fields: Mapping[str, object]) -> str:
    found = f"is {json.shown(fields[name])}" if name in fields else "is missing"
    return f"{name} {found}; expected {kind.model_fields[name].description}"


def _model_of(kind: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The model that an object in this field has to be; None if the field takes no object."""
    annotation = kind.model_fields[name].annotation
    models = [m for m in (annotation, *get_args(annotation)) if isinstance(m, type) and issubclass(m, BaseModel)]
    return models[0] if models else None
