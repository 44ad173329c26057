"""Recipes with other values: what `--set` tries, and how two recipes differ."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from training.recipe import NAMES, Recipe, RecipeError, parse


def changed(recipe: Recipe, fields: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """`recipe` with other values, by dotted names such as `augment.cutout`, all set at once. Raises RecipeError."""
    values = recipe.model_dump()
    for field, value in fields.items():
        *sections, last = field.split(".")
        inner = values
        for section in sections:
            if not isinstance(inner.get(section), dict):
                inner[section] = {}
            inner = inner[section]
        inner[last] = value
    return parse(values, where)


def trial(recipe: Recipe, assignments: Sequence[str], name: str | None = None) -> Recipe:
    """`recipe` with `assignments` such as `augment.cutout=8` made and, if given, under another name.

    A value is written as in TOML; a word needs no quotation marks. Raises RecipeError.
    """
    fields: dict[str, Any] = {}
    for assignment in assignments:
        field, equals, text = assignment.partition("=")
        if not equals or field in (*NAMES, "architecture", ""):
            raise RecipeError(f"--set is {assignment!r:.200}; expected FIELD=VALUE, such as augment.cutout=8")
        fields[field] = _value(text)
    if not fields and name is None:
        return recipe
    about = {"base": recipe.name, "changes": assignments, "name": recipe.name if name is None else name}
    return changed(recipe, fields | about, "--set" if assignments else "--name")


def differences(recipe: Recipe, base: Recipe) -> list[str]:
    """The fields in which two recipes differ, `field=value` with the values of `recipe`, in order."""
    one, other = (_flat(each.model_dump(mode="json", exclude={*NAMES})) for each in (recipe, base))
    return [f"{key}={_text(one.get(key))}" for key in {**other, **one} if one.get(key) != other.get(key)]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _text(value: Any) -> str:
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        value = value[0]
    return value if isinstance(value, str) else json.dumps(value)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return text
