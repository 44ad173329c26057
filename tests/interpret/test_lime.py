"""The linear model behind `lime`, on a network whose answers are known."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.interpret import lime
from app.interpret.explain import explain


@dataclass(frozen=True)
class Asked:
    """A question to a network for which a label is as probable as the share of a square that is shown."""

    side: int = 32
    multiply_adds: int = 0
    max_views: int = 256
    index: int = 1

    @property
    def question(self) -> Any:
        metadata = SimpleNamespace(multiply_adds=self.multiply_adds, input=SimpleNamespace(size=self.side))
        picture = np.full((self.side, self.side, 1), 200, np.uint8)
        asked = SimpleNamespace(**vars(self), metadata=metadata, picture=picture, neutral=np.array([100], np.uint8))
        asked.scores, asked.without = self.scores, self.without
        return asked

    async def scores(self, pictures: NDArray[np.uint8]) -> Sequence[Any]:
        assert len(pictures) <= self.max_views
        quarter = self.side // 4
        square = pictures[:, quarter : 2 * quarter, 2 * quarter : 3 * quarter]
        shares = (square == 200).mean(axis=(1, 2, 3)).tolist()
        return [SimpleNamespace(probabilities=[1 - share, share]) for share in shares]

    async def without(self, corners: Sequence[tuple[int, int]], size: int) -> list[Any]:
        return [(corner, size) for corner in corners]


@pytest.mark.parametrize("asked", [Asked(), Asked(side=16), Asked(side=96), Asked(max_views=7)])
def test_the_part_that_decides_is_the_hottest(asked: Asked) -> None:
    found = asyncio.run(explain("lime", asked.question))
    assert found.heat.shape == (asked.side, asked.side)
    corner, size = found.hottest  # type: ignore[misc]
    assert size == asked.side // 4
    assert np.abs(np.subtract(corner, (asked.side // 4, asked.side // 2))).max() <= asked.side // 16


def test_what_speaks_for_one_label_speaks_against_the_other() -> None:
    heats = [asyncio.run(lime.explain(replace(Asked(), index=index).question)).heat for index in (0, 1)]
    np.testing.assert_allclose(heats[0], -heats[1], atol=1e-12)


def test_each_mask_shows_what_its_opposite_hides() -> None:
    shown = lime.masks(10)
    assert np.array_equal(shown[::2], ~shown[1::2])
    assert shown.mean(axis=(1, 2)) == pytest.approx([0.5] * 10)
    assert np.array_equal(lime.masks(7), shown[:7])


@pytest.mark.parametrize(("multiply_adds", "masks"), [(0, 128), (451_967_264, 128), (4_000_000_000, 32)])
def test_a_network_that_computes_much_is_asked_about_fewer_masks(multiply_adds: int, masks: int) -> None:
    asked = Asked(multiply_adds=multiply_adds).question
    assert asyncio.run(lime.explain(asked)).how.startswith(f"LIME: {masks} random masks")
