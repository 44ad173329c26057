"""Dynamic data pruning: an epoch leaves out some of the pictures that the network already does well at."""

import numpy as np
from numpy.typing import NDArray


def prune(
    losses: NDArray[np.float32], share: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which of N pictures to train on, as their numbers (K,), and what the loss of each is to weigh, (K,).

    `losses` (N,) are their last ones, NaN before the first. Of those below the mean, `share` [0, 1) are left out at
    random, and the rest of them weigh 1 / (1 - share), so that the expected gradient stays what it was (InfoBatch, Qin
    et al. 2024).
    """
    known = losses[~np.isnan(losses)]
    easy = losses < known.sum() / max(len(known), 1)
    kept = np.flatnonzero(~easy | (rng.random(len(losses)) >= share))
    return kept, np.where(easy[kept], np.float32(1 / (1 - share)), np.float32(1))
