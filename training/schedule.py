"""The learning rate at every step, as a pure function of the recipe and the position."""

import numpy as np

from training.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The learning rate of update number `step` (from 0) of `steps` in all.

    `inverse_time` is Keras' classic decay, rate / (1 + decay * step). `piecewise_linear` joins the recipe's knots with
    straight lines, read at the middle of the update: a rise, then a fall to zero, is what the CIFAR-10 speed records
    use (Page 2018, Jordan 2024).
    """
    if config.schedule == "inverse_time":
        return config.learning_rate / (1 + config.decay * step)
    epochs, shares = zip(*config.knots, strict=True)
    return config.learning_rate * float(np.interp((step + 0.5) * config.epochs / steps, epochs, shares))
