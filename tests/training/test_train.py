"""The training loop on a small task that a small network can learn."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from training import checkpoint, train
from training.architectures import WHITENING, whiten
from training.checkpoint import CheckpointError, Progress
from training.config import FAST, TUTORIAL
from training.data import Pictures
from training.train import TrainingError

SMALL = replace(TUTORIAL, epochs=3, batch_size=16, learning_rate=0.05)
ROOT = Path(__file__).parent.parent.parent


def stripes(count: int, seed: int) -> Pictures:
    """Pictures that are bright in the row that their label says, on noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count).astype(np.uint8)
    images = rng.integers(0, 60, (count, 32, 32, 3)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[3 * label : 3 * label + 3] = 255
    return Pictures(images, labels)


TRAINING, VALIDATION = stripes(160, 1), stripes(40, 2)


def main() -> None:
    """`python test_train.py RUN EPOCHS`: what the kill test runs, on one thread."""
    train.train(replace(SMALL, epochs=int(sys.argv[2])), TRAINING, VALIDATION, Path(sys.argv[1]))


def start(run: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, str(run), "3"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_a_run_killed_and_resumed_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, killed = start(tmp_path / "whole"), start(tmp_path / "killed")
    assert killed.stdout
    assert killed.stdout.readline().startswith("epoch 1/3")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    resumed = start(tmp_path / "killed")
    assert whole.communicate()[0].count("\n") == 3
    said = resumed.communicate()[0]
    assert "epoch 1/3" not in said
    assert "epoch 3/3" in said
    one, other = (np.load(tmp_path / name / "checkpoint.npz") for name in ("whole", "killed"))
    assert one.files == other.files
    for name in set(one.files) - {"about"}:
        assert np.array_equal(one[name], other[name]), name


def test_the_network_learns_and_its_history_is_written(tmp_path: Path) -> None:
    config = replace(SMALL, epochs=8)
    model, progress = train.train(config, TRAINING, VALIDATION, tmp_path)
    assert progress.best_accuracy > 0.5
    assert train.measure(train.scores(model), VALIDATION)[1] == pytest.approx(progress.best_accuracy, abs=0.03)
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds"
    assert len(lines) == 9
    best = max(progress.history, key=lambda row: row["val_accuracy"])
    assert progress.best_epoch == best["epoch"]


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    config = replace(SMALL, epochs=1)
    first, _ = train.train(config, TRAINING, VALIDATION, tmp_path)
    written = (tmp_path / "checkpoint.npz").stat().st_mtime_ns
    again, _ = train.train(config, TRAINING, VALIDATION, tmp_path)
    assert (tmp_path / "checkpoint.npz").stat().st_mtime_ns == written
    for one, other in zip(first.variables, again.variables, strict=True):
        assert np.array_equal(one, other)


def test_a_checkpoint_of_another_recipe_is_refused_by_field(tmp_path: Path) -> None:
    config = replace(SMALL, epochs=1)
    train.train(config, TRAINING, VALIDATION, tmp_path)
    with pytest.raises(CheckpointError, match=r"another recipe \(momentum 0\.5 -> 0\.9\)"):
        train.train(replace(config, momentum=0.9), TRAINING, VALIDATION, tmp_path)


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.npz").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(CheckpointError, match=r"checkpoint\.npz: not a readable checkpoint"):
        train.train(SMALL, TRAINING, VALIDATION, tmp_path)


def test_a_checkpoint_that_cannot_be_written_keeps_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.train(replace(SMALL, epochs=1), TRAINING, VALIDATION, tmp_path)
    before = (tmp_path / "checkpoint.npz").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    model = train.build(SMALL)
    optimizer = keras.optimizers.SGD()
    with pytest.raises(CheckpointError, match="No space left on device"):
        checkpoint.save(tmp_path / "checkpoint.npz", SMALL, model, optimizer, Progress())
    assert (tmp_path / "checkpoint.npz").read_bytes() == before
    assert [path.name for path in tmp_path.glob("*.npz")] == ["checkpoint.npz"]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) in epoch 1"):
        train.train(replace(SMALL, learning_rate=1e38), TRAINING, VALIDATION, tmp_path)


def test_too_few_pictures_for_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="batch_size is 1000; expected at most the 160 training pictures"):
        train.train(replace(SMALL, batch_size=1000), TRAINING, VALIDATION, tmp_path)


def test_whitening_makes_its_outputs_uncorrelated_and_of_one_size() -> None:
    model = train.build(FAST)
    layer = model.get_layer(WHITENING)
    images = np.random.default_rng(0).integers(0, 256, (64, 4, 4, 3)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    noisy = (images * 0.8 + np.random.default_rng(1).integers(0, 50, images.shape)).astype(np.uint8)
    whiten(layer, noisy)
    assert all(variable is not layer.kernel for variable in model.trainable_variables)
    outputs = keras.Model(model.input, layer.output).predict(noisy, verbose=0)[..., :12].reshape(-1, 12)
    covariance = outputs.T @ outputs / len(outputs)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.02
    assert np.diag(covariance).max() == pytest.approx(1, abs=0.1)


def test_mixed_precision_ends_in_float32(tmp_path: Path) -> None:
    config = replace(FAST, epochs=1, knots=((0, 1), (1, 0)), batch_size=80)
    model, _ = train.train(config, TRAINING, VALIDATION, tmp_path)
    assert {variable.dtype for variable in model.weights} == {"float32"}
    assert model.get_layer("group1_conv1").compute_dtype == "float32"


if __name__ == "__main__":
    main()
