"""The comparison of regularisers, on the small task of the training loop's test."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import regularisers
from benchmarks.regularisers import BASE, VARIANTS
from tests.training.samples import TRAINING, TUTORIAL, VALIDATION, vary
from training import data
from training.data import Pictures
from training.trial import changed


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Few pictures instead of CIFAR-10, and only three variants."""
    monkeypatch.setattr(data, "find", lambda place: tmp_path)
    whole = Pictures(*(np.concatenate([getattr(TRAINING, f), getattr(VALIDATION, f)]) for f in ("images", "labels")))
    monkeypatch.setattr(data, "load_training", lambda place: whole)
    chosen = ("nothing", "the tutorial's dropout", "early stopping")
    monkeypatch.setattr(regularisers, "VARIANTS", {name: VARIANTS[name] for name in chosen})


@pytest.mark.usefixtures("faked")
def test_a_table_and_a_plot_are_written_and_finished_runs_not_repeated(tmp_path: Path) -> None:
    small = []
    fields = ("epochs=1", "data.validation=40", "batch_size=16", "network.filters=4", "network.pool_size=6")
    for field in fields:
        small += ["--set", field]
    command = ["--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "docs"), *small]
    regularisers.main(command)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/checkpoint.npz")}
    assert {path.parent.name for path in written} == {"nothing", "dropout-tutorial", "early-stopping"}
    text = (tmp_path / "docs" / "regularisers.md").read_text()
    assert "trained on 160 pictures of CIFAR-10 for at most 1 epochs from the same\nseed (0)" in text
    assert "| the tutorial's dropout | `network.dropout=[0.2, 0.3]` | 1 | " in text
    assert "`selection.monitor=val_loss`" in text
    assert "`batch_size=16`" in text
    assert text.count("![") == 1
    with Image.open(tmp_path / "docs" / "regularisers.png") as picture:
        assert len(set(picture.convert("RGB").resize((64, 64)).tobytes())) > 10
    regularisers.main(command)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    with pytest.raises(SystemExit, match="--set names 'fast-1'; expected neither start nor teachers here"):
        regularisers.main([*command, "--set", "start=fast-1"])
    assert (tmp_path / "docs" / "regularisers.md").read_text() == text


def test_training_accuracy_is_measured_on_pictures_as_they_are(tmp_path: Path) -> None:
    seen: list[Pictures] = []

    def measured(network: object, pictures: Pictures) -> tuple[float, float]:
        seen.append(pictures)
        return 1.0, 0.75

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regularisers, "measure", measured)
        config = vary(BASE, epochs=1, batch_size=16, filters=4, pool_size=6)
        result = regularisers.run(config, TRAINING, VALIDATION, tmp_path)
    assert [len(pictures.labels) for pictures in seen] == [160, 40]
    assert np.array_equal(seen[0].images, TRAINING.images)
    assert (result.epochs, result.training) == (1, 0.75)


def test_each_variant_turns_its_own_knobs_and_no_others() -> None:
    turned = {label: {field.split(".")[-1] for field in fields} for label, (_, fields) in VARIANTS.items()}
    assert turned == {
        "nothing": set(),
        "the tutorial's dropout": {"dropout"},
        "dropout of a half": {"dropout"},
        "DropConnect": {"dropconnect"},
        "weight decay": {"weight_decay"},
        "max-norm": {"max_norm"},
        "stochastic pooling": {"pool"},
        "average pooling": {"pool"},
        "flips and translations": {"flip", "translate"},
        "early stopping": {"monitor", "patience", "restore_best"},
    }
    recipes = {label: changed(BASE, {"name": name, **fields}) for label, (name, fields) in VARIANTS.items()}
    own = TUTORIAL.content()["network"]["dropout"]
    assert recipes["the tutorial's dropout"].content()["network"]["dropout"] == own
    assert {recipe.seed for recipe in recipes.values()} == {0}
    assert {recipe.epochs for recipe in recipes.values()} == {10}
    assert len({recipe.name for recipe in recipes.values()}) == len(VARIANTS)
