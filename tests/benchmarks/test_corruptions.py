import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.inference.artifact import Place, read
from app.inference.metadata import Corrupted
from benchmarks import corruptions, nothing
from benchmarks.cifar10c import CORRUPTIONS, corrupt
from benchmarks.corruptions import Level, Report, Served
from training import data
from training.data import Pictures


@pytest.fixture
def report() -> Report:
    rows = {
        name: [Level(0.9 - 0.1 * severity - number / 1000, 0.02 * severity) for severity in range(5)]
        for number, name in enumerate(CORRUPTIONS)
    }
    doubt = {"clean": [0.95, 0.97, 0.98, 0.99], "corrupted": [0.6, 0.62, 0.65, 0.7]}
    return Report("fast", "2", "int8", 400, Level(0.95, 0.01), rows, doubt)


def test_a_network_is_measured_as_it_is_served(
    cifar10: tuple[NDArray[np.uint8], NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("gaussian_noise", "brightness")
    monkeypatch.setattr(corruptions, "CORRUPTIONS", {name: CORRUPTIONS[name] for name in names})
    images, labels = cifar10[0][::4], cifar10[1][::4]
    served = Served("fast", "float32")
    (found,) = corruptions.measure([served], Pictures(images, labels))
    assert (found.network, found.precision, found.pictures) == ("fast", "float32", 50)
    noisy, bright = found.corrupted.values()
    assert found.clean.accuracy > 0.85
    assert found.clean.accuracy - 0.05 > noisy[4].accuracy
    assert found.clean.calibration_error < noisy[4].calibration_error
    assert bright[0].accuracy > 0.8
    assert found.doubt["clean"][0] == found.clean.accuracy
    assert found.doubt["corrupted"][0] == pytest.approx(found.mean.accuracy)
    probabilities = served.probabilities(corrupt(images, "brightness", 2))
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert bright[1].accuracy == np.mean(probabilities.argmax(axis=1) == labels)


def test_the_least_sure_pictures_are_set_aside() -> None:
    sure = np.linspace(0.6, 0.9, 20)
    found, labels = np.stack([sure, 1 - sure], axis=1), np.zeros(20, np.uint8)
    labels[:2] = labels[19] = 1
    assert corruptions.risk_coverage(found, labels) == [17 / 20, 17 / 19, 17 / 18, 15 / 16]


def test_the_mean_is_over_all_corruptions_and_severities(report: Report) -> None:
    assert report.mean.accuracy == pytest.approx(0.7 - 0.007)
    assert report.mean.calibration_error == pytest.approx(0.04)


def test_the_table_has_a_row_for_each_corruption_and_their_mean(report: Report) -> None:
    lines = corruptions.table(report).splitlines()
    assert len(lines) == 2 + 15 + 1
    assert lines[2] == "| gaussian noise | 90.0% | 80.0% | 70.0% | 60.0% | 50.0% | 70.0% | 4.0% |"
    assert lines[-1] == "| **mean** | 89.3% | 79.3% | 69.3% | 59.3% | 49.3% | 69.3% | 4.0% |"


def test_the_page_its_plot_and_its_figures_are_written_the_same_each_time(report: Report, tmp_path: Path) -> None:
    command = "python -m benchmarks.corruptions --output docs"
    corruptions.write([report, report], command, tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    corruptions.write([report, report], command, tmp_path)
    assert first == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(first) == {"robustness.md", "robustness.png", "robustness.json"}
    page = first["robustness.md"].decode()
    assert f"Written by `{command}`." in page
    assert "| `fast`, version 2, int8 | 95.00% | 1.0% | 69.30% | 4.0% |" in page
    assert "| `fast`, corrupted | 60.0% | 62.0% | 65.0% | 70.0% |" in page
    assert len(json.loads(first["robustness.json"])[0]["corrupted"]["fog"]) == 5


def test_what_a_card_keeps_is_what_the_service_reads(report: Report) -> None:
    kept = corruptions.recorded(report, {"noise": 0.987654321})
    found = Corrupted.model_validate(kept | {"date": "2026-11-28"})
    assert found.accuracy == pytest.approx(report.mean.accuracy, abs=1e-5)
    assert found.by_severity == pytest.approx([0.893, 0.793, 0.693, 0.593, 0.493])
    assert found.by_corruption["gaussian_noise"] == pytest.approx(0.7)
    assert found.doubt.set_aside == [0, 0.05, 0.1, 0.2]
    assert found.doubt.corrupted == report.doubt["corrupted"]
    assert (found.far, found.pictures, found.precision) == ({"noise": 0.98765}, 400, "int8")


def test_pictures_of_nothing_are_told_from_pictures(
    cifar10: tuple[NDArray[np.uint8], NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corruptions, "FAR", 200)
    areas = corruptions.far(Served("fast", "float32"), cifar10[0])
    assert list(areas) == list(nothing.KINDS)
    assert np.mean(list(areas.values())) > 0.7


def test_the_means_are_put_on_the_card(
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cifar10: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    shutil.copytree(corruptions.MODELS / "fast", tmp_path / "fast")
    monkeypatch.setattr(corruptions, "MODELS", tmp_path)
    monkeypatch.setattr(corruptions, "Served", lambda name, _: Served(name, "float32", tmp_path))
    monkeypatch.setattr(data, "find", lambda: tmp_path)
    monkeypatch.setattr(data, "load_test", lambda _: Pictures(*cifar10))
    monkeypatch.setattr(corruptions, "measure", lambda networks, pictures: [report])
    monkeypatch.setattr(corruptions, "far", lambda network, images: {"noise": 0.991})
    corruptions.main(["fast", "--record"])
    card = (tmp_path / "fast" / "README.md").read_text()
    assert "69.3% of its answers are right in the mean, with a calibration error of 4.0%" in card
    assert "| corrupted | 60.0% | 62.0% | 65.0% | 70.0% |" in card
    assert "| noise | 0.991 |" in card
    measured = read(tmp_path, Place("fast")).metadata.accuracy.corrupted
    assert measured is not None
    assert measured.accuracy == pytest.approx(0.693)


def test_an_empty_subset_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        corruptions.main(["--subset", "0"])
    assert stopped.value.code == 2
    assert "--subset is 0; expected 1 or more" in capsys.readouterr().err


def test_training_cannot_reach_the_corruptions() -> None:
    sources = Path(corruptions.__file__).parent.parent.glob("training/**/*.py")
    assert not [path for path in sources if "cifar10c" in path.read_text()]
