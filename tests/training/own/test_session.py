"""From a folder of pictures to an artifact, with a network so small that seconds are enough."""

import errno
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from app.imaging import thumbnail
from app.inference.metadata import Input
from tests.conftest import ClientFactory
from tests.training.own.shapes import folder
from training import __main__
from training.own import fit, network, report, session
from training.own.errors import OwnPicturesError
from training.own.graph import Graph
from training.own.session import Options
from training.release import artifact, evaluate
from training.release.calibrate import softmax


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "WIDTH", 0.02)
        patch.setattr(fit, "precision", lambda: "float32")
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `mine` was trained from new weights for a few seconds, and `mine` again from `old`."""
    place = tmp_path_factory.mktemp("trained")
    pictures = folder(place / "pictures", 40)
    (pictures / "red" / "broken.png").write_bytes(b"")
    session.train(Options(pictures, "mine", place / "models", place / "runs", seconds=4, start="scratch"))
    return place


def metadata(place: Path) -> dict[str, Any]:
    (path,) = (place / "models" / "mine").glob("*/metadata.json")
    found: dict[str, Any] = json.loads(path.read_text())
    assert found["version"] == path.parent.name
    return found


def test_the_artifact_says_what_it_is(trained: Path) -> None:
    about = metadata(trained)
    assert about["labels"] == ["blue", "green", "red"]
    assert about["input"]["size"] == 32
    assert about["data"] == {
        "name": "pictures",
        "training": 96,
        "validation": 12,
        "test": 12,
        "left_out": 0,
        "skipped": 1,
    }
    low, high = about["accuracy"]["test_interval"]
    assert low <= about["accuracy"]["test"] <= high
    assert "calibration" not in about  # 12 pictures are too few
    assert "out_of_distribution" not in about
    assert about["precision"] == {"exact": ["float32"]}
    assert len(about["examples"]) == 9
    assert [row["file"] for row in about["mislabelled"]] == [
        f"examples/doubt-{number}.png" for number in range(len(about["mislabelled"]))
    ][: report.SHEET] + [None] * max(0, len(about["mislabelled"]) - report.SHEET)
    assert sum(map(sum, about["confusion"])) == 12


def test_every_file_is_there_with_its_digest_and_no_other(trained: Path) -> None:
    (place,) = (trained / "models" / "mine").iterdir()
    files = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()} - {"metadata.json"}
    digests = metadata(trained)["files"]
    assert digests.keys() == files
    assert all(artifact.digest(place / name) == digest for name, digest in digests.items())
    assert {"model.onnx", "model.keras", "README.md", "confusion.png", "training.png"} <= files
    assert f"**{metadata(trained)['accuracy']['test']:.1%}**" in (place / "README.md").read_text()


def test_the_graph_and_the_checkpoint_give_the_same_answers(trained: Path) -> None:
    (place,) = (trained / "models" / "mine").iterdir()
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    model = keras.models.load_model(place / "model.keras")
    expected = keras.Model(model.input, model.get_layer("logits").output).predict(pictures, verbose=0)
    np.testing.assert_allclose(Graph(place / "model.onnx")([pictures])[0], expected, atol=0.02)


def test_the_service_answers_with_what_was_trained(trained: Path, make_client: ClientFactory) -> None:
    (place,) = (trained / "models" / "mine").iterdir()
    content = (trained / "pictures" / "red" / "0.png").read_bytes()
    answer = make_client(models=trained / "models").post("/predict", files={"image": content}).json()
    assert (answer["model"], answer["version"]) == ("mine", place.name)
    (prediction,) = answer["predictions"]
    logits = Graph(place / "model.onnx")([thumbnail(content, Input(size=32))[None]])[0]
    assert prediction["index"] == logits.argmax()
    assert prediction["probability"] == pytest.approx(float(softmax(logits).max()), abs=1e-3)
    assert prediction["is_ood"] is None


def test_the_same_command_goes_on_and_a_finished_one_changes_nothing(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (before,) = (trained / "models" / "mine").iterdir()
    options = Options(trained / "pictures", "mine", trained / "models", trained / "runs", seconds=1.2, start="scratch")
    released = session.train(options)
    assert released.folder == before
    assert not released.new
    assert "was there already" in capsys.readouterr().out


def test_a_trained_network_gives_a_first_result_and_the_better_one_is_kept(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place,) = (trained / "models" / "mine").iterdir()
    (tmp_path / "models").mkdir()
    os.symlink(place, tmp_path / "models" / "old")
    options = Options(
        trained / "pictures", "mine", tmp_path / "models", tmp_path / "runs", 4, size=64, start="old", examples=False
    )
    released = session.train(options)
    said = capsys.readouterr().out
    assert re.search(r"First result after \d+ s: a linear layer on the features of old recognises \d", said)
    assert "red/broken.png: an empty file (0 bytes)" in said
    assert released.metadata["training"]["start"] == "the weights of `old`"
    assert released.metadata["examples"] == []
    assert not (released.folder / "examples").exists()
    assert not (released.folder / "mislabelled.png").exists()
    assert Graph(released.folder / "model.onnx")([np.zeros((1, 64, 64, 3), np.uint8)])[0].shape == (1, 3)


def test_ctrl_c_keeps_the_best_so_far(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    look = fit._Training._look

    def interrupted(self: Any, *arguments: Any) -> None:
        look(self, *arguments)
        looks.append(self.progress.epoch)
        raise KeyboardInterrupt

    monkeypatch.setattr(fit._Training, "_look", interrupted)
    options = Options(trained / "pictures", "mine", tmp_path / "models", tmp_path / "runs", 100, start="scratch")
    released = session.train(options)
    assert looks == [1]
    assert released.metadata["training"]["epochs"] == 1
    assert (released.folder / "metadata.json").exists()


def test_a_full_disk_is_told_by_the_folders_name_and_what_was_there_is_kept(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = (trained / "models" / "mine").iterdir()
    digests = {path: artifact.digest(path) for path in before.rglob("*") if path.is_file()}

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(evaluate, "plot_confusion", full)
    options = Options(trained / "pictures", "mine", trained / "models", trained / "runs", seconds=1.2, start="scratch")
    with pytest.raises(OwnPicturesError) as caught:
        session.train(options)
    assert str(caught.value) == (
        f"{before}: cannot be written (No space left on device); what was there before is kept. The same command tries "
        "again"
    )
    assert [*(trained / "models" / "mine").iterdir()] == [before]
    assert {path: artifact.digest(path) for path in before.rglob("*") if path.is_file()} == digests


def test_too_few_pictures_of_a_label_are_told_before_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = folder(tmp_path / "pictures", 4)
    for picture in list((pictures / "green").iterdir())[1:]:
        picture.write_bytes(b"")
    with pytest.raises(OwnPicturesError, match=r"the label 'green': 1 left .* expected at least 3 different pictures"):
        session.train(Options(pictures, "mine", tmp_path / "models", tmp_path / "runs", start="scratch"))
    assert ": an empty file (0 bytes)" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "latest", "x" * 65, "a b", "mine@1"])
def test_a_bad_name_is_rejected(tmp_path: Path, name: str) -> None:
    with pytest.raises(OwnPicturesError, match=r"--name is .*; expected 1 to 64 letters"):
        session.train(Options(tmp_path, name, tmp_path / "models", tmp_path / "runs"))


def test_another_networks_name_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "models" / "fast").mkdir(parents=True)
    (tmp_path / "models" / "fast" / "metadata.json").write_text("{}")
    with pytest.raises(OwnPicturesError, match="is another network; expected a name of your own"):
        session.train(Options(tmp_path, "fast", tmp_path / "models", tmp_path / "runs"))


def test_a_size_or_a_network_to_begin_with_that_is_not_there_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(OwnPicturesError, match="--size is 50; expected one of 32, 64, 96, 128"):
        session.train(Options(tmp_path, "mine", tmp_path / "models", tmp_path / "runs", size=50))
    with pytest.raises(OwnPicturesError, match="--from is 'slow'; expected scratch, or a network in"):
        session.train(Options(tmp_path, "mine", tmp_path / "models", tmp_path / "runs", start="slow"))


def test_a_folder_that_cannot_be_written_is_told_before_the_training(tmp_path: Path) -> None:
    pictures = folder(tmp_path / "pictures", 4)
    (tmp_path / "models").write_text("a file, not a folder")
    with pytest.raises(OwnPicturesError, match=r"models: cannot be written \(File exists\)"):
        session.train(Options(pictures, "mine", tmp_path / "models", tmp_path / "runs", start="scratch"))


def told(*arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        __main__.main(["train", *arguments])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_command_line_tells_recipes_and_own_pictures_apart(tmp_path: Path) -> None:
    assert "expected a recipe's name, such as fast; or --data FOLDER --name NAME" in told()
    assert "expected a recipe's name" in told("--data", str(tmp_path))
    assert "--time is for your own pictures" in told("fast", "--time", "1m")
    assert "--no-examples is for your own pictures" in told("fast", "--no-examples")
    own = ("--data", str(tmp_path / "none"), "--name", "mine")
    assert "--set is for recipes" in told(*own, "--set", "epochs=3")
    assert "--time is '20'; expected from 1s to 168h, such as 90s, 20m or 1h" in told(*own, "--time", "20")
    assert "none: no such folder" in told(*own, "--models", str(tmp_path / "m"), "--runs", str(tmp_path / "r"))


def test_the_options_reach_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Options] = []
    monkeypatch.setattr(session, "train", asked.append)
    words = ["train", "--data", "p", "--name", "n", "--time", "1.5h", "--size", "64", "--from", "accurate"]
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    __main__.main([*words, "--no-examples"])
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"  # a second thread spins where the machine is busy
    assert asked == [Options(Path("p"), "n", Path("models"), Path("runs"), 5400, 64, "accurate", False)]


def test_what_training_costs_is_measured() -> None:
    assert 0 < fit.seconds_a_picture(None, 3) < 10
    assert keras.config.dtype_policy().name == "float32"
