"""The learning rate at every update, as a pure function of the recipe and the position."""

import numpy as np

from training.recipe import InverseTime, Recipe


def learning_rate(recipe: Recipe, update: int, epoch: float) -> float:
    """The learning rate of update number `update` (from 0), whose middle is `epoch` epochs after the run's start.

    `inverse_time` is Keras' classic decay, rate / (1 + decay * update). `piecewise_linear` joins the recipe's knots
    with straight lines: a rise, then a fall to zero, is what the CIFAR-10 speed records use (Page 2018, Jordan 2024).
    """
    peak, schedule = recipe.optimizer.learning_rate, recipe.schedule
    if isinstance(schedule, InverseTime):
        return peak / (1 + schedule.decay * update)
    epochs, shares = zip(*schedule.knots, strict=True)
    return peak * float(np.interp(epoch, epochs, shares))
