"""Small recipes, and small tasks that a small network can learn."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from training import lineage
from training.data import Pictures
from training.recipe import Recipe
from training.trial import changed

TUTORIAL, FAST, ACCURATE = (lineage.find(name) for name in ("tutorial", "fast-1", "accurate-5"))
RECIPES = {"tutorial": TUTORIAL, "fast": FAST, "accurate": ACCURATE}

SECTIONS = {
    "augment": ("flip", "translate", "cutout", "cutmix", "varied", "disturbed", "noisy", "strength"),
    "data": ("validation", "split_seed"),
    "network": (
        "filters",
        "kernel",
        "stride",
        "padding",
        "activation",
        "pool",
        "pool_size",
        "units",
        "dropout",
        "dropconnect",
        "max_norm",
        *("width", "soften", "whitening_epsilon", "initial_scale", "norm_momentum", "norm_epsilon", "logit_scale"),
    ),
    "optimizer": ("learning_rate", "momentum", "nesterov", "weight_decay"),
    "selection": ("monitor", "restore_best", "patience", "min_delta"),
}
PATHS = {field: f"{section}.{field}" for section, fields in SECTIONS.items() for field in fields}
TECHNIQUES: dict[str, Callable[[float], Any]] = {
    "pruning": lambda share: {"share": share, "whole": 0.125} if share else None,
    "sharpness": lambda radius: {"radius": radius, "every": 4} if radius else None,
    "average": lambda keep: {"keep": keep, "batches": 10} if keep else None,
    "distillation": lambda share: {"share": share, "teachers": ["fast-1"]} if share else None,
}


def vary(recipe: Recipe, **fields: Any) -> Recipe:
    """`recipe` with other values of fields, by their last names; `muon`, `knots` and TECHNIQUES by their number."""
    values: dict[str, Any] = {}
    for field, value in fields.items():
        if field == "muon":
            own = recipe.optimizer.model_dump(include={"learning_rate", "momentum", "nesterov", "weight_decay"})
            muon = {"kind": "muon", "kernel_rate": value, "iterations": 3, "coefficients": (3.4445, -4.7750, 2.0315)}
            values["optimizer"] = own | muon
        elif field == "knots":
            values["schedule"] = {"kind": "piecewise_linear", "knots": value}
        elif field in TECHNIQUES:
            values[field] = TECHNIQUES[field](value)
        else:
            values[PATHS.get(field, field)] = value
    return changed(recipe, values)


SMALL = vary(TUTORIAL, epochs=3, batch_size=16, learning_rate=0.05, filters=(16, 16), pool_size=(3, 3), units=128)
TINY = vary(SMALL, filters=(4, 4), pool_size=(6, 6), units=32)
RANDOM = vary(
    TINY,
    pool="stochastic",
    dropconnect=0.5,
    pruning=0.5,
    flip="random",
    translate=2,
    cutout=4,
    cutmix=0.5,
    disturbed=0.5,
    noisy=0.5,
)
"""Everything that draws random numbers."""
MODERN = vary(
    FAST,
    width=0.05,
    epochs=3,
    knots=((0, 1), (3, 0)),
    batch_size=16,
    muon=0.05,
    sharpness=0.1,
    average=0.9,
    pruning=0.5,
    cutmix=0.5,
)
"""What the best networks are trained by."""


def stripes(count: int, seed: int) -> Pictures:
    """Pictures that are bright in the row that their label says, on noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count).astype(np.uint8)
    images = rng.integers(0, 60, (count, 32, 32, 3)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[3 * label : 3 * label + 3] = 255
    return Pictures(images, labels)


TRAINING, VALIDATION = stripes(160, 1), stripes(40, 2)
WHOLE = Pictures(*(np.concatenate([getattr(TRAINING, f), getattr(VALIDATION, f)]) for f in ("images", "labels")))


def shaken(model: keras.Model) -> keras.Model:
    """Every weight moved off its initial value, so that nothing that is still zero or one can hide a mistake."""
    rng = np.random.default_rng(1)
    for variable in model.weights:
        values = variable.numpy()
        if "variance" in variable.name:
            variable.assign(values * rng.uniform(0.5, 2, values.shape))
        elif variable.dtype == "float32" and values.ndim:
            variable.assign(values + rng.normal(0, 0.02, values.shape))
    return model


def as_toml(recipe: Recipe) -> str:
    """The recipe's file."""
    return "".join(_lines(recipe.content()))


def _lines(values: Mapping[str, Any], section: str = "") -> Iterator[str]:
    yield from (f"{key} = {json.dumps(value)}\n" for key, value in values.items() if not isinstance(value, dict))
    for key, value in values.items():
        if isinstance(value, dict):
            yield f"\n[{section}{key}]\n"
            yield from _lines(value, f"{section}{key}.")
