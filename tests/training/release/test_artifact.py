"""How an artifact's folder is written: whole, or not at all."""

import os
from pathlib import Path

import pytest

from tests.training.samples import TINY, TRAINING, VALIDATION
from training import train
from training.release import artifact, writer
from training.release.artifact import ArtifactExists
from training.release.provenance import Origin
from training.run import Progress


def replaced(folder: Path) -> None:
    with artifact.replacing(folder) as temporary:
        (temporary / "new").touch()


def test_a_folder_is_replaced_whole_where_a_link_points_to(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.mkdir()
    (target / "old").touch()
    link.symlink_to(target)
    replaced(link)
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["link", "new", "target"]


@pytest.mark.parametrize("calls", [1, 2])
def test_a_folder_that_cannot_be_replaced_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    folder, replace_, done = tmp_path / "folder", os.replace, []
    folder.mkdir()
    (folder / "old").touch()

    def busy(source: Path, destination: Path) -> None:
        done.append(source)
        if len(done) == calls:
            raise OSError(16, "Device or resource busy")
        replace_(source, destination)

    monkeypatch.setattr(os, "replace", busy)
    with pytest.raises(OSError, match="busy"):
        replaced(folder)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "old"]


def test_what_was_killed_while_it_replaced_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / ".folder.old").mkdir()
    (tmp_path / ".folder.old" / "old").touch()
    (tmp_path / ".folder.tmp").mkdir()
    with pytest.raises(KeyboardInterrupt), artifact.replacing(tmp_path / "folder"):
        raise KeyboardInterrupt
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "old"]
    replaced(tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "new"]


def test_a_failure_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact, "seal", fail)
    model = train.build(TINY)
    row = {"epoch": 1.0, "loss": 1.0, "accuracy": 0.1, "val_loss": 1.0, "val_accuracy": 0.1, "learning_rate": 0.1}
    row["updates"] = 1
    with pytest.raises(OSError, match=r"No space left on device: .*models/small"):
        writer.write(
            tmp_path / "models" / "small",
            Origin(TINY, "0" * 64, "float32", []),
            model,
            Progress(history=[row]),
            training=TRAINING,
            validation=VALIDATION,
            test=VALIDATION,
        )
    assert not list((tmp_path / "models").iterdir())
    (tmp_path / "models" / "small").mkdir()
    with pytest.raises(ArtifactExists):
        artifact.refuse_to_overwrite(tmp_path / "models" / "small", overwrite=False)
