"""The learning rate at every step, as a pure function of the recipe and the position."""

from training.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The learning rate of update number `step` (from 0) of `steps` in all.

    `inverse_time` is Keras' classic decay, rate / (1 + decay * step). `warmup_linear` rises in a straight line
    over the first `warmup` of all updates and falls in one to `final_learning_rate`, as the CIFAR-10 speed
    records do (Page 2018, Jordan 2024).
    """
    if config.schedule == "inverse_time":
        return config.learning_rate / (1 + config.decay * step)
    rising = config.warmup * steps
    if step < rising:
        return config.learning_rate * (step + 1) / (rising + 1)
    remaining = (steps - step) / (steps - rising)
    return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * remaining
