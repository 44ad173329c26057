import shlex
from dataclasses import replace

import pytest

from training.config import ACCURATE, FAST, TUTORIAL, ConfigError
from training.overrides import changes, command, differences, override


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("dropout=0.4", (0.4, 0.4)),
        ("dropout=[0, 0.5]", (0, 0.5)),
        ("pool=average", "average"),
        ("pool_size=3", (3, 3)),
        ("filters=64", (64, 64)),
        ("kernel=5", (5, 5)),
        ("kernel=[1, 7]", (1, 7)),
        ("stride=2", (2, 2)),
        ("padding=same", ("same", "same")),
        ('padding=["valid", "same"]', ("valid", "same")),
        ("activation=tanh", "tanh"),
        ("dropconnect=0.5", 0.5),
        ("max_norm=3", 3.0),
        ("weight_decay=5e-4", 0.0005),
        ("max_parameters=500000", 500_000),
        ("monitor=val_loss", "val_loss"),
        ("early_stopping_patience=3", 3),
        ("early_stopping_min_delta=0.001", 0.001),
        ("restore_best=false", False),
        ("nesterov=true", True),
        ("epochs=10", 10),
    ],
)
def test_a_value_is_parsed_by_its_fields_type(assignment: str, value: object) -> None:
    config = override(TUTORIAL, [assignment])
    field = assignment.partition("=")[0]
    assert getattr(config, field) == value
    assert type(getattr(config, field)) is type(value)
    assert replace(config, **{field: getattr(TUTORIAL, field)}) == TUTORIAL


def test_what_only_fits_together_is_set_together() -> None:
    config = override(FAST, ["epochs=10", "knots=[[0, 0], [2, 1], [10, 0]]"], name="short")
    assert (config.name, config.epochs, config.knots) == ("short", 10, ((0.0, 0.0), (2.0, 1.0), (10.0, 0.0)))
    with pytest.raises(ConfigError, match=r"knots is .*; expected .* pairs from epoch 0 to 10"):
        override(FAST, ["epochs=10"])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("dropout", "--set is 'dropout'; expected FIELD=VALUE"),
        ("droput=0.4", "no field is called 'droput'; expected one of epochs, batch_size, .*, dropout, "),
        ("name=other", "no field is called 'name'"),
        ("architecture=fast", "no field is called 'architecture'"),
        ("epochs=many", "epochs is 'many'; expected an integer"),
        ("epochs=2.5", r"epochs is '2\.5'; expected an integer"),
        ("learning_rate=", "learning_rate is ''; expected a number"),
        ("learning_rate=inf", "learning_rate is 'inf'; expected a finite number"),
        ("restore_best=maybe", "restore_best is 'maybe'; expected true or false"),
        ("knots=5", "knots is '5'; expected a list as JSON"),
        ("dropout=[0.1", r"dropout is '\[0\.1'; expected a list as JSON"),
        ("filters=[8, 8, 8]", r"filters is \(8, 8, 8\); expected two, each 1 to 4096"),
        ("dropout=1", "dropout is .*; expected two, each 0 or more, less than 1"),
        ("epochs=1" + 400 * "0", "epochs is 1000.*; expected 1 to 1000000"),
        ("learning_rate=1" + 400 * "0", "learning_rate is '1000.*; expected a finite number"),
        ("batch_size=100000000000000000000", "batch_size is 100000000000000000000; expected 1 to 50000"),
        ("validation=3", "validation is 3; expected 4 to 49998"),
        ("validation=49999", "validation is 49999; expected 4 to 49998"),
        ("dropout=" + 9_000 * "[", "dropout is .*; expected a list as JSON"),
        ("pool=median", "pool is 'median'; expected one of max, average, stochastic"),
    ],
)
def test_what_cannot_be_set_is_refused_by_name(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(TUTORIAL, [assignment])


@pytest.mark.parametrize("knots", ["[[0, 0, 1], [46, 0, 1]]", "[[0], [46]]", "[]", "[[1, 1], [46, 0]]"])
def test_knots_that_are_none_are_refused(knots: str) -> None:
    with pytest.raises(ConfigError, match=r"knots is .*; expected .* pairs from epoch 0 to 46"):
        override(FAST, [f"knots={knots}"])


@pytest.mark.parametrize("field", ["pool", "dropout", "max_norm", "filters"])
def test_the_tutorials_knobs_are_refused_elsewhere(field: str) -> None:
    with pytest.raises(ConfigError, match=f"{field} is a knob of the tutorial's network; fast has epochs, "):
        override(FAST, [f"{field}=1"])


@pytest.mark.parametrize("name", ["", "../fast", ".hidden", "A b"])
def test_a_name_that_is_no_plain_file_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"--name is .*; expected lower-case letters"):
        override(TUTORIAL, [], name)


def test_the_command_of_a_recipe_makes_it_again() -> None:
    settings = ["dropout=[0.4, 0.1]", "padding=same", "restore_best=false", "weight_decay=0.01", "pool=average"]
    config = override(TUTORIAL, settings, name="other")
    assert sorted(differences(config, TUTORIAL)) == sorted(settings)
    words = shlex.split(command(config.as_dict()))
    assert words[:5] == ["convoscope", "train", "tutorial", "--name", "other"]
    assert words[5::2] == ["--set"] * len(settings)
    assert override(TUTORIAL, words[6::2], "other") == config


def test_a_shipped_recipe_needs_no_settings_even_if_its_metadata_is_older_than_a_field() -> None:
    for config in (TUTORIAL, FAST, ACCURATE):
        recipe = config.as_dict()
        assert command(recipe) == f"convoscope train {config.name}"
        del recipe["monitor"]
        assert changes(recipe) == []


def test_a_field_that_metadata_is_too_old_for_had_its_default() -> None:
    recipe = FAST.as_dict()
    del recipe["cutout"]
    assert changes(recipe) == ["cutout=0"]


def test_a_recipe_from_before_there_could_be_several_teachers_is_read() -> None:
    recipe = replace(ACCURATE, teachers=(("fast", "1", "cd"),)).as_dict()
    (recipe["teacher"],) = recipe.pop("teachers")  # type: ignore[misc]
    assert command(recipe) == "convoscope train accurate --teacher earlier/fast-1"
    recipe["teacher"] = []
    del recipe["initial"]
    assert command(recipe) == "convoscope train accurate"


def test_every_version_of_an_artifact_has_a_folder_of_its_own_in_the_command() -> None:
    config = replace(ACCURATE, initial=("accurate", "2", "ab"), teachers=(("fast", "1", "cd"), ("fast", "2", "ef")))
    expected = "convoscope train accurate --from earlier/accurate-2 --teacher earlier/fast-1 --teacher earlier/fast-2"
    assert command(config.as_dict()) == expected
