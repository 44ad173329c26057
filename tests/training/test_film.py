"""The film of a training, on a task that a small network can learn; and the film that the course shows."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.samples import TRAINING, VALIDATION
from training import film, run
from training.film import BASE, FILM, RUNS, Frame
from training.trial import changed, differences

SMALL = changed(
    BASE,
    {
        "epochs": 3,
        "batch_size": 16,
        "network.filters": (6, 6),
        "network.pool_size": (6, 6),
        "network.units": 16,
    },
)


def decoded(filmed: dict[str, Any]) -> list[list[NDArray[np.float64]]]:
    """The tensors of each frame, as the course reads them."""
    values = np.frombuffer(base64.b64decode(filmed["weights"]), np.int8).astype(np.float64)
    frames = []
    for epoch in filmed["epochs"]:
        tensors = []
        for shape, scale in zip(filmed["shapes"], epoch["scales"], strict=True):
            size = int(np.prod(shape))
            tensors.append(values[:size].reshape(shape) * scale)
            values = values[size:]
        frames.append(tensors)
    assert not values.size
    return frames


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film, "RUNS", {name: RUNS[name] for name in ("nothing", "dropout")})


@pytest.mark.usefixtures("few")
def test_a_film_has_every_epochs_weights_and_figures_and_is_the_same_when_asked_again(tmp_path: Path) -> None:
    shot = film.shoot(SMALL, TRAINING, VALIDATION, tmp_path)
    assert list(shot["runs"]) == ["nothing", "dropout"]
    assert shot["pictures"] == {"training": 160, "validation": 40}
    for name, filmed in shot["runs"].items():
        frames = film.Camera(tmp_path / name, TRAINING, VALIDATION, film.sample_pictures()).frames(SMALL.epochs)
        filters = filmed["filters"]
        for frame, tensors in zip(frames, decoded(filmed), strict=True):
            kept = frame.kernel1, frame.bias1, frame.kernel2[..., filters], frame.bias2[filters]
            for values, own in zip(tensors, kept, strict=True):
                np.testing.assert_allclose(values, own, atol=np.abs(own).max() / 250 + 1e-9)
        found = run.read(tmp_path / name / "checkpoint.npz")
        assert found is not None
        told = [(row["val_loss"], row["val_accuracy"]) for row in found[1].history]
        shown = [(epoch["val_loss"], epoch["val_accuracy"]) for epoch in filmed["epochs"][1:]]
        np.testing.assert_allclose(shown, told, atol=1e-4)
        assert all(980 <= sum(answer) <= 1020 for epoch in filmed["epochs"] for answer in epoch["answers"])
    dates = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    assert film.shoot(SMALL, TRAINING, VALIDATION, tmp_path) == shot
    assert {path: path.stat().st_mtime_ns for path in dates} == dates
    film.write(shot, tmp_path / "film" / "film.json")
    assert json.loads((tmp_path / "film" / "film.json").read_text()) == json.loads(json.dumps(shot))


def frame(val_loss: float, kernel2: NDArray[np.float32] | None = None) -> Frame:
    kernel1 = np.random.default_rng(0).normal(size=(3, 3, 3, 6)).astype(np.float32)
    kernel2 = np.zeros((3, 3, 6, 6), np.float32) if kernel2 is None else kernel2
    return Frame(
        1.0,
        0.5,
        val_loss,
        0.5,
        np.zeros((10, 10), np.float32),
        kernel1,
        kernel1[0, 0, 0],
        kernel2,
        np.ones(6, np.float32),
    )


def test_early_stopping_ends_two_epochs_after_the_best_and_keeps_that() -> None:
    losses = [2.3, 2.0, 1.5, 1.6, 1.7, 1.0]
    assert film.stopping(BASE, [frame(loss) for loss in losses]) == {"stopped": 4, "kept": 2}


def test_a_run_that_gets_better_to_its_end_is_not_stopped() -> None:
    losses = [2.3, 2.0, 1.5, 1.4]
    assert film.stopping(BASE, [frame(loss) for loss in losses]) == {"stopped": 3, "kept": 3}


def test_the_filters_that_are_kept_are_those_whose_maps_vary() -> None:
    kernel2 = np.zeros((3, 3, 6, 6), np.float32)
    kernel2[1, 1, 0, [0, 2, 3, 5]] = 1  # the other two answer the same to everything
    assert film.lively(frame(1.0, kernel2), film.paddings(SMALL), film.sample_pictures()) == [0, 2, 3, 5]


def test_a_tensor_of_zeros_stays_one() -> None:
    values, scale = film.in_eight_bits(np.zeros(3, np.float32))
    assert values.tolist() == [0, 0, 0]
    assert np.isfinite(scale)


def test_the_courses_film_is_of_these_runs_and_small() -> None:
    shown = json.loads(FILM.read_text())
    assert FILM.stat().st_size < 400_000
    assert shown["settings"] == differences(BASE, film.TUTORIAL)
    assert {name: filmed["settings"] for name, filmed in shown["runs"].items()} == {
        name: differences(changed(BASE, fields), BASE) for name, fields in RUNS.items()
    }
    for filmed in shown["runs"].values():
        assert len(filmed["epochs"]) == BASE.epochs + 1
        assert len(decoded(filmed)) == BASE.epochs + 1
