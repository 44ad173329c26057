"""Recipes as values: what is rejected, and how."""

import pytest

from tests.training.samples import ACCURATE, FAST, RECIPES, TUTORIAL, vary
from training.recipe import Activation, RecipeError, parse
from training.trial import changed, differences, trial


def test_the_tutorials_recipe_is_the_tutorials() -> None:
    content = TUTORIAL.content()
    assert content["optimizer"] == {"kind": "sgd", "learning_rate": 0.01, "momentum": 0.5, "nesterov": False}
    assert content["schedule"] == {"kind": "inverse_time", "decay": 0.0004}
    assert (TUTORIAL.batch_size, TUTORIAL.epochs, TUTORIAL.precision) == (512, 25, "float32")
    assert content.keys().isdisjoint({"augment", "pruning", "distillation", "start", "label_smoothing"})


def test_the_tutorials_network_is_the_tutorials() -> None:
    assert TUTORIAL.content()["network"] == {
        "filters": [32, 32],
        "kernel": [3, 3],
        "stride": [1, 1],
        "padding": ["same", "valid"],
        "activation": "relu",
        "pool": "max",
        "pool_size": [2, 2],
        "units": 512,
        "dropout": [0.2, 0.3],
    }


@pytest.mark.parametrize("activation", ["tanh", "silu", "linear"])
def test_stochastic_pooling_takes_nothing_negative(activation: Activation) -> None:
    expected = f"network.activation is '{activation}'; expected relu or sigmoid before stochastic"
    with pytest.raises(RecipeError, match=expected):
        vary(TUTORIAL, pool="stochastic", activation=activation)


def test_a_window_must_fit_into_what_reaches_it() -> None:
    vary(TUTORIAL, stride=(2, 2), kernel=(16, 3), pool_size=(1, 2))
    with pytest.raises(RecipeError, match="expected at most 16 x 16, the input of the layer conv2"):
        vary(TUTORIAL, stride=(2, 2), kernel=(17, 3))
    with pytest.raises(RecipeError, match=r"network.pool_size is .* at most 30 x 30, the input of the layer pool"):
        vary(TUTORIAL, pool_size=(2, 31))


def test_a_recipe_survives_json() -> None:
    for recipe in (*RECIPES.values(), trial(TUTORIAL, ["network.dropout=0.4"], "mine")):
        assert parse(recipe.as_dict()) == recipe


IMPOSSIBLE = [
    ("epochs", 0),
    ("batch_size", -1),
    ("seed", -1),
    ("precision", "float8"),
    ("max_parameters", -1),
    ("label_smoothing", -0.1),
    ("start", "../fast"),
    ("optimizer.learning_rate", 0.0),
    ("optimizer.learning_rate", float("inf")),
    ("optimizer.momentum", 1.0),
    ("optimizer.weight_decay", -1.0),
    ("optimizer.kind", "muon"),
    ("augment.cutout", 33),
    ("augment.translate", 32),
    ("augment.flip", "sideways"),
    ("augment.cutmix", 1.5),
    ("schedule.kind", "cosine"),
    ("data.validation", 3),
    ("data.validation", 49_999),
    ("selection.monitor", "accuracy"),
    ("selection.patience", -1),
    ("selection.min_delta", -0.1),
    ("network.pool", "median"),
    ("network.kernel.1", 33),
    ("network.activation", "mish"),
    ("network.dropconnect", 1.0),
    ("network.max_norm", -1.0),
]


@pytest.mark.parametrize(("field", "value"), IMPOSSIBLE)
def test_an_impossible_value_is_rejected_by_name(field: str, value: object) -> None:
    values = {field: value} if field != "network.kernel.1" else {"network.kernel": (3, 33)}
    with pytest.raises(RecipeError) as error:
        changed(TUTORIAL, values, "here")
    assert str(error.value).startswith(f"here: {field} is {str(value)!r}; expected ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("pruning", {"share": 1.0, "whole": 0.125}, "pruning.share is '1.0'; expected less than 1"),
        ("pruning", {"share": 0.5}, "pruning.whole is missing"),
        ("sharpness", {"radius": 0, "every": 4}, "sharpness.radius is '0'; expected greater than 0"),
        ("average", {"keep": 1.0, "batches": 10}, "average.keep is '1.0'; expected less than 1"),
        ("distillation", {"share": 1.5, "teachers": ["fast-1"]}, "distillation.share is '1.5'; expected less than or"),
        ("distillation", {"share": 0.5, "teachers": []}, "distillation.teachers is .*; expected"),
        ("network", {"width": 17.0}, "network.width is '17.0'; expected less than or equal to 16"),
        ("augment", {"cutuot": 3}, "no field is called 'augment.cutuot'; did you mean augment.cutout"),
        ("cutout", 3, "no field is called 'cutout'; did you mean augment.cutout"),
        ("qzx", 1, "no field is called 'qzx'; see training/recipe.py"),
    ],
)
def test_a_section_is_checked(section: str, value: object, message: str) -> None:
    with pytest.raises(RecipeError, match=f"recipe: {message}"):
        changed(FAST, {section: value})


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(RecipeError, match=r"epochs is '0'; .*; seed is '-1'; "):
        changed(TUTORIAL, {"epochs": 0, "seed": -1})


@pytest.mark.parametrize("field", ["optimizer.momentum", "data.split_seed", "network.pool", "epochs"])
def test_a_recipe_is_complete(field: str) -> None:
    values = TUTORIAL.as_dict()
    *sections, last = field.split(".")
    inner = values
    for section in sections:
        inner = inner[section]
    del inner[last]
    with pytest.raises(RecipeError, match=f"{field} is missing"):
        parse(values)


def test_an_unknown_architecture_is_rejected() -> None:
    values = {key: value for key, value in FAST.as_dict().items() if key != "architecture"}
    with pytest.raises(RecipeError, match="architecture is missing"):
        parse(values)
    with pytest.raises(RecipeError, match="architecture is 'transformer'; expected 'tutorial', 'residual'"):
        parse(values | {"architecture": "transformer"})


@pytest.mark.parametrize(
    "knots",
    [
        (),
        ((0, 1),),
        ((1, 1), (46, 0)),
        ((0, 1), (30, 1), (20, 1), (46, 0)),
        ((0, 1), (46, 2)),
        ((0, -1), (46, 0)),
        ((0, 0, 1), (46, 0, 1)),
        ((0,), (46,)),
    ],
)
def test_knots_must_span_the_run_in_order(knots: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(RecipeError, match=r"schedule\.knots.* is .*; expected|schedule\.knots\.\d\.1 is missing"):
        vary(FAST, knots=knots)


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("network.dropout=0.4", (0.4, 0.4)),
        ("network.dropout=[0, 0.5]", (0, 0.5)),
        ("network.pool=average", "average"),
        ('network.pool="average"', "average"),
        ("network.filters=64", (64, 64)),
        ("network.kernel=[1, 7]", (1, 7)),
        ("network.padding=same", ("same", "same")),
        ('network.padding=["valid", "same"]', ("valid", "same")),
        ("network.max_norm=3", 3.0),
        ("optimizer.weight_decay=5e-4", 0.0005),
        ("max_parameters=500000", 500_000),
        ("selection.restore_best=false", False),
        ("epochs=10", 10),
    ],
)
def test_a_trial_sets_a_field(assignment: str, value: object) -> None:
    field = assignment.partition("=")[0]
    found: object = trial(TUTORIAL, [assignment], "mine")
    for part in field.split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


def test_a_trial_says_what_it_changed_and_what_of() -> None:
    found = trial(FAST, ["augment.cutout=8"], "mine")
    assert (found.name, found.base, found.changes) == ("mine", "fast-1", ("augment.cutout=8",))
    assert differences(found, FAST) == ["augment.cutout=8"]
    assert differences(FAST, found) == ["augment.cutout=10"]
    assert trial(FAST, []) is FAST


def test_what_only_fits_together_is_set_together() -> None:
    found = trial(FAST, ["epochs=10", "schedule.knots=[[0, 0], [2, 1], [10, 0]]"], "short")
    assert found.content()["schedule"]["knots"] == [[0, 0], [2, 1], [10, 0]]
    with pytest.raises(RecipeError, match=r"--set: schedule\.knots is .*; expected .* pairs from epoch 0 to 10"):
        trial(FAST, ["epochs=10"])


def test_a_technique_can_be_tried_that_the_recipe_leaves_out() -> None:
    found = trial(FAST, ["sharpness.radius=0.25", "sharpness.every=4"], "flat")
    assert found.sharpness
    assert found.sharpness.radius == 0.25
    with pytest.raises(RecipeError, match=r"sharpness\.every is missing"):
        trial(FAST, ["sharpness.radius=0.25"], "flat")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("dropout", "--set is 'dropout'; expected FIELD=VALUE"),
        ("=1", "--set is '=1'; expected FIELD=VALUE"),
        ("name=other", "--set is 'name=other'; expected FIELD=VALUE"),
        ("architecture=residual", "--set is 'architecture=residual'"),
        ("network.droput=0.4", "no field is called 'network.droput'; did you mean network.dropout"),
        ("network.width=2", "no field is called 'network.width'"),
        ("epochs=many", "epochs is 'many'; expected a valid integer"),
        ("epochs=2.5", r"epochs is '2\.5'; expected a valid integer"),
        ("optimizer.learning_rate=", "optimizer.learning_rate is ''; expected a valid number"),
        ("optimizer.learning_rate=inf", "optimizer.learning_rate is 'inf'; expected a finite number"),
        ("selection.restore_best=maybe", "selection.restore_best is 'maybe'; expected a valid boolean"),
        ("network.filters=[8, 8, 8]", r"network\.filters is .*; expected"),
        ("epochs=1" + 400 * "0", "epochs is '1000.*; expected less than or equal to 1000000"),
        ("network.dropout=" + 9_000 * "[", "network.dropout.0 is "),
        ("optimizer=3", "optimizer is '3'; expected"),
    ],
)
def test_what_cannot_be_set_is_rejected_by_name(assignment: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as error:
        trial(TUTORIAL, [assignment])
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("name", ["", "../fast", ".hidden", "A b"])
def test_a_name_that_is_not_a_plain_file_name_is_rejected(name: str) -> None:
    with pytest.raises(RecipeError, match=r"--name: name is .*; expected"):
        trial(TUTORIAL, [], name)


def test_parents_are_named_once() -> None:
    assert ACCURATE.parents == ("accurate-4", "accurate-2", "fast-2")
    assert TUTORIAL.parents == ()
