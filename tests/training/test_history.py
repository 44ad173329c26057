"""What a run leaves to be watched: its lines and history.csv."""

import resource
from pathlib import Path

import pytest

from tests.training.samples import TUTORIAL
from training import run
from training.run import CheckpointError, Progress

ROW = {
    "epoch": 1,
    "loss": 2.0,
    "accuracy": 0.25,
    "val_loss": 1.5,
    "val_accuracy": 0.5,
    "learning_rate": 0.01,
    "seconds": 60.0,
    "pictures_per_second": 750.0,
}


def test_the_line_tells_figures_speed_and_what_is_left() -> None:
    progress = Progress(epoch=1, seconds=60, best_accuracy=0.5, history=[ROW])
    said = run.progress_line(TUTORIAL, progress)
    assert said.startswith("epoch 1/25  loss 2.0000  accuracy 0.2500  val_accuracy 0.5000  best 0.5000  750 pictures/s")
    assert said.endswith("60.0 s an epoch, 24 min left")


def test_a_history_begun_by_an_older_version_goes_on(tmp_path: Path) -> None:
    older = {key: value for key, value in ROW.items() if key != "pictures_per_second"}
    run.write_history([older, {**ROW, "epoch": 2}], tmp_path / "history.csv")
    header, first, second = (tmp_path / "history.csv").read_text().splitlines()
    assert header.endswith(",seconds,pictures_per_second")
    assert first.endswith(",60.0,")
    assert second.endswith(",60.0,750.0")


def test_a_full_disk_keeps_the_history_before_it(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    run.write_history([ROW], path)
    before, limits = path.read_text(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"history\.csv: cannot be written \(File too large\)"):
            run.write_history([ROW] * 1000, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["history.csv"]
