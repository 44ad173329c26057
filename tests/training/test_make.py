"""A network that is made from others, in miniature, from nothing."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.inference.registry import Registry
from app.settings import Settings
from tests.training.samples import TINY, VALIDATION, WHOLE, as_toml, vary
from training import data, lineage, make, run, train
from training.make import Workshop
from training.recipe import Recipe, RecipeError
from training.release.artifact import ArtifactError, ArtifactExists
from training.run import CheckpointError
from training.trial import changed

FIRST = vary(TINY, name="first-1", epochs=2, validation=len(VALIDATION.labels))
SECOND = changed(
    FIRST,
    {
        "name": "second-3",
        "start": "first-1",
        "augment.flip": "random",
        "distillation": {"share": 0.5, "teachers": ["first-1"]},
    },
)


def shop_in(folder: Path) -> Workshop:
    shop = Workshop(folder / "recipes", folder / "models", folder / "runs")
    shop.recipes.mkdir()
    for recipe in (FIRST, SECOND):
        (shop.recipes / f"{recipe.name}.toml").write_text(as_toml(recipe))
    return shop


def about(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metadata.json").read_text())
    return found


@pytest.fixture(scope="module", autouse=True)
def _few_pictures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "find", lambda place: Path("nowhere"))
        patch.setattr(data, "load_training", lambda place: WHOLE)
        patch.setattr(data, "load_test", lambda place: VALIDATION)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A workshop in which both generations were made, the second after an interruption."""
    shop = shop_in(tmp_path_factory.mktemp("workshop"))
    second = lineage.find("second", shop.recipes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "progress_line", interrupted_by("second-3"))
        with pytest.raises(KeyboardInterrupt):
            make.make(second, shop, None, overwrite=False)
    assert not list(shop.models.iterdir())
    make.make(second, shop, None, overwrite=False)
    return shop


def interrupted_by(name: str) -> Any:
    def line(recipe: Recipe, progress: object) -> str:
        if recipe.name == name:
            raise KeyboardInterrupt
        return recipe.name

    return line


def test_a_network_is_made_after_what_it_is_made_from(made: Workshop) -> None:
    second = about(made.models / "second")
    first = about(made.runs / "first-1" / "artifact")
    assert (second["name"], second["version"]) == ("second", "3")
    (parent,) = second["lineage"]
    assert (parent["recipe"], parent["digest"]) == ("first-1", first["recipe"]["digest"])
    assert parent["weights"] == first["files"]["model.keras"]
    assert parent["operations"] == first["training"]["operations"] > 0
    assert second["recipe"]["start"] == "first-1"
    assert second["training"].keys() >= {"seconds", "updates", "commit", "machine", "precision", "operations"}
    assert Registry(Settings(models=made.models)).find("second").metadata.version == "3"
    card = (made.models / "second" / "README.md").read_text()
    assert "It began with the weights of `first-1`. 50% of what it learnt were the answers of `first-1`." in card
    assert "convoscope train second-3\n" in card
    assert "| first-1 | 2 | " in card
    assert [path.name for path in made.models.iterdir()] == ["second"]


def test_what_is_made_is_not_made_again(
    made: Workshop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    second = lineage.find("second", made.recipes)
    with pytest.raises(ArtifactExists, match="second is there already"):
        make.make(second, made, None, overwrite=False)
    before = (made.runs / "first-1" / "checkpoint.npz").stat().st_mtime_ns
    make.make(second, made, None, overwrite=True)
    said = capsys.readouterr().out
    assert said.startswith("1 network to train, about 0 s on this machine:\n  first-1        is in ")
    assert "  second-3       2 of 2 epochs are done in float32, about 0 s\n" in said
    assert (made.runs / "first-1" / "checkpoint.npz").stat().st_mtime_ns == before


def test_a_parent_that_is_served_is_taken_from_there(made: Workshop, tmp_path: Path) -> None:
    shop = shop_in(tmp_path)
    shutil.copytree(made.runs / "first-1" / "artifact", shop.models / "first")
    steps = make.plan(lineage.find("second", shop.recipes), shop)
    assert [(step.recipe.name, step.folder) for step in steps] == [
        ("first-1", shop.models / "first"),
        ("second-3", None),
    ]
    (shop.recipes / "first-1.toml").write_text(as_toml(FIRST).replace("seed = 0", "seed = 1"))
    steps = make.plan(lineage.find("second", shop.recipes), shop)
    assert [step.folder for step in steps] == [None, None]


def test_what_a_made_parent_was_made_from_is_not_needed(made: Workshop) -> None:
    (made.recipes / "third-1.toml").write_text(as_toml(changed(SECOND, {"start": "second-3", "distillation": None})))
    steps = make.plan(lineage.find("third", made.recipes), made)
    assert [step.recipe.name for step in steps] == ["second-3", "third-1"]
    (made.recipes / "third-1.toml").unlink()


def test_a_damaged_parent_is_told_and_not_made_again(made: Workshop, tmp_path: Path) -> None:
    shop = shop_in(tmp_path)
    shutil.copytree(made.runs / "first-1" / "artifact", shop.models / "first")
    (shop.models / "first" / "model.keras").write_bytes(b"PK")
    with pytest.raises(ArtifactError, match=r"first/model\.keras: damaged; SHA-256 is "):
        make.make(lineage.find("second", shop.recipes), shop, None, overwrite=False)
    assert not (shop.models / "second").exists()


def test_a_run_goes_on_only_with_the_parents_it_began_with(made: Workshop, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(made.runs / "second-3", run)
    with pytest.raises(CheckpointError, match=r"was begun with weights of first-1 whose SHA-256 is .*, and they are"):
        train.train(lineage.find("second", made.recipes), WHOLE, VALIDATION, run, parents={"first-1": "0" * 64})


def test_a_recipe_that_cannot_be_made_is_rejected_before_anything_is_trained(
    made: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "train", lambda *_, **__: pytest.fail("trained"))
    for change, message in (
        ({"start": "nobody"}, "needs 'nobody', which is not a recipe"),
        ({"data.validation": 41}, r"data\.validation is 41; expected at most 40, which its parent first-1"),
    ):
        with pytest.raises(RecipeError, match=message):
            make.make(changed(SECOND, {"name": "bad", **change}), made, None, overwrite=False)


def test_how_long_is_estimated_before_the_first_epoch_and_measured_after_it(made: Workshop, tmp_path: Path) -> None:
    timed: dict[str, float] = {}
    assert make.remaining(FIRST, made.runs / "first-1", "float32", timed) == (2, 0)
    assert timed == {}
    done, seconds = make.remaining(FIRST, tmp_path, "float32", timed)
    (per_picture,) = timed.values()
    assert done == 0
    assert seconds == pytest.approx(2 * 49_960 * per_picture)
    longer = make.remaining(changed(SECOND, {"epochs": 4}), tmp_path, "float32", timed)[1]
    assert longer == pytest.approx(4 * 49_960 * 4 / 3 * per_picture)
