from pathlib import Path

import numpy as np
from PIL import Image

from training.release.calibrate import reliability, softmax
from training.release.evaluate import evaluate, plot_confusion, plot_history, plot_reliability


def test_accuracy_recall_and_confusion_of_a_worked_example() -> None:
    labels = np.array([0, 0, 0, 0, 3, 3, 9, 9], np.uint8)
    says = [0, 0, 0, 1, 3, 5, 9, 9]
    logits = np.eye(10, dtype=np.float32)[says]
    evaluation = evaluate(logits, labels)
    assert evaluation.accuracy == 6 / 8
    assert evaluation.per_class["airplane"] == 3 / 4
    assert evaluation.per_class["cat"] == 1 / 2
    assert evaluation.per_class["truck"] == 1
    assert evaluation.confusion[0, 1] == 1
    assert evaluation.confusion[3, 5] == 1
    assert evaluation.confusion.sum() == 8


def test_the_plots_are_pictures_and_the_same_every_time(tmp_path: Path) -> None:
    confusion = np.random.default_rng(0).integers(0, 1000, (10, 10))
    row = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.1, "val_accuracy": 0.4, "learning_rate": 0.1}
    history = [{"epoch": float(epoch), **row} for epoch in range(1, 4)]
    scores = np.random.default_rng(1).normal(0, 2, (500, 10)).astype(np.float32)
    before, after = (reliability(softmax(scores, divisor), scores[:, ::-1].argmax(axis=1)) for divisor in (1.0, 2.0))
    for name in ("one", "other"):
        plot_reliability(before, after, tmp_path / f"{name}-reliability.png")
        plot_confusion(confusion, tmp_path / f"{name}-confusion.png")
        plot_history(history, tmp_path / f"{name}-history.png")
    for kind in ("confusion", "history", "reliability"):
        one, other = (tmp_path / f"{name}-{kind}.png" for name in ("one", "other"))
        assert one.read_bytes() == other.read_bytes()
        with Image.open(one) as picture:
            assert len(set(picture.convert("RGB").resize((64, 64)).tobytes())) > 10
