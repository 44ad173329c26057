"""Which pictures are trained on, which choose, and which measure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.own.errors import OwnPicturesError
from training.own.listing import Part

HELD_OUT = 0.1
"""The share of each label's pictures that choose, and again that measure; of each label at least one."""

FEWEST = 3
"""Different pictures of a label: one to train on, one that chooses, one that measures."""

SEED = 0

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """The numbers of the pictures of each part, ascending. `left_out` show the same as one that is held out."""

    training: Numbers
    validation: Numbers
    test: Numbers
    left_out: Numbers


def split(
    labels: NDArray[np.int64], first: Numbers, parts: Sequence[Part | None], names: Sequence[str], seed: int = SEED
) -> Split:
    """Hold out pictures of each label, drawn by `seed`; those that show the same stay on one side.

    `labels` (N,) are positions in `names`, `first` (N,) is as `duplicates.groups` returns it, and `parts` (N,) says
    what the owner has decided; a part that the owner has not made is taken from the training pictures. Raises
    OwnPicturesError, naming the label, where one has too few different pictures.
    """
    given = np.array([part or "training" for part in parts], object)
    rng = np.random.default_rng(seed)
    for part in ("test", "validation"):
        if part not in given:
            for label in range(len(names)):
                free = (labels == label) & (given == "training")
                wanted = max(1, round(HELD_OUT * int(np.sum(labels == label))))
                given[_drawn(free, first, wanted, names[label], rng)] = part
    held_out = {*first[given != "training"].tolist()}
    clashing = (given == "training") & np.isin(first, list(held_out))
    given[clashing] = ""
    found = Split(*(np.flatnonzero(given == part) for part in ("training", "validation", "test", "")))
    for label, count in enumerate(np.bincount(labels[found.training], minlength=len(names))):
        if not count:
            raise _too_few(names[label], "all of its training pictures are the same as held-out ones")
    return found


def _drawn(free: NDArray[np.bool_], first: Numbers, wanted: int, name: str, rng: np.random.Generator) -> Numbers:
    """About as many of the `free` pictures as are wanted, in whole groups."""
    groups = rng.permutation(np.unique(first[free]))
    if len(groups) < 2:
        raise _too_few(name, f"{free.sum()} left to train on and hold out, which are all the same")
    drawn: list[int] = []
    for group in groups[:-1]:  # one stays
        members = np.flatnonzero(free & (first == group))
        if not drawn or len(drawn) + len(members) <= wanted:
            drawn += members.tolist()
        if len(drawn) >= wanted:
            break
    return np.array(drawn, np.int64)


def _too_few(name: str, found: str) -> OwnPicturesError:
    return OwnPicturesError(f"the label {name!r}: {found}; expected at least {FEWEST} different pictures of each label")
