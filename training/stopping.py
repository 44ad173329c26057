"""Which epoch's weights a run keeps, and when it is over: pure functions of the recipe and the history.

A resumed run therefore stops where an uninterrupted one does.
"""

import math
from collections.abc import Mapping, Sequence

from training.recipe import Recipe

History = Sequence[Mapping[str, float]]
"""A row an epoch, with at least `val_loss` and `val_accuracy`."""


def best_epoch(recipe: Recipe, history: History) -> int:
    """The first epoch, counted from 1, with the best `monitor`; the last one without `restore_best`; 0 before any."""
    if not recipe.selection.restore_best or not history:
        return len(history)
    scores = [_score(recipe, row) for row in history]
    return scores.index(max(scores)) + 1


def is_over(recipe: Recipe, history: History) -> bool:
    """Whether all epochs are done, or the last `patience` of them brought nothing."""
    patience = recipe.selection.patience
    return len(history) >= recipe.epochs or 0 < patience <= _idle(recipe, history)


def _idle(recipe: Recipe, history: History) -> int:
    """Epochs since the last that was better than all before it that counted by more than the minimum; as in Keras."""
    best, idle = -math.inf, 0
    for row in history:
        score = _score(recipe, row)
        if score - recipe.selection.min_delta > best:
            best, idle = score, 0
        else:
            idle += 1
    return idle


def _score(recipe: Recipe, row: Mapping[str, float]) -> float:
    return row["val_accuracy"] if recipe.selection.monitor == "val_accuracy" else -row["val_loss"]
