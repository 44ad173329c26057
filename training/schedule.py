"""The learning rate at every step, as a pure function of the recipe and the position."""

from training.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The learning rate of update number `step` (from 0) of `steps` in all.

    `inverse_time` is Keras' classic decay, rate / (1 + decay * step). `warmup_linear` rises in a straight line
    over the first `warmup` of a cycle's updates and falls in one to zero, as the CIFAR-10 speed records do (Page 2018,
    Jordan 2024); a second, shorter cycle without a rise may follow (a warm restart, Loshchilov and Hutter 2017).
    """
    if config.schedule == "inverse_time":
        return config.learning_rate / (1 + config.decay * step)
    first = steps * (config.epochs - config.restart_epochs) // config.epochs
    if step >= first:
        return config.restart_learning_rate * (steps - step) / (steps - first)
    rising = config.warmup * first
    if step < rising:
        return config.learning_rate * (step + 1) / (rising + 1)
    return config.learning_rate * (first - step) / (first - rising)
