"""Recipes by name, and the networks that a network is made from: its parents, their parents, and so on.

A recipe's file is training/recipes/<name>.toml. `accurate-5` makes version 5 of the network `accurate`.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from training.recipe import NAMES, Recipe, RecipeError, parse

FOLDER = Path(__file__).parent / "recipes"
NUMBER = re.compile(r"-(\d+)$")


def read(path: Path) -> Recipe:
    """The recipe in a TOML file, named after it. Raises RecipeError."""
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: is not valid TOML ({error})") from error
    for field in set(NAMES) & set(values):
        raise RecipeError(f"{path}: {field} is {values[field]!r}; expected no such field, the file's name says it")
    return parse({"name": path.stem, **values}, str(path))


def find(name: str, folder: Path = FOLDER) -> Recipe:
    """The recipe called `name`, or the one with the highest number where several are called name-1, name-2, …

    `name` may also be the path of a file that ends in .toml. Raises RecipeError.
    """
    if name.endswith(".toml"):
        return read(Path(name))
    numbered = [path.stem for path in folder.glob(f"{name}-*.toml") if path.stem[len(name) + 1 :].isdigit()]
    if (folder / f"{name}.toml").exists() and re.fullmatch(r"[\w.-]+", name):
        return read(folder / f"{name}.toml")
    if not numbered:
        raise RecipeError(f"no recipe is called {name!r}; expected one of {', '.join(names(folder)) or 'none'}")
    return read(folder / f"{max(numbered, key=lambda stem: int(stem.rsplit('-', 1)[1]))}.toml")


def names(folder: Path = FOLDER) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def ancestors(recipe: Recipe, folder: Path = FOLDER) -> dict[str, Recipe]:
    """`recipe`, after everything it is made from, each after its own parents; by name.

    Raises RecipeError where a parent is missing, a recipe is its own ancestor, or a parent has trained on pictures
    that its child holds out.
    """
    found: dict[str, Recipe] = {}
    _visit(recipe, folder, found, ())
    return found


def _visit(recipe: Recipe, folder: Path, found: dict[str, Recipe], path: tuple[str, ...]) -> None:
    if recipe.name in path:
        cycle = " -> ".join([*path[path.index(recipe.name) :], recipe.name])
        raise RecipeError(f"{recipe.name}: is its own ancestor ({cycle})")
    for name in recipe.parents:
        if name not in found:
            _visit(_parent(recipe, name, folder), folder, found, (*path, recipe.name))
        _check_held_out(recipe, found[name])
    found[recipe.name] = recipe


def _parent(child: Recipe, name: str, folder: Path) -> Recipe:
    if not (folder / f"{name}.toml").is_file():
        expected = ", ".join(names(folder)) or "none"
        raise RecipeError(f"{child.name}: needs {name!r}, which is not a recipe; expected one of {expected}")
    return read(folder / f"{name}.toml")


def _check_held_out(child: Recipe, parent: Recipe) -> None:
    """The validation pictures are the end of one permutation, so the smaller set is part of the larger."""
    if child.data.split_seed != parent.data.split_seed:
        expected = f"{parent.data.split_seed}, as its parent {parent.name}"
        raise RecipeError(f"{child.name}: data.split_seed is {child.data.split_seed}; expected {expected}")
    if child.data.validation > parent.data.validation:
        expected = f"at most {parent.data.validation}, which its parent {parent.name} held out"
        raise RecipeError(f"{child.name}: data.validation is {child.data.validation}; expected {expected}")


def digests(recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """The SHA-256 of each of `recipes`, which are in the order of `ancestors`, with all it is made from."""
    found: dict[str, str] = {}
    for name, recipe in recipes.items():
        found[name] = _digest(recipe, found)
    return found


def _digest(recipe: Recipe, parents: Mapping[str, str]) -> str:
    """Of the recipe's content, in which each parent's digest stands for its name."""
    content = recipe.content()
    if recipe.start:
        content["start"] = parents[recipe.start]
    if recipe.distillation:
        content["distillation"]["teachers"] = [parents[name] for name in recipe.distillation.teachers]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def version(recipe: Recipe, digest: str) -> str:
    """A network's version: its recipe's number, or for a trial the beginning of its recipe's digest."""
    number = NUMBER.search(recipe.name)
    return number[1] if number and not recipe.changes else digest[:8]


def made(digest: str, places: Iterator[Path]) -> Path | None:
    """The first artifact in `places` that the recipe with this digest made; what cannot be read is passed over."""
    for folder in places:
        try:
            if json.loads((folder / "metadata.json").read_bytes())["recipe"]["digest"] == digest:
                return folder
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None
