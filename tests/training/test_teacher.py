import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from training import teacher
from training.artifact import ArtifactError

FAST, TUTORIAL = Path("models/fast"), Path("models/tutorial")
Cifar10 = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def answers(folder: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the checkpoint in `folder` says to each of `images`, and to their mirror images, (2, N, 10)."""
    network = keras.models.load_model(folder / "model.keras")
    return np.stack([network.predict(images[:, :, ::columns], verbose=0) for columns in (1, -1)])


def test_every_second_picture_is_answered_as_its_mirror_image(cifar10: Cifar10) -> None:
    plain, mirrored = answers(FAST, cifar10[0])
    found = teacher.load([FAST])(cifar10[0])
    assert found.dtype == np.float32
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)
    for half, own, other in ((slice(0, None, 2), plain, mirrored), (slice(1, None, 2), mirrored, plain)):
        assert np.abs(found[half] - own[half]).max() < 0.15
        assert np.mean(found[half].argmax(axis=1) == own[half].argmax(axis=1)) > 0.98
        assert np.abs(found[half] - own[half]).mean() < np.abs(found[half] - other[half]).mean() / 2


def test_several_teachers_answer_an_equal_share_of_a_batch(cifar10: Cifar10) -> None:
    images = cifar10[0][:201]
    found = teacher.load([FAST, TUTORIAL])(images)
    expected = np.concatenate([answers(FAST, images), answers(TUTORIAL, images)])
    for turn in range(4):
        differences = np.abs(expected[:, turn::4] - found[turn::4]).mean(axis=(1, 2))
        assert differences.argmin() == turn
        assert differences[turn] < 0.01
    assert teacher.load([FAST, TUTORIAL])(images[:3]).shape == (3, 10)


def test_a_teacher_of_which_only_float32_is_exact_answers_in_that(tmp_path: Path, cifar10: Cifar10) -> None:
    shutil.copytree(FAST, tmp_path / "fast")
    path = tmp_path / "fast" / "metadata.json"
    about = json.loads(path.read_text())
    about["precision"]["exact"] = ["float32"]
    path.write_text(json.dumps(about))
    expected, _ = answers(FAST, cifar10[0])
    assert teacher.load([tmp_path / "fast"])(cifar10[0])[::2] == pytest.approx(expected[::2], abs=5e-3)


def test_a_damaged_teacher_is_refused(tmp_path: Path) -> None:
    shutil.copytree(FAST, tmp_path / "fast")
    for graph in (tmp_path / "fast").glob("*.onnx"):
        graph.write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match=r"onnx: damaged; SHA-256 is"):
        teacher.load([tmp_path / "fast"])
    path = tmp_path / "fast" / "metadata.json"
    about = json.loads(path.read_text())
    del about["precision"]
    path.write_text(json.dumps(about))
    with pytest.raises(ArtifactError, match=r"metadata\.json: damaged \(no 'precision'\)"):
        teacher.load([tmp_path / "fast"])
