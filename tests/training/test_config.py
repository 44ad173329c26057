import json
from dataclasses import replace

import pytest

from training.architectures import ARCHITECTURES
from training.config import FAST, RECIPES, TUTORIAL, ConfigError, TrainConfig


def test_the_tutorials_recipe_is_the_tutorials() -> None:
    assert (TUTORIAL.learning_rate, TUTORIAL.momentum, TUTORIAL.decay) == (0.01, 0.5, 0.0004)
    assert (TUTORIAL.batch_size, TUTORIAL.epochs) == (512, 25)
    assert (TUTORIAL.flip, TUTORIAL.translate, TUTORIAL.cutout) == ("none", 0, 0)


def test_every_recipe_has_its_own_name_and_a_known_architecture() -> None:
    for name, config in RECIPES.items():
        assert config.name == name
        assert config.architecture in ARCHITECTURES


def test_a_recipe_survives_json() -> None:
    for config in RECIPES.values():
        assert TrainConfig(**json.loads(json.dumps(config.as_dict()))).as_dict() == config.as_dict()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", -1),
        ("learning_rate", 0.0),
        ("momentum", 1.0),
        ("label_smoothing", -0.1),
        ("weight_decay", -1.0),
        ("cutout", 33),
        ("translate", 32),
        ("flip", "sideways"),
        ("schedule", "cosine"),
        ("precision", "float8"),
    ],
)
def test_an_impossible_value_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{field} is {value!r}; expected"):
        replace(TUTORIAL, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "knots",
    [(), ((0, 1),), ((1, 1), (46, 0)), ((0, 1), (30, 1), (20, 1), (46, 0)), ((0, 1), (46, 2)), ((0, -1), (46, 0))],
)
def test_knots_must_span_the_run_in_order(knots: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ConfigError, match=r"knots is .*; expected .* pairs from epoch 0 to 46"):
        replace(FAST, knots=knots)
