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


def exact(digests: list[str]) -> NDArray[np.int64]:
    """For each of N files the number of the first with the same digest, maybe its own, (N,)."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(digest, number) for number, digest in enumerate(digests)], np.int64)


def groups(exact: NDArray[np.int64], averages: NDArray[np.float32]) -> NDArray[np.int64]:
    """For each of N pictures the number of the first that shows the same, maybe its own, (N,).

    Each is compared with the first of a group, not with its last, so that a series that changes slowly is not one
    group. `averages` are those of `averages`, and `exact` says which files are equal.
    """
    first = exact.copy()
    different = np.unique(exact)
    firsts = np.zeros(0, np.int64)
    for start in range(0, len(different), BLOCK):
        block = different[start : start + BLOCK]
        found = _nearest_first(averages, block, firsts)
        near = _near(averages[block], averages[block])
        leads = np.zeros(len(block), np.bool_)
        for row, number in enumerate(block):
            earlier = np.flatnonzero(near[row, :row] & leads[:row])
            if found[row] >= 0:
                first[number] = found[row]
            elif len(earlier):
                first[number] = block[earlier[0]]
            else:
                leads[row] = True
        firsts = np.concatenate([firsts, block[leads]])
    return first[first]


def _nearest_first(
    averages: NDArray[np.float32], block: NDArray[np.int64], firsts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each picture of `block` the lowest of the numbers `firsts` that is near it, or -1."""
    found = np.full(len(block), -1)
    for start in range(0, len(firsts), BLOCK):
        some = firsts[start : start + BLOCK]
        near = _near(averages[block], averages[some])
        new = (found < 0) & near.any(axis=1)
        found[new] = some[near[new].argmax(axis=1)]
    return found


def _near(ones: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which averages (N, C) and (M, C) differ by no more than is allowed, (N, M)."""
    contrast = ones.reshape(len(ones), -1, 3).std(axis=1).mean(axis=1)
    limit = np.minimum(MOST_DIFFERENCE, MOST_SHARE * contrast) ** 2 * ones.shape[1]
    ones, others = ones - 127.5, others - 127.5
    distances = (ones**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * ones @ others.T
    return np.asarray(distances <= limit[:, None])
