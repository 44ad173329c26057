"""What units look for, on small networks; and what is shipped of it."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from app.inference import artifact as served
from app.inference.artifact import Place
from tests.conftest import MODELS
from tests.training.samples import FAST, TINY, TRAINING, shaken, vary
from training.release import artifact, units
from training.release.units import UnknownLayer
from training.train import build


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "STEPS", 30)
    monkeypatch.setattr(units, "COUNT", 3)


def test_the_pictures_shown_are_those_that_excite_a_unit_most_and_where() -> None:
    model = shaken(build(TINY))
    layers = ["conv1", "conv2", "logits"]
    found = units.look(model, layers, TRAINING)
    for name in layers:
        output = keras.Model(model.input, model.get_layer(name).output).predict(TRAINING.images, verbose=0)
        excited = found[name]
        assert excited.pictures.shape == (len(excited.units), 1 + units.EXAMPLES, 32, 32, 3)
        for row, unit in enumerate(excited.units):
            values = output[..., unit]
            most = np.sort(values.reshape(len(values), -1).max(axis=1))[::-1][: units.EXAMPLES]
            np.testing.assert_allclose(excited.values[row, 1:], most, rtol=1e-4)
            shown = keras.Model(model.input, model.get_layer(name).output).predict(excited.pictures[row], verbose=0)
            if excited.places is None:
                np.testing.assert_allclose(shown[:, unit], excited.values[row], rtol=1e-3, atol=1e-4)
                continue
            rows, columns = excited.places[row].T
            where = shown[np.arange(len(shown)), rows, columns, unit]
            np.testing.assert_allclose(where, excited.values[row], rtol=1e-3, atol=1e-4)


def test_the_picture_made_for_a_mask_excites_it_more_than_any_test_picture() -> None:
    model = shaken(build(TINY))
    excited = units.look(model, ["conv1"], TRAINING)["conv1"]
    assert (excited.values[:, 0] >= excited.values[:, 1:].max(axis=1)).all()
    assert model.get_layer("conv1").activation is keras.activations.relu


def test_the_picture_made_for_a_label_has_a_greater_score_than_grey() -> None:
    model = shaken(build(vary(FAST, width=0.05)))
    excited = units.look(model, ["logits"], TRAINING)["logits"]
    scores = keras.Model(model.input, model.get_layer("logits").output)
    grey = scores.predict(np.full((1, 32, 32, 3), 128, np.uint8), verbose=0)[0]
    assert (excited.values[:, 0] > grey[excited.units]).all()


def test_the_layers_that_are_looked_at_go_from_the_first_to_the_last() -> None:
    assert units.chosen(build(TINY)) == ["conv1", "conv2", "dense", "logits"]
    assert units.chosen(build(vary(FAST, width=0.05))) == ["whiten", "group1_conv3", "group3_conv1", "logits"]


def test_units_that_always_answer_the_same_are_left_out() -> None:
    values = np.zeros((5, 6), np.float32)
    values[0, [0, 1, 2, 4, 5]] = 1
    assert units.spread(values) == [0, 2, 5]


def test_an_unknown_layer_is_rejected_by_name() -> None:
    with pytest.raises(UnknownLayer, match="no layer is called 'conv9'; expected rescale, conv1"):
        units.look(build(TINY), ["conv9"], TRAINING)


def test_an_artifact_with_units_is_whole_and_served(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "tutorial", tmp_path / "tutorial")
    units.record(tmp_path / "tutorial", ["conv2"], TRAINING)
    found = served.read(tmp_path, Place("tutorial"))
    assert found.metadata.units == "units/units.json"
    index = json.loads(found.file("units/units.json"))
    assert [layer["layer"] for layer in index["layers"]] == ["conv2"]
    assert sorted(name for name in found.metadata.files if name.startswith("units/")) == [
        "units/conv2.png",
        "units/units.json",
    ]
    assert not (tmp_path / "tutorial" / "units" / "conv1.png").exists()
    assert artifact.read(tmp_path / "tutorial")["version"] == found.metadata.version


@pytest.mark.parametrize("name", ["tutorial", "fast"])
def test_the_shipped_networks_say_what_their_units_look_for(name: str) -> None:
    found = served.read(MODELS, Place(name))
    assert found.metadata.units
    sizes = []
    layers = {layer.name: layer for layer in found.metadata.layers}
    for layer in json.loads(found.file(found.metadata.units))["layers"]:
        sizes.append(len(found.file(layer["file"])))
        for unit in layer["units"]:
            assert 0 <= unit["unit"] < layers[layer["layer"]].output_shape[-1]
            assert [example["value"] for example in unit["examples"]] == sorted(
                (example["value"] for example in unit["examples"]), reverse=True
            )
    assert len(sizes) == 4
    assert sum(sizes) < 1_000_000
