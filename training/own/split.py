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
    labels: Numbers,
    first: Numbers,
    exact: Numbers,
    parts: Sequence[Part | None],
    names: Sequence[str],
    seed: int = SEED,
) -> Split:
    """Hold out pictures of each label, drawn by `seed`; those that show the same stay on one side.

    `labels` (N,) are positions in `names`, `first` and `exact` (N,) are as `duplicates.groups` and `duplicates.exact`
    return them, and `parts` (N,) says what the owner has decided; a part that the owner has not made is taken from the
    training pictures. Near copies of what the owner holds out stay in training: where each view is nearly the same as
    the next, little else would be left. Raises OwnPicturesError, naming the label, where a label has too few different
    pictures.
    """
    first = np.where(series(labels, first, exact, len(names))[labels], exact, first)
    given = np.array([part or "training" for part in parts], object)
    theirs = given != "training"
    rng = np.random.default_rng(seed)
    for part in ("test", "validation"):
        if part not in given:
            for label in range(len(names)):
                free = (labels == label) & (given == "training")
                wanted = max(1, round(HELD_OUT * int(np.sum(labels == label))))
                given[_drawn(free, first, wanted, names[label], rng)] = part
    drawn = (given != "training") & ~theirs
    copies = np.isin(first, first[drawn]) | np.isin(exact, exact[theirs])
    given[(given == "training") & copies] = ""
    found = Split(*(np.flatnonzero(given == part) for part in ("training", "validation", "test", "")))
    for label, count in enumerate(np.bincount(labels[found.training], minlength=len(names))):
        if not count:
            raise _too_few(names[label], "all of its training pictures are the same as held-out ones")
    return found


def series(labels: Numbers, first: Numbers, exact: Numbers, count: int) -> NDArray[np.bool_]:
    """Which of `count` labels are views of one thing, (count,): files differ, but nearly all of them show the same.

    Their views go to both sides, or there would be nothing to hold out.
    """
    return np.array(
        [
            len(np.unique(first[labels == label])) < FEWEST <= len(np.unique(exact[labels == label]))
            for label in range(count)
        ]
    )


def _drawn(free: NDArray[np.bool_], first: Numbers, wanted: int, name: str, rng: np.random.Generator) -> Numbers:
    """At most `wanted` of the `free` pictures, in whole groups; or the smallest group, where all are larger."""
    groups = rng.permutation(np.unique(first[free]))
    if len(groups) < 2:
        same = ", which all show the same" if free.sum() > 1 else ""
        raise _too_few(name, f"{free.sum()} left to train on and hold out{same}")
    members = [np.flatnonzero(free & (first == group)) for group in groups]
    drawn: list[int] = []
    for some in members[:-1]:  # one group stays
        if len(drawn) + len(some) <= wanted:
            drawn += some.tolist()
        if len(drawn) == wanted:
            break
    return np.array(drawn, np.int64) if drawn else min(members, key=len)


def _too_few(name: str, found: str) -> OwnPicturesError:
    return OwnPicturesError(f"the label {name!r}: {found}; expected at least {FEWEST} different pictures of each label")
