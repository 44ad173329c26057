"""Hands that show ten numbers, drawn: a stand-in for photographs that differ in shape, not in colour.

Every person shows each number once, before a wall, with a hand, a sleeve and a light of their own.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

SIDE, LARGER = 100, 4
"""Pixels of a picture, and how much larger it is drawn."""

PEOPLE = 205

SHOWN = ("", "1", "12", "012", "1234", "01234", "123", "124", "134", "234")
"""The fingers that are stretched out for 0 to 9; 0 is the thumb, 4 the little finger."""

BASES = np.array([[-0.42, 0.15], [-0.3, -0.42], [-0.1, -0.5], [0.1, -0.47], [0.29, -0.36]])
TURNS = np.radians([-48, -11, -2, 6, 15])
LENGTHS = np.array([0.55, 0.8, 0.9, 0.83, 0.65])
"""Of a palm that is one wide and one high, around its middle."""

Values = NDArray[np.float64]


def write(place: Path) -> None:
    """One picture of each number by each of PEOPLE, in a new folder `place` with a folder for each number."""
    for number in range(len(SHOWN)):
        (place / str(number)).mkdir(parents=True)
    for person in range(PEOPLE):
        wall, skin = _colours(np.random.default_rng(person))
        for number, shown in enumerate(SHOWN):
            rng = np.random.default_rng((person, number))
            Image.fromarray(_picture(shown, wall, skin, person, rng)).save(
                place / str(number) / f"{person}.jpg", quality=90
            )


def _colours(rng: np.random.Generator) -> tuple[Values, Values]:
    wall = rng.uniform(120, 235) * (1 + rng.normal(0, 0.06, 3))
    skin = np.array([225, 172, 140]) * rng.uniform(0.45, 1.05) * (1 + rng.normal(0, 0.04, 3))
    return wall, skin


def _picture(shown: str, wall: Values, skin: Values, person: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(SIDE, SIDE, 3) RGB."""
    pixels = SIDE * LARGER
    canvas = np.ones((pixels, pixels, 3)) * wall
    canvas *= _light(rng, 0.25)
    _Hand(canvas, skin, person, rng).draw(shown)
    canvas *= _light(rng, 0.18)
    blurred = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(1, 5))
    small = cv2.resize(blurred, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(small + rng.normal(0, rng.uniform(1, 5), small.shape), 0, 255).astype(np.uint8))


def _light(rng: np.random.Generator, strength: float) -> Values:
    """Brighter on one side than on the other."""
    across, down = rng.normal(0, strength, 2)
    y, x = np.mgrid[: SIDE * LARGER, : SIDE * LARGER] / (SIDE * LARGER) - 0.5
    return np.asarray(1 + across * x + down * y)[..., None]


class _Hand:
    """One person's hand, held up once; points are in palms, around the palm's middle."""

    def __init__(self, canvas: Values, skin: Values, person: int, rng: np.random.Generator) -> None:
        own = np.random.default_rng((person, 99))  # the same for all numbers
        self.canvas, self.skin, self.rng = canvas, skin, rng
        self.mirrored = np.array([-1 if own.random() < 0.1 else 1, 1])
        self.width = own.uniform(0.15, 0.21)
        self.lengths = LENGTHS * own.uniform(0.88, 1.12) * (1 + own.normal(0, 0.04, 5))
        self.size = len(canvas) * rng.uniform(0.3, 0.4)
        turn = rng.normal(0, 0.16)
        self.turned = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * self.size
        self.middle = len(canvas) * (np.array([0.5, 0.6]) + rng.normal(0, 0.035, 2))
        self.spread = rng.uniform(0.6, 1.5)

    def draw(self, shown: str) -> None:
        """Arm, palm, and the fingers from the last to the thumb, those of `shown` stretched out."""
        self._line([(0, 0.5), (0, 1.6)], 0.62, 0.97)
        self._line([(-0.16, -0.2), (0.14, -0.18), (0.16, 0.2), (-0.14, 0.22), (-0.16, -0.2)], 0.42)
        for finger in (4, 3, 2, 1, 0):
            if str(finger) in shown:
                self._stretched(finger)
            else:
                self._bent(finger, shown)

    def _stretched(self, finger: int) -> None:
        angle = TURNS[finger] * self.spread + self.rng.normal(0, 0.05)
        angles = angle + np.array([0, self.rng.normal(0, 0.12)])
        steps = np.stack([np.sin(angles), -np.cos(angles)], axis=1) * self.lengths[finger] / 2
        self._line(BASES[finger] + np.cumsum([(0, 0), *steps], axis=0), self.width, self.rng.uniform(0.95, 1.04))

    def _bent(self, finger: int, shown: str) -> None:
        """A bent finger ends before the palm, a bent thumb on the first of them."""
        base = BASES[finger]
        if finger:
            self._line(np.add(base, [(0, 0.02), (0, self.rng.uniform(0.22, 0.34))]), self.width, 0.93)
        else:
            first = next((other for other in (1, 2, 3, 4) if str(other) not in shown), 2)
            self._line([base, self.rng.normal((BASES[first][0], 0.02), 0.05)], self.width, 0.98)

    def _line(self, points: ArrayLike, width: float, shade: float = 1.0) -> None:
        """With a darker edge."""
        places = np.rint(np.asarray(points) * self.mirrored @ self.turned + self.middle).astype(np.int32)
        for darker, more in ((0.62, 0.03), (1, 0)):
            colour = (self.skin * shade * darker).tolist()
            cv2.polylines(self.canvas, [places], False, colour, int((width + more) * self.size), cv2.LINE_AA)
