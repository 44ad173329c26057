"""A recipe with some fields set by hand, `field=value`, and the way back: which fields a recipe has set."""

import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from training.config import RECIPES, TUTORIAL, ConfigError, TrainConfig

Recipe = TypeVar("Recipe", bound=TrainConfig)

FIXED = ("name", "architecture", "initial", "teachers")
"""Fields that the choice of the recipe, `--name`, `--from` and `--teacher` decide."""
EXPECTED = {int: "an integer", float: "a number", bool: "true or false"}


def override(config: Recipe, assignments: Sequence[str], name: str | None = None) -> Recipe:
    """`config` with each of `assignments` (`field=value`) made at once, and under another `name`.

    A value is parsed by its field's type: a number, true or false, a word, or a list as JSON; one value for a field
    that takes a pair stands for both. Raises ConfigError for an unknown field, one that the recipe has no use for, a
    value that does not parse or is impossible, and a name that is no plain file name.
    """
    types = {key: kind for key, kind in get_type_hints(type(config)).items() if key not in FIXED}
    values: dict[str, Any] = {}
    for assignment in assignments:
        field, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set is {assignment!r}; expected FIELD=VALUE")
        if field not in types:
            raise ConfigError(_unknown(field, config, list(types)))
        values[field] = _parse(field, types[field], text)
    if name is not None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
            raise ConfigError(f"--name is {name!r}; expected lower-case letters, digits, dots, - and _")
        values["name"] = name
    return replace(config, **values)


def differences(config: TrainConfig, base: TrainConfig) -> list[str]:
    """What `override` needs to make `config` of `base`."""
    recipe = config.as_dict()
    wanted = {key: value for key, value in base.as_dict().items() if key not in FIXED}
    return [f"{key}={_text(recipe[key])}" for key, value in wanted.items() if recipe[key] != value]


def changes(recipe: Mapping[str, Any]) -> list[str]:
    """What `override` needs to make `recipe`, as an artifact's metadata keeps it, of the shipped one it is based on.

    Fields that `recipe` does not have are younger than it; it had their defaults.
    """
    return differences(TrainConfig.from_dict(recipe), RECIPES[recipe["architecture"]])


def command(recipe: Mapping[str, Any]) -> str:
    """The command that trains `recipe`, as an artifact's metadata keeps it.

    Another artifact is expected in earlier/<name>-<version>.
    """
    config = TrainConfig.from_dict(recipe)
    renamed = [] if config.name == config.architecture else ["--name", config.name]
    others = [("--from", config.initial)] if config.initial else []
    others += [("--teacher", teacher) for teacher in config.teachers]
    artifacts = [part for option, (name, version, _) in others for part in (option, f"earlier/{name}-{version}")]
    settings = [part for change in changes(recipe) for part in ("--set", change)]
    return shlex.join(["convoscope", "train", config.architecture, *renamed, *artifacts, *settings])


def _unknown(field: str, config: TrainConfig, known: list[str]) -> str:
    if field in {known.name for known in fields(TUTORIAL)} - set(FIXED):
        return f"{field} is a knob of the tutorial's network; {config.architecture} has {', '.join(known)}"
    return f"no field is called {field!r}; expected one of {', '.join(known)}"


def _parse(field: str, kind: Any, text: str) -> Any:
    if get_origin(kind) is Literal:
        return text  # the recipe knows which words it takes
    if get_origin(kind) is tuple:
        return _parse_tuple(field, get_args(kind), text)
    try:
        value = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        raise ConfigError(f"{field} is {text!r}; expected {EXPECTED[kind]}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{field} is {text!r}; expected a finite number")
    return value


def _parse_tuple(field: str, kinds: tuple[Any, ...], text: str) -> tuple[Any, ...]:
    if not text.startswith("[") and kinds[-1] is not Ellipsis:
        return (_parse(field, kinds[0], text),) * len(kinds)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list):
        raise ConfigError(f"{field} is {text!r}; expected a list as JSON")
    return tuple(_parse(field, kinds[0], value if isinstance(value, str) else json.dumps(value)) for value in values)


def _text(value: Any) -> str:
    """A value as `override` reads it."""
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        value = value[0]
    return value if isinstance(value, str) else json.dumps(value)
