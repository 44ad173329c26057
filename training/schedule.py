"""The learning rate at every step, as a pure function of the recipe and the position."""

import numpy as np

from training.config import TrainConfig


def learning_rate(config: TrainConfig, update: int, epoch: float) -> float:
    """The learning rate of update number `update` (from 0), whose middle is `epoch` epochs after the run's start.

    `inverse_time` is Keras' classic decay, rate / (1 + decay * update). `piecewise_linear` joins the recipe's knots
    with straight lines: a rise, then a fall to zero, is what the CIFAR-10 speed records use (Page 2018, Jordan 2024).
    """
    if config.schedule == "inverse_time":
        return config.learning_rate / (1 + config.decay * update)
    epochs, shares = zip(*config.knots, strict=True)
    return config.learning_rate * float(np.interp(epoch, epochs, shares))
