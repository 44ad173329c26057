"""Recipes as files, and the graph that they make."""

import json
from pathlib import Path

import pytest

from tests.conftest import MODELS
from tests.training.samples import FAST
from training import lineage
from training.recipe import RecipeError, parse
from training.trial import trial

TEXT = (lineage.FOLDER / "fast-1.toml").read_text()

PINNED = {
    "fast-1": "519fb8adb1292feeaa305b127831e21ab208300faa3c55761a1881846c25330a",
    "accurate-1": "82c598214c6427e5279e7dfa5b03eafcecb7019cb6dd8093cd378c12a9cbca3f",
    "accurate-2": "0f06aaa3214fc124c1b59bdd0da1ba148301bc7b8480f4bf739860d3e13f52c6",
    "fast-2": "fe628e9f73ac7a3080a40ac2c7275ce6bef208093bb946a3edcb5ebfb6303af0",
    "accurate-3": "bc9b6465f9807a88538264ee683566bb44a04753d31baf3a718ff5397fdd33a7",
    "accurate-4": "a5ada900ea8eea208a8fec0636f1e49ade753627821aae155189578543f4edf1",
    "accurate-5": "5683d0d07cb4b527595f65dc13a826d17b7859eafd8fed51880a39fc72e7cde7",
    "accurate-8": "dca4092353d7d2699c247b881969d3e6a60c17c7056571d81b586fb226197d3d",
    "fast-4": "805f857788b7d30a34ee00361cb3afa6490a1332733f77c9e9bd42974f1b8b6c",
    "tutorial-1": "ab6b4858dd882dcb1c4c7788d5dae920abf93682cc31bd30bfb5acb2e4d7c8bb",
}
"""The digest of each recipe and all it is made from: a network was made by it, so it never changes."""


def write(folder: Path, name: str, **changes: str) -> None:
    text = TEXT
    if start := changes.get("start"):
        text = text.replace("epochs = ", f'start = "{start}"\nepochs = ')
    if teacher := changes.get("teacher"):
        text += f'\n[distillation]\nshare = 0.5\nteachers = ["{teacher}"]\n'
    if validation := changes.get("validation"):
        text = text.replace("validation = 5000", f"validation = {validation}")
    if seed := changes.get("seed"):
        text = text.replace("split_seed = 10", f"split_seed = {seed}")
    (folder / f"{name}.toml").write_text(text)


def test_a_recipe_that_made_a_network_never_changes() -> None:
    found: dict[str, str] = {}
    for name in lineage.names():
        found |= lineage.digests(lineage.ancestors(lineage.find(name)))
    assert {name: found[name] for name in PINNED} == PINNED


@pytest.mark.parametrize("name", ["accurate", "fast", "tutorial"])
def test_a_shipped_network_says_the_recipe_that_made_it(name: str) -> None:
    metadata = json.loads((MODELS / name / "metadata.json").read_text())
    kept = {key: value for key, value in metadata["recipe"].items() if key != "digest"}
    recipe = lineage.find(kept["name"])
    assert parse(kept) == recipe
    recipes = lineage.ancestors(recipe)
    digests = lineage.digests(recipes)
    assert metadata["recipe"]["digest"] == digests[recipe.name]
    assert metadata["version"] == lineage.version(recipe, digests[recipe.name])
    assert metadata["name"] == recipe.artifact == name
    assert [(run["recipe"], run["digest"]) for run in metadata["lineage"]] == list(digests.items())[:-1]


def test_a_name_without_a_number_is_the_newest(tmp_path: Path) -> None:
    for name in ("fast-2", "fast-9", "fast-10", "fast-x", "faster-11"):
        write(tmp_path, name)
    assert lineage.find("fast", tmp_path).name == "fast-10"
    assert lineage.find("fast-2", tmp_path).name == "fast-2"
    assert lineage.find("fast-x", tmp_path).artifact == "fast-x"
    assert lineage.find(str(tmp_path / "fast-9.toml")).artifact == "fast"
    with pytest.raises(RecipeError, match="no recipe is called 'slow'; expected one of fast-10, fast-2, "):
        lineage.find("slow", tmp_path)


@pytest.mark.parametrize("name", ["../fast", "", "fast-1.toml", "nowhere/fast-1.toml", "a\0b", "*"])
def test_what_is_not_a_recipe_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecipeError, match=r"no recipe is called|cannot be read \(No such file"):
        lineage.find(name, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epochs = ", r"bad\.toml: is not valid TOML"),
        (b"\xff\xfe", r"bad\.toml: is not valid TOML"),
        (b'name = "other"\n' + TEXT.encode(), r"bad\.toml: name is 'other'; expected no such field"),
        (TEXT.replace("cutout = 10", "cutout = 40").encode(), r"bad\.toml: augment\.cutout is '40'; expected"),
        (TEXT.replace("cutout = 10", "cutuot = 4").encode(), r"bad\.toml: no field is called 'augment\.cutuot'"),
        (b"", r"bad\.toml: architecture is missing"),
    ],
)
def test_a_bad_file_is_rejected_by_its_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.toml").write_bytes(content)
    with pytest.raises(RecipeError, match=message) as error:
        lineage.find("bad", tmp_path)
    assert "\n" not in str(error.value)


def test_parents_come_before_their_children(tmp_path: Path) -> None:
    write(tmp_path, "a")
    write(tmp_path, "b", teacher="a")
    write(tmp_path, "c", start="b", teacher="a")
    assert list(lineage.ancestors(lineage.find("c", tmp_path), tmp_path)) == ["a", "b", "c"]


def test_a_cycle_is_told(tmp_path: Path) -> None:
    write(tmp_path, "a", start="c")
    write(tmp_path, "b", teacher="a")
    write(tmp_path, "c", start="b")
    with pytest.raises(RecipeError, match=r"b: is its own ancestor .b -> a -> c -> b."):
        lineage.ancestors(lineage.find("b", tmp_path), tmp_path)
    write(tmp_path, "d", start="d")
    with pytest.raises(RecipeError, match=r"d: is its own ancestor .d -> d."):
        lineage.ancestors(lineage.find("d", tmp_path), tmp_path)


def test_a_missing_parent_is_told(tmp_path: Path) -> None:
    write(tmp_path, "a", start="nobody")
    with pytest.raises(RecipeError, match="a: needs 'nobody', which is not a recipe; expected one of a"):
        lineage.ancestors(lineage.find("a", tmp_path), tmp_path)


def test_what_a_child_holds_out_its_parents_held_out(tmp_path: Path) -> None:
    write(tmp_path, "a", validation="2000")
    write(tmp_path, "b", start="a", validation="2000")
    write(tmp_path, "c", start="b", validation="2001")
    write(tmp_path, "d", start="a", validation="2000", seed="11")
    assert lineage.ancestors(lineage.find("b", tmp_path), tmp_path)
    with pytest.raises(RecipeError, match=r"c: data\.validation is 2001; expected at most 2000, which its parent b"):
        lineage.ancestors(lineage.find("c", tmp_path), tmp_path)
    with pytest.raises(RecipeError, match=r"d: data\.split_seed is 11; expected 10, as its parent a"):
        lineage.ancestors(lineage.find("d", tmp_path), tmp_path)


def digest(folder: Path, name: str) -> str:
    return lineage.digests(lineage.ancestors(lineage.find(name, folder), folder))[name]


def test_a_digest_is_of_the_content_and_the_ancestors_and_not_of_names(tmp_path: Path) -> None:
    write(tmp_path, "a")
    write(tmp_path, "b", start="a")
    (tmp_path / "c.toml").write_text("# a comment\n" + (tmp_path / "b.toml").read_text())
    first = digest(tmp_path, "b")
    assert digest(tmp_path, "c") == first
    write(tmp_path, "b", teacher="a")
    assert digest(tmp_path, "b") != first
    (tmp_path / "a.toml").write_text(TEXT.replace("seed = 0", "seed = 1"))
    assert digest(tmp_path, "c") != first


def test_a_version_is_the_recipes_number_or_a_trials_digest() -> None:
    assert lineage.version(FAST, "abcdef0123") == "1"
    assert lineage.version(trial(FAST, ["seed=1"]), "abcdef0123") == "abcdef01"
    assert lineage.version(trial(FAST, ["seed=1"], "mine-3"), "abcdef0123") == "abcdef01"
    assert lineage.version(trial(FAST, [], "mine"), "abcdef0123") == "abcdef01"


def test_the_network_of_a_recipe_is_found_by_its_digest(tmp_path: Path) -> None:
    contents = [None, "{", "[]", '{"recipe": {"digest": "b"}}', '{"recipe": {"digest": "a"}}']
    for number, content in enumerate(contents):
        (tmp_path / str(number)).mkdir()
        if content:
            (tmp_path / str(number) / "metadata.json").write_text(content)
    places = sorted(tmp_path.iterdir())
    assert lineage.made("a", iter(places)) == tmp_path / "4"
    assert lineage.made("c", iter(places)) is None
