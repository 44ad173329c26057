import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import explanations
from benchmarks.explanations import SHARES, Curves, Served


class Left:
    """A network for which a label is as probable as the left half of the picture is bright."""

    def scores(self, pictures: NDArray[np.uint8]) -> list[Any]:
        return [SimpleNamespace(probabilities=[share]) for share in (pictures[:, :, :16, 0] / 200).mean(axis=(1, 2))]


def test_the_hottest_pixels_are_hidden_or_alone_shown() -> None:
    question: Any = SimpleNamespace(picture=np.full((32, 32, 3), 200, np.uint8), neutral=np.zeros(3, np.uint8), index=0)
    heat = np.tile(np.linspace(1, 0, 32), (32, 1))  # the left half is the hotter one
    hidden, shown = explanations.play(Left(), question, heat)  # type: ignore[arg-type]
    assert hidden == pytest.approx([max(0.0, 1 - 2 * share) for share in SHARES], abs=0.01)
    assert shown == pytest.approx([min(1.0, 2 * share) for share in SHARES], abs=0.01)


def test_the_candidates_are_asked_as_the_service_asks(
    cifar10: tuple[NDArray[np.uint8], NDArray[np.uint8]], tmp_path: Any
) -> None:
    found = explanations.measure(Served("tutorial"), cifar10[0][:2])
    assert {"middle", "edges", "lime", "occlusion", "cam"} < found.keys()
    for curves in found.values():
        assert curves.hidden.shape == curves.shown.shape == (2, len(SHARES))
        np.testing.assert_allclose(curves.hidden[:, 0], curves.shown[:, -1])
    lines = explanations.table(found).splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == list(found)
    explanations.plot(found, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_a_moved_map_is_the_same_map_elsewhere() -> None:
    question: Any = SimpleNamespace(side=4)
    middle = asyncio.run(explanations.middle(question))
    moved = asyncio.run(explanations.moved(explanations.middle)(question))
    np.testing.assert_array_equal(moved, np.roll(middle, (2, 2), (0, 1)))


def test_a_row_tells_the_gain_on_the_middle() -> None:
    middle, better = (
        Curves(np.full((3, len(SHARES)), a), np.full((3, len(SHARES)), b)) for a, b in ((0.6, 0.5), (0.3, 0.9))
    )
    assert "+0.300 ± 0.000   +0.400 ± 0.000" in better.line("it", middle)


def test_an_empty_subset_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        explanations.main(["--subset", "0"])
    assert "--subset is 0; expected 1 or more" in capsys.readouterr().err
