"""The log of predictions: what it holds, how it rotates, and what happens where it cannot be written."""

import base64
import io
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from httpx import Client
from numpy.typing import NDArray
from PIL import Image
from prometheus_client import REGISTRY

from app.cli import main
from app.imaging.render import png
from app.inference.metadata import Metadata
from app.inference.prediction import Scores, scores
from app.routes.prediction_log import NoFolder, PredictionLog
from tests.conftest import MODELS, ClientFactory, until

Pictures = NDArray[np.uint8]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "predictions"


@pytest.fixture(scope="module")
def logged(make_client: ClientFactory, folder: Path) -> Client:
    return make_client(prediction_log=folder, prediction_log_pictures=True)


def test_what_every_protocol_predicts_is_logged(logged: Client, folder: Path, cifar10: tuple[Pictures, Any]) -> None:
    pictures = cifar10[0][:2]
    files = [base64.b64encode(png(picture)).decode() for picture in pictures]
    body = {"instances": [{"b64": file} for file in files]}
    first = logged.post("/predict", json={"images": files}, headers={"X-Request-ID": "a"})
    logged.post("/v1/models/fast:predict", json=body, headers={"X-Request-ID": "b"}).raise_for_status()
    until(lambda: len(lines(folder)) == 4)
    found = lines(folder)
    assert [(line["request_id"], line["index"]) for line in found] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    for line, said in zip(found, first.json()["predictions"], strict=False):
        assert {name: line[name] for name in ("label", "probability", "ood_score", "is_ood")} == {
            name: said[name] for name in ("label", "probability", "ood_score", "is_ood")
        }
        assert line["model"] == first.json()["model"]
        assert sum(line["probabilities"]) == pytest.approx(1)
    assert {line["model"] for line in found[2:]} == {"fast"}
    for line, picture in zip(found, [*pictures, *pictures], strict=True):
        kept = Image.open(io.BytesIO(base64.b64decode(line["picture"])))
        np.testing.assert_array_equal(np.asarray(kept), picture)


@pytest.fixture(scope="module")
def metadata() -> Metadata:
    return Metadata.model_validate_json((MODELS / "fast" / "metadata.json").read_bytes())


def some(metadata: Metadata, count: int) -> tuple[list[Pictures], list[Scores]]:
    logits = np.random.default_rng(0).normal(size=(count, 10)).astype(np.float32)
    return list(np.zeros((count, 32, 32, 3), np.uint8)), scores(metadata, logits, np.zeros(count, np.float32))


def test_a_sample_is_about_its_share_and_has_no_pictures_unless_asked(tmp_path: Path, metadata: Metadata) -> None:
    log = PredictionLog(tmp_path, sample=0.1, pictures=False, max_bytes=10**7, max_files=2)
    for _ in range(20):
        log.offer("id", metadata, *some(metadata, 40))
    log.close()
    found = lines(tmp_path)
    assert 30 < len(found) < 150
    assert all("picture" not in line for line in found)


def test_files_are_bounded_and_the_oldest_are_removed(tmp_path: Path, metadata: Metadata) -> None:
    (tmp_path / "theirs.txt").write_text("not ours")
    log = PredictionLog(tmp_path, sample=1, pictures=False, max_bytes=10_000, max_files=3)
    for request in range(10):
        log.offer(str(request), metadata, *some(metadata, 20))
    log.close()
    files = sorted(tmp_path.glob("*.jsonl"))
    assert len(files) == 3
    assert all(file.stat().st_size <= 10_000 for file in files)
    assert lines(tmp_path)[-1]["request_id"] == "9"
    assert (tmp_path / "theirs.txt").exists()


def dropped() -> float:
    return REGISTRY.get_sample_value("convoscope_dropped_log_lines_total", {"log": "predictions"}) or 0.0


def test_a_full_disk_is_said_once_leaves_no_broken_line_and_is_gone_when_there_is_room(
    tmp_path: Path, metadata: Metadata, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, full = os.write, [False]

    def write(descriptor: int, block: bytes) -> int:
        if full[0]:
            if len(block) < 100:
                raise OSError(28, "No space left on device")
            return whole(descriptor, block[:-50])
        return whole(descriptor, block)

    log = PredictionLog(tmp_path, sample=1, pictures=False, max_bytes=10**7, max_files=3)
    monkeypatch.setattr(os, "write", write)
    for request in ("0", "1", "2", "3"):
        full[0] = request in ("1", "2")
        before = dropped()
        log.offer(request, metadata, *some(metadata, 1))
        if full[0]:
            until(partial(lambda before: dropped() == before + 1, before))
        else:
            until(
                partial(lambda request: lines(tmp_path)[-1:] and lines(tmp_path)[-1]["request_id"] == request, request)
            )
    log.close()
    assert [line["request_id"] for line in lines(tmp_path)] == ["0", "3"]
    assert caplog.text.count("No space left on device") == 1
    assert caplog.text.count("can be written again") == 1


def test_a_file_or_folder_that_somebody_removes_is_made_again(tmp_path: Path, metadata: Metadata) -> None:
    folder = tmp_path / "log"
    log = PredictionLog(folder, sample=1, pictures=False, max_bytes=10**7, max_files=3)
    log.offer("1", metadata, *some(metadata, 1))
    until(lambda: len(lines(folder)) == 1)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    log.offer("2", metadata, *some(metadata, 1))
    until(lambda: [line["request_id"] for line in lines(folder)] == ["2"])
    log.close()


def test_a_folder_that_cannot_be_used_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NoFolder, match="cannot be made"):
        PredictionLog(tmp_path / "file", sample=1, pictures=False, max_bytes=10**7, max_files=3)
    monkeypatch.setenv("CONVOSCOPE_PREDICTION_LOG", str(tmp_path / "file"))
    with pytest.raises(SystemExit, match=r"file: cannot be made, for predictions"):
        main(["serve", "--port", "0"])
