import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from training import teacher
from training.release.artifact import ArtifactError

FAST, TUTORIAL = Path("models/fast"), Path("models/tutorial")
Cifar10 = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def answers(folder: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the checkpoint in `folder` says to each of `images`, and to their mirror images, (2, N, 10)."""
    network = keras.models.load_model(folder / "model.keras")
    return np.stack([network.predict(images[:, :, ::columns], verbose=0) for columns in (1, -1)])


def test_every_second_picture_is_answered_as_its_mirror_image_and_in_what_is_exact(
    tmp_path: Path, cifar10: Cifar10
) -> None:
    shutil.copytree(FAST, tmp_path / "fast")
    path = tmp_path / "fast" / "metadata.json"
    about = json.loads(path.read_text())
    about["precision"]["exact"] = ["float32"]
    path.write_text(json.dumps(about))
    plain, mirrored = answers(FAST, cifar10[0])
    found = teacher.load([tmp_path / "fast"])(cifar10[0])
    assert found.dtype == np.float32
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert found[::2] == pytest.approx(plain[::2], abs=5e-3)
    assert found[1::2] == pytest.approx(mirrored[1::2], abs=5e-3)
    assert np.abs(plain - mirrored).max() > 0.1
    as_shipped = teacher.load([FAST])(cifar10[0])  # in what this processor is best at
    assert np.mean(as_shipped.argmax(axis=1) == found.argmax(axis=1)) > 0.98
    for half, other in ((slice(0, None, 2), mirrored), (slice(1, None, 2), plain)):
        assert np.abs(as_shipped[half] - found[half]).mean() < np.abs(as_shipped[half] - other[half]).mean() / 2


def test_several_teachers_answer_an_equal_share_of_a_batch(cifar10: Cifar10) -> None:
    images = cifar10[0][:201]
    found = teacher.load([FAST, TUTORIAL])(images)
    expected = np.concatenate([answers(FAST, images), answers(TUTORIAL, images)])
    for turn in range(4):
        differences = np.abs(expected[:, turn::4] - found[turn::4]).mean(axis=(1, 2))
        assert differences.argmin() == turn
        assert differences[turn] < 0.01
    assert teacher.load([FAST, TUTORIAL])(images[:3]).shape == (3, 10)


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
