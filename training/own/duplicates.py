"""Pictures that show the same: copies of a file, and the same photograph saved again, resized or a little brighter."""

import numpy as np
from numpy.typing import NDArray

from training.own.store import Store

GRID = 8
"""Pictures are compared as GRID x GRID averages of each colour."""

MOST_DIFFERENCE = 4.0
"""The root mean square difference of two near duplicates' averages, of 255."""

MOST_SHARE = 0.12
"""The same as a share of the contrast: pictures with little in them lie close together without being the same."""

BLOCK = 2048


def averages(store: Store, count: int) -> NDArray[np.float32]:
    """GRID x GRID averages of each of the first `count` pictures, (count, GRID * GRID * 3), 0 to 255."""
    cell = store.side // GRID
    found = [
        images[:, : GRID * cell, : GRID * cell].reshape(len(images), GRID, cell, GRID, cell, 3).mean(axis=(2, 4))
        for images in store.batches(np.arange(count))
    ]
    return np.concatenate(found).reshape(count, -1).astype(np.float32)


def groups(digests: list[str], averages: NDArray[np.float32]) -> NDArray[np.int64]:
    """For each of N pictures the number of the first that shows the same, maybe its own, (N,).

    Each is compared with the first of a group, not with its last, so that a series that changes slowly is not one
    group. `averages` are those of `averages`, and equal `digests` mean equal files.
    """
    count = len(digests)
    first = np.arange(count)
    seen: dict[str, int] = {}
    for number, digest in enumerate(digests):
        first[number] = seen.setdefault(digest, number)
    for one, other in _near_pairs(averages):  # ordered by `other`, then `one`
        if first[one] == one and first[other] == other:
            first[other] = one
    return first[first]


def _near_pairs(averages: NDArray[np.float32]) -> list[tuple[int, int]]:
    """The pairs (one < other) whose averages differ by no more than is allowed, sorted by `other`."""
    centred = averages - 127.5
    squares = (centred**2).sum(axis=1)
    contrast = averages.reshape(len(averages), -1, 3).std(axis=1).mean(axis=1)
    limit = np.minimum(MOST_DIFFERENCE, MOST_SHARE * contrast) ** 2 * averages.shape[1]
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(centred), BLOCK):
        block = slice(start, start + BLOCK)
        for before in range(0, start + 1, BLOCK):
            earlier = slice(before, before + BLOCK)
            distances = squares[block, None] + squares[None, earlier] - 2 * centred[block] @ centred[earlier].T
            others, ones = np.nonzero(distances <= limit[block, None])
            near = ones + before < others + start
            pairs += zip((ones + before)[near].tolist(), (others + start)[near].tolist(), strict=True)
    return sorted(pairs, key=lambda pair: (pair[1], pair[0]))
