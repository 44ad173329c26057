import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from training import teacher
from training.artifact import ArtifactError

FAST = Path("models/fast")
Cifar10 = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def test_a_teacher_answers_nearly_as_its_checkpoint_does(cifar10: Cifar10) -> None:
    expected = keras.models.load_model(FAST / "model.keras").predict(cifar10[0], verbose=0)
    found = teacher.load(FAST)(cifar10[0])
    assert found.dtype == np.float32
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert np.abs(found - expected).max() < 0.15
    assert np.mean(found.argmax(axis=1) == expected.argmax(axis=1)) > 0.98


def test_a_teacher_of_which_only_float32_is_exact_answers_in_that(tmp_path: Path, cifar10: Cifar10) -> None:
    shutil.copytree(FAST, tmp_path / "fast")
    path = tmp_path / "fast" / "metadata.json"
    about = json.loads(path.read_text())
    about["precision"]["exact"] = ["float32"]
    path.write_text(json.dumps(about))
    expected = keras.models.load_model(FAST / "model.keras").predict(cifar10[0], verbose=0)
    assert teacher.load(tmp_path / "fast")(cifar10[0]) == pytest.approx(expected, abs=5e-3)


def test_a_damaged_teacher_is_refused(tmp_path: Path) -> None:
    shutil.copytree(FAST, tmp_path / "fast")
    for graph in (tmp_path / "fast").glob("*.onnx"):
        graph.write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match=r"onnx: damaged; SHA-256 is"):
        teacher.load(tmp_path / "fast")
    path = tmp_path / "fast" / "metadata.json"
    about = json.loads(path.read_text())
    del about["precision"]
    path.write_text(json.dumps(about))
    with pytest.raises(ArtifactError, match=r"metadata\.json: damaged \(no 'precision'\)"):
        teacher.load(tmp_path / "fast")
