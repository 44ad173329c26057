"""The training loop on a small task that a small network can learn."""

import io
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.samples import FAST, MODERN, RANDOM, SMALL, TINY, TRAINING, VALIDATION, vary
from training import run, train
from training.data import Pictures
from training.models import WHITENING, soften, whiten
from training.recipe import RecipeError
from training.run import CheckpointError, Progress
from training.train import TrainingError

KILLED = {"random": RANDOM, "modern": MODERN}
ROOT = Path(__file__).parent.parent.parent


def main() -> None:
    """`python test_train.py RUN KIND`: what the kill test runs, on one thread."""
    train.train(KILLED[sys.argv[2]], TRAINING, VALIDATION, Path(sys.argv[1]))


def start(run: Path, kind: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, str(run), kind]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KILLED)
def test_a_run_killed_and_resumed_ends_with_the_same_weights(tmp_path: Path, kind: str) -> None:
    whole, killed = start(tmp_path / "whole", kind), start(tmp_path / "killed", kind)
    assert killed.stdout
    assert killed.stdout.readline().startswith("epoch 1/3")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    resumed = start(tmp_path / "killed", kind)
    assert whole.communicate()[0].count("\n") == 3
    said = resumed.communicate()[0]
    assert "epoch 1/3" not in said
    assert "epoch 3/3" in said
    one, other = (np.load(tmp_path / name / "checkpoint.npz") for name in ("whole", "killed"))
    assert one.files == other.files
    for name in set(one.files) - {"about"}:
        assert np.array_equal(one[name], other[name]), name


def test_a_run_interrupted_and_resumed_ends_with_the_same_weights(tmp_path: Path) -> None:
    """In this process, where TensorFlow is loaded already; but its threads may round otherwise."""

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    train.train(RANDOM, TRAINING, VALIDATION, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "progress_line", interrupted)  # after the first epoch's checkpoint
        with pytest.raises(KeyboardInterrupt):
            train.train(RANDOM, TRAINING, VALIDATION, tmp_path / "resumed")
    _, progress = train.train(RANDOM, TRAINING, VALIDATION, tmp_path / "resumed")
    assert [row["epoch"] for row in progress.history] == [1, 2, 3]
    one, other = (np.load(tmp_path / name / "checkpoint.npz") for name in ("whole", "resumed"))
    assert one.files == other.files
    for name in set(one.files) - {"about"}:
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-4, err_msg=name)


def test_the_network_learns_and_its_history_is_written(tmp_path: Path) -> None:
    config = vary(SMALL, epochs=8)
    model, progress = train.train(config, TRAINING, VALIDATION, tmp_path)
    assert progress.best_accuracy > 0.5
    assert train.measure(train.scores(model), VALIDATION)[1] == pytest.approx(progress.best_accuracy, abs=0.03)
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds,pictures_per_second,updates"
    assert len(lines) == 9
    best = max(progress.history, key=lambda row: row["val_accuracy"])
    assert progress.best_epoch == best["epoch"]


def test_a_student_learns_its_teachers_answers(tmp_path: Path) -> None:
    others = Pictures(TRAINING.images, (TRAINING.labels + 1) % 10)
    config = vary(SMALL, epochs=8)
    network, _ = train.train(config, others, others, tmp_path / "teacher")

    def teacher(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(network.predict_on_batch(images))

    shares = []
    for distillation in (0.2, 1):
        config = vary(config, distillation=distillation, restore_best=False)
        run = tmp_path / str(distillation)
        student, _ = train.train(config, TRAINING, VALIDATION, run, teacher=teacher)
        answers = student.predict(VALIDATION.images, verbose=0).argmax(axis=1)
        shares.append([np.mean(answers == (VALIDATION.labels + shift) % 10) for shift in (0, 1)])
    assert shares[0][0] > 0.5 > shares[0][1]
    assert shares[1][1] > 0.5 > shares[1][0]


def test_a_network_is_shown_disturbed_pictures_and_its_teacher_the_same_before(tmp_path: Path) -> None:
    seen: list[NDArray[np.uint8]] = []

    def teacher(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.extend(images.copy())
        return np.full((len(images), 10), 0.1, np.float32)

    losses = []
    for strength in (0, 1):
        recipe = vary(TINY, epochs=1, distillation=0.5, disturbed=1, noisy=1, strength=strength)
        _, progress = train.train(recipe, TRAINING, VALIDATION, tmp_path / str(strength), teacher=teacher)
        losses.append(progress.history[0]["loss"])
    assert {image.tobytes() for image in seen} <= {image.tobytes() for image in TRAINING.images}
    assert losses[0] != losses[1]


def test_pruned_epochs_make_fewer_updates_and_teach_as_well(tmp_path: Path) -> None:
    updates = []
    for share in (0.0, 0.7):
        _, progress = train.train(vary(SMALL, epochs=8, pruning=share), TRAINING, VALIDATION, tmp_path / f"{share}")
        updates.append(int(np.load(tmp_path / f"{share}" / "checkpoint.npz")["optimizer/0"]))
        assert progress.best_accuracy > 0.5
        assert np.all(progress.losses >= 0)  # none is left unknown
        assert progress.history[-1]["updates"] == updates[-1]
    assert updates[0] == 80
    assert 30 < updates[1] < 70


def test_a_picture_that_weighs_two_counts_as_two() -> None:
    config = vary(SMALL, dropout=(0, 0))
    images, labels = TRAINING.images[:16], np.eye(10, dtype=np.float32)[TRAINING.labels[:16]]
    kernels = []
    for chosen, weights in ((slice(0, 16), [2, 0] * 8), (slice(0, 16, 2), [1] * 8)):
        model = train.build(config)
        update = train.compiled_update(train.scores(model), train.build_optimizer(config, model))
        losses, excess, right = update(images[chosen], labels[chosen], labels[chosen], np.array(weights, np.float32))
        assert losses.shape == excess.shape == right.shape == (len(weights),)
        kernels.append(model.get_layer("conv1").kernel.numpy())
    np.testing.assert_allclose(kernels[0], kernels[1], rtol=0, atol=1e-6)
    assert np.abs(kernels[0] - train.build(config).get_layer("conv1").kernel.numpy()).max() > 1e-5


def test_the_excess_of_a_loss_is_none_where_the_network_says_what_is_to_be_learnt() -> None:
    config = vary(SMALL, dropout=(0, 0))
    images, model = TRAINING.images[:16], train.build(config)
    said = keras.ops.softmax(train.scores(model)(images)).numpy()
    update = train.compiled_update(train.scores(model), train.build_optimizer(config, model))
    losses, excess, _ = update(images, said, said, np.ones(16, np.float32))
    assert excess.numpy() == pytest.approx(0, abs=1e-5)
    assert losses.numpy().min() > 1


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    config = vary(SMALL, epochs=1)
    first, _ = train.train(config, TRAINING, VALIDATION, tmp_path)
    written = (tmp_path / "checkpoint.npz").stat().st_mtime_ns
    again, _ = train.train(config, TRAINING, VALIDATION, tmp_path)
    assert (tmp_path / "checkpoint.npz").stat().st_mtime_ns == written
    for one, other in zip(first.variables, again.variables, strict=True):
        assert np.array_equal(one, other)


def test_a_checkpoint_of_another_recipe_is_refused_by_field(tmp_path: Path) -> None:
    config = vary(SMALL, epochs=1)
    train.train(config, TRAINING, VALIDATION, tmp_path)
    with pytest.raises(CheckpointError, match=r"another recipe \(optimizer\.momentum=0\.9\)"):
        train.train(vary(config, momentum=0.9), TRAINING, VALIDATION, tmp_path)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text", "array", "list"])
def test_a_damaged_checkpoint_is_refused_by_name_and_left_alone(tmp_path: Path, damage: str) -> None:
    path, config = tmp_path / "checkpoint.npz", vary(TINY, epochs=1)
    model = train.build(config)
    run.save(path, config, {}, model, keras.optimizers.SGD(), Progress())
    whole = path.read_bytes()
    middle = len(whole) // 2
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    listed = io.BytesIO()
    np.savez(listed, about=np.array("[]"))
    damaged = {
        "empty": b"",
        "cut": whole[:middle],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        "text": b"PK\x03\x04 not really",
        "array": array.getvalue(),
        "list": listed.getvalue(),
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=r"checkpoint\.npz: not a readable checkpoint"):
        train.train(config, TRAINING, VALIDATION, tmp_path)
    assert path.read_bytes() == damaged


def test_a_checkpoint_that_cannot_be_written_keeps_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.train(vary(SMALL, epochs=1), TRAINING, VALIDATION, tmp_path)
    before = (tmp_path / "checkpoint.npz").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    model = train.build(SMALL)
    optimizer = keras.optimizers.SGD()
    with pytest.raises(CheckpointError, match="No space left on device"):
        run.save(tmp_path / "checkpoint.npz", SMALL, {}, model, optimizer, Progress())
    assert (tmp_path / "checkpoint.npz").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.npz", "history.csv"]


def test_a_full_disk_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, save = vary(TINY, epochs=2), run.save
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def save_on_a_disk_that_fills_up(*arguments: Any) -> None:
        save(*arguments)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))

    monkeypatch.setattr(run, "save", save_on_a_disk_that_fills_up)
    try:
        with pytest.raises(CheckpointError, match=r"checkpoint\.npz: cannot be written \(File too large\)"):
            train.train(config, TRAINING, VALIDATION, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.npz", "history.csv"]
    monkeypatch.undo()
    assert train.train(config, TRAINING, VALIDATION, tmp_path)[1].epoch == 2


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    knots = ((0, 0), (1, 0), (1, 1), (3, 1))  # nothing is learned in the first epoch, everything lost in the second
    config = vary(TINY, learning_rate=1e38, knots=knots)
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"the loss became (nan|inf) in epoch 2, step \d+; lower learning_rate"):
            train.train(config, TRAINING, VALIDATION, tmp_path)
        kept = run.read(tmp_path / "checkpoint.npz")
        assert kept
        assert kept[0] == config
        assert kept[1].epoch == 1


def test_a_validation_loss_that_is_not_finite_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "measure", lambda network, pictures: (float("nan"), 0.1))
    with pytest.raises(TrainingError, match="the loss became nan after epoch 1, on the validation pictures"):
        train.train(TINY, TRAINING, VALIDATION, tmp_path)
    assert not (tmp_path / "checkpoint.npz").exists()


def test_a_run_stops_early_and_does_so_again_when_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = vary(TINY, epochs=9, patience=2, min_delta=1.0)

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "progress_line", interrupted)  # after the first epoch's checkpoint
    with pytest.raises(KeyboardInterrupt):
        train.train(config, TRAINING, VALIDATION, tmp_path)
    monkeypatch.undo()
    (tmp_path / "history.csv").unlink()  # as if killed a moment sooner
    for _ in range(2):
        _, progress = train.train(config, TRAINING, VALIDATION, tmp_path)
        assert progress.epoch == len(progress.history) == 3
        assert len((tmp_path / "history.csv").read_text().splitlines()) == 4


def test_without_restoring_the_best_the_last_epochs_weights_are_used(tmp_path: Path) -> None:
    config = vary(TINY, restore_best=False)
    model, progress = train.train(config, TRAINING, VALIDATION, tmp_path)
    assert progress.best_epoch == 3
    assert progress.best_accuracy == pytest.approx(progress.history[-1]["val_accuracy"])
    saved = np.load(tmp_path / "checkpoint.npz")
    for i, variable in enumerate(model.variables):
        assert np.array_equal(variable, saved[f"model/{i}"])


def test_max_norm_holds_throughout_training(tmp_path: Path) -> None:
    model, _ = train.train(vary(TINY, epochs=1, max_norm=0.3), TRAINING, VALIDATION, tmp_path)
    norms = np.sqrt((model.get_layer("dense").kernel.numpy() ** 2).sum(axis=0))
    assert norms.max() == pytest.approx(0.3, rel=1e-3)


def test_a_network_over_the_budget_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="max_parameters is 200,000; the network has 208,986"):
        train.train(vary(SMALL, max_parameters=200_000), TRAINING, VALIDATION, tmp_path)
    assert not list(tmp_path.iterdir())
    train.build(vary(SMALL, max_parameters=208_986))


def test_a_checkpoint_names_the_techniques_that_it_was_trained_without(tmp_path: Path) -> None:
    config = vary(TINY, epochs=1)
    train.train(config, TRAINING, VALIDATION, tmp_path)
    with pytest.raises(CheckpointError, match=r"another recipe \(network\.dropconnect=0\.5\)"):
        train.train(vary(config, dropconnect=0.5), TRAINING, VALIDATION, tmp_path)


def test_a_checkpoint_with_a_field_that_is_unknown_here_is_refused(tmp_path: Path) -> None:
    train.train(vary(TINY, epochs=1), TRAINING, VALIDATION, tmp_path)
    rewrite(tmp_path / "checkpoint.npz", lambda about: about["recipe"].update(mixup=0.5))
    with pytest.raises(CheckpointError, match=r"not a readable checkpoint \(.*mixup"):
        train.train(vary(TINY, epochs=1), TRAINING, VALIDATION, tmp_path)


def test_a_folder_has_one_training_at_a_time(tmp_path: Path) -> None:
    config = vary(TINY, epochs=1)
    with run.locked(tmp_path), pytest.raises(CheckpointError, match=f"{tmp_path}: another training is at work"):
        train.train(config, TRAINING, VALIDATION, tmp_path)
    assert not list(tmp_path.iterdir())
    assert train.train(config, TRAINING, VALIDATION, tmp_path)[1].epoch == 1


def test_a_folder_that_cannot_be_one_is_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"file/run: cannot be written \(Not a directory\)"):
        train.train(TINY, TRAINING, VALIDATION, tmp_path / "file" / "run")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(CheckpointError, match=f"{tmp_path}: cannot be written"):
        train.train(TINY, TRAINING, VALIDATION, tmp_path)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    train.train(vary(TINY, epochs=1), TRAINING, VALIDATION, tmp_path)
    other = vary(TINY, epochs=1, filters=(4, 5))
    rewrite(tmp_path / "checkpoint.npz", lambda about: about.update(recipe=other.as_dict()))
    with pytest.raises(CheckpointError, match=r"checkpoint\.npz: does not fit the model of this version"):
        train.train(other, TRAINING, VALIDATION, tmp_path)


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(str(arrays["about"]))
    change(about)
    np.savez(path, **arrays | {"about": np.array(json.dumps(about))})


def test_a_terminal_shows_a_bar_with_accuracy_and_throughput(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = vary(TINY, epochs=1)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    _, progress = train.train(config, TRAINING, VALIDATION, tmp_path)
    said = capsys.readouterr().out
    assert "10/10" in said
    assert "accuracy: " in said
    assert "pictures/s: " in said
    assert "epoch 1/1" in said
    assert progress.history[0]["pictures_per_second"] > 0


def test_too_few_pictures_for_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="batch_size is 1000; expected at most the 160 training pictures"):
        train.train(vary(SMALL, batch_size=1000), TRAINING, VALIDATION, tmp_path)


def test_whitening_makes_its_outputs_uncorrelated_and_of_one_size() -> None:
    model = train.build(FAST)
    layer = model.get_layer(WHITENING)
    images = np.random.default_rng(0).integers(0, 256, (64, 4, 4, 3)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    noisy = (images * 0.8 + np.random.default_rng(1).integers(0, 50, images.shape)).astype(np.uint8)
    whiten(layer, noisy, epsilon=5e-4)
    assert all(variable is not layer.kernel for variable in model.trainable_variables)
    outputs = keras.Model(model.input, layer.output).predict(noisy, verbose=0)[..., :12].reshape(-1, 12)
    covariance = outputs.T @ outputs / len(outputs)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.02
    assert np.diag(covariance).max() == pytest.approx(1, abs=0.1)


def test_softened_whitening_bounds_its_filters_and_changes_the_answers_little() -> None:
    recipe = vary(FAST, width=0.1)
    model = train.build(recipe)
    whiten(model.get_layer(WHITENING), TRAINING.images, epsilon=5e-4)
    before = model.get_layer(WHITENING).kernel.numpy()
    scorer = keras.Model(model.input, model.get_layer("group1_conv1").output)
    plain = scorer.predict(TRAINING.images, verbose=0)
    soften(model, 0.05)
    after = model.get_layer(WHITENING).kernel.numpy()
    norms, softened = (np.linalg.norm(kernel.reshape(12, 24), axis=0) for kernel in (before, after))
    assert softened == pytest.approx((norms**-2 + 0.05) ** -0.5, rel=1e-5)
    assert softened.max() < 0.05**-0.5
    correlation = np.corrcoef(plain.ravel(), scorer.predict(TRAINING.images, verbose=0).ravel())[0, 1]
    assert correlation > 0.9


def test_a_recipe_softens_the_network_it_starts_with(tmp_path: Path) -> None:
    recipe = vary(MODERN, epochs=1, knots=((0, 0), (1, 0)), sharpness=0, pruning=0, average=0)
    norms = []
    for variance in (0, 0.5):
        model, _ = train.train(vary(recipe, soften=variance), TRAINING, VALIDATION, tmp_path / str(variance))
        norms.append(np.linalg.norm(model.get_layer(WHITENING).kernel.numpy().reshape(12, 24), axis=0))
    assert norms[1] == pytest.approx((norms[0] ** -2 + 0.5) ** -0.5, rel=1e-4)


def test_mixed_precision_ends_in_float32(tmp_path: Path) -> None:
    config = vary(MODERN, epochs=1, knots=((0, 1), (1, 0)), batch_size=80)
    model, _ = train.train(config, TRAINING, VALIDATION, tmp_path)
    assert {variable.dtype for variable in model.weights} == {"float32"}
    assert model.get_layer("group1_conv1").compute_dtype == "float32"


def test_every_random_layer_works_in_mixed_precision(tmp_path: Path) -> None:
    _, progress = train.train(vary(RANDOM, epochs=6, precision="mixed_bfloat16"), TRAINING, VALIDATION, tmp_path)
    assert progress.history[-1]["loss"] < progress.history[0]["loss"]


if __name__ == "__main__":
    main()
