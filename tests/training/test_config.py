import json
import re
from dataclasses import replace

import pytest

from training.config import FAST, RECIPES, TUTORIAL, Activation, ConfigError


def test_the_tutorials_recipe_is_the_tutorials() -> None:
    assert (TUTORIAL.learning_rate, TUTORIAL.momentum, TUTORIAL.decay) == (0.01, 0.5, 0.0004)
    assert (TUTORIAL.batch_size, TUTORIAL.epochs) == (512, 25)
    assert (TUTORIAL.flip, TUTORIAL.translate, TUTORIAL.cutout) == ("none", 0, 0)


def test_the_tutorials_network_is_the_tutorials() -> None:
    assert (TUTORIAL.filters, TUTORIAL.kernel, TUTORIAL.stride) == ((32, 32), (3, 3), (1, 1))
    assert (TUTORIAL.padding, TUTORIAL.activation) == (("same", "valid"), "relu")
    assert (TUTORIAL.pool, TUTORIAL.pool_size) == ("max", (2, 2))
    assert (TUTORIAL.dropout, TUTORIAL.dropconnect, TUTORIAL.max_norm) == ((0.2, 0.3), 0, 0)
    assert (TUTORIAL.early_stopping_patience, TUTORIAL.max_parameters, TUTORIAL.weight_decay) == (0, 0, 0)


@pytest.mark.parametrize("activation", ["tanh", "silu", "linear"])
def test_stochastic_pooling_takes_nothing_negative(activation: Activation) -> None:
    with pytest.raises(ConfigError, match=f"activation is '{activation}'; expected relu or sigmoid before stochastic"):
        replace(TUTORIAL, pool="stochastic", activation=activation)


def test_a_window_must_fit_into_what_reaches_it() -> None:
    replace(TUTORIAL, stride=(2, 2), kernel=(16, 3), pool_size=(1, 2))
    with pytest.raises(ConfigError, match="expected at most 16 x 16, which is what the layer conv2 takes"):
        replace(TUTORIAL, stride=(2, 2), kernel=(17, 3))
    with pytest.raises(ConfigError, match=r"pool_size is .* at most 30 x 30, which is what the layer pool takes"):
        replace(TUTORIAL, pool_size=(2, 31))


def test_every_recipe_has_the_name_of_its_architecture() -> None:
    for name, config in RECIPES.items():
        assert config.name == config.architecture == name


def test_a_recipe_survives_json() -> None:
    for config in RECIPES.values():
        assert type(config)(**json.loads(json.dumps(config.as_dict()))).as_dict() == config.as_dict()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", -1),
        ("learning_rate", 0.0),
        ("momentum", 1.0),
        ("label_smoothing", -0.1),
        ("data_pruning", 1.0),
        ("ema", 1.0),
        ("sam", -0.1),
        ("weight_decay", -1.0),
        ("cutout", 33),
        ("translate", 32),
        ("flip", "sideways"),
        ("schedule", "cosine"),
        ("precision", "float8"),
        ("seed", -1),
        ("monitor", "accuracy"),
        ("early_stopping_patience", -1),
        ("early_stopping_min_delta", -0.1),
        ("max_parameters", -1),
        ("pool", "median"),
        ("pool_size", (0, 2)),
        ("pool_size", (31, 2)),
        ("filters", (0, 32)),
        ("kernel", (3, 33)),
        ("stride", (0, 1)),
        ("padding", ("same", "full")),
        ("activation", "mish"),
        ("dropout", (0.2, 1.0)),
        ("dropconnect", 1.0),
        ("max_norm", -1.0),
        ("whiten", True),
        ("width", 2.0),
        ("muon", 0.08),
    ],
)
def test_an_impossible_value_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{field} is {value!r}; expected ")):
        replace(TUTORIAL, **{field: value})  # type: ignore[arg-type]


def test_a_network_has_some_width() -> None:
    for width in (0.01, 17.0, -1.0):
        with pytest.raises(ConfigError, match=f"width is {width}; expected 0.02 to 16"):
            replace(FAST, width=width)


@pytest.mark.parametrize(
    "knots",
    [(), ((0, 1),), ((1, 1), (46, 0)), ((0, 1), (30, 1), (20, 1), (46, 0)), ((0, 1), (46, 2)), ((0, -1), (46, 0))],
)
def test_knots_must_span_the_run_in_order(knots: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ConfigError, match=r"knots is .*; expected .* pairs from epoch 0 to 46"):
        replace(FAST, knots=knots)
