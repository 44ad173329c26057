"""Which epoch's weights a run keeps, and when it is over: pure functions of the recipe and the history.

A resumed run therefore stops where an uninterrupted one does.
"""

import math
from collections.abc import Mapping, Sequence

from training.config import TrainConfig

History = Sequence[Mapping[str, float]]
"""A row an epoch, with at least `val_loss` and `val_accuracy`."""


def best_epoch(config: TrainConfig, history: History) -> int:
    """The first epoch, counted from 1, with the best `monitor`; the last one without `restore_best`; 0 before any."""
    if not config.restore_best or not history:
        return len(history)
    scores = [_score(config, row) for row in history]
    return scores.index(max(scores)) + 1


def is_over(config: TrainConfig, history: History) -> bool:
    """Whether all epochs are done, or the last `early_stopping_patience` of them brought nothing."""
    patience = config.early_stopping_patience
    return len(history) >= config.epochs or 0 < patience <= _idle(config, history)


def _idle(config: TrainConfig, history: History) -> int:
    """Epochs since the last that was better than all before it that counted by more than the minimum; as in Keras."""
    best, idle = -math.inf, 0
    for row in history:
        score = _score(config, row)
        if score - config.early_stopping_min_delta > best:
            best, idle = score, 0
        else:
            idle += 1
    return idle


def _score(config: TrainConfig, row: Mapping[str, float]) -> float:
    return row["val_accuracy"] if config.monitor == "val_accuracy" else -row["val_loss"]
