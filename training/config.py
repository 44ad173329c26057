"""The recipes: everything that decides what a training run ends with, as one frozen value each."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

Schedule = Literal["inverse_time", "piecewise_linear"]
Precision = Literal["float32", "mixed_bfloat16"]
Flip = Literal["none", "random", "alternating"]


class ConfigError(Exception):
    """A recipe field has an impossible value; the message names field, value and what was expected."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training recipe.

    `learning_rate` is the peak of the schedule and, like `weight_decay`, is meant for a loss averaged over the batch.
    `knots` are the corners (epoch, share of `learning_rate`) of the piecewise linear schedule; two corners at one epoch
    are a jump, a warm restart (Loshchilov and Hutter 2017).
    `weight_decay` is decoupled and applies to kernels only: each step scales them by 1 - learning rate * weight_decay.
    `validation` pictures at the end of the seeded permutation are never trained on.
    """

    name: str
    architecture: str
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: Schedule
    decay: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()
    label_smoothing: float = 0.0
    flip: Flip = "none"
    translate: int = 0
    cutout: int = 0
    whiten: bool = False
    precision: Precision = "float32"
    validation: int = 5_000
    seed: int = 0

    def __post_init__(self) -> None:
        self._check("at least 1", lambda value: value >= 1, "epochs", "batch_size", "validation")
        self._check("more than 0", lambda value: value > 0, "learning_rate")
        self._check("0 or more", lambda value: value >= 0, "weight_decay", "decay")
        self._check("0 or more, less than 1", lambda value: 0 <= value < 1, "momentum", "label_smoothing")
        self._check("0 to 31 pixels", lambda value: 0 <= value < 32, "translate", "cutout")
        for field, kind in (("flip", Flip), ("schedule", Schedule), ("precision", Precision)):
            self._check(f"one of {', '.join(get_args(kind))}", get_args(kind).__contains__, field)
        if self.schedule == "piecewise_linear":
            expected = f"(epoch, share of the rate) pairs from epoch 0 to {self.epochs}, in order"
            self._check(expected, self._span, "knots")

    def _span(self, knots: tuple[tuple[float, float], ...]) -> bool:
        epochs = [epoch for epoch, _ in knots]
        rates = all(0 <= share <= 1 for _, share in knots)
        return rates and epochs == sorted(epochs) and epochs[:1] == [0] and epochs[-1:] == [self.epochs]

    def _check(self, expected: str, holds: Callable[[Any], bool], *fields: str) -> None:
        for field in fields:
            if not holds(getattr(self, field)):
                raise ConfigError(f"{field} is {getattr(self, field)!r}; expected {expected}")

    def as_dict(self) -> dict[str, object]:
        """As JSON keeps it: tuples are lists."""
        return dict(json.loads(json.dumps(asdict(self))))


TUTORIAL = TrainConfig(
    name="tutorial",
    architecture="tutorial",
    epochs=25,
    batch_size=512,
    learning_rate=0.01,
    momentum=0.5,
    schedule="inverse_time",
    decay=0.0004,
)
"""The tutorial's own recipe, to the letter: no augmentation, SGD whose rate falls as 0.01 / (1 + 0.0004 step)."""

FAST = TrainConfig(
    name="fast",
    architecture="fast",
    epochs=46,
    batch_size=500,
    learning_rate=0.6,
    momentum=0.85,
    nesterov=True,
    weight_decay=0.009,
    schedule="piecewise_linear",
    knots=((0, 0), (7.2, 1), (36, 0), (36, 0.25), (46, 0)),
    label_smoothing=0.2,
    flip="alternating",
    translate=2,
    cutout=10,
    whiten=True,
    precision="mixed_bfloat16",
)

ACCURATE = replace(
    FAST,
    name="accurate",
    architecture="accurate",
    epochs=28,
    learning_rate=0.5,
    weight_decay=0.008,
    knots=((0, 0), (4, 1), (28, 0)),
    translate=4,
    cutout=12,
)
"""Twice the width of `fast`: more to learn with, so more is done to the pictures and less of each rate is taken."""

RECIPES: dict[str, TrainConfig] = {config.name: config for config in (TUTORIAL, FAST, ACCURATE)}
