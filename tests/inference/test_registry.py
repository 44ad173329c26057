import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from app.errors import ArtifactError, NotFound, Unavailable
from app.inference.artifact import Place, read
from app.inference.metadata import PrecisionName
from app.inference.registry import Registry
from app.settings import Settings
from tests import artifacts
from tests.conftest import MODELS


def opened(models: Path, default: str | None = None) -> Registry:
    return Registry(Settings(models=models, default_model=default))


PRECISIONS: tuple[PrecisionName, ...] = ("float32", "bfloat16", "int8")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a copy of a shipped artifact."""
    shutil.copytree(MODELS / "fast", tmp_path / "fast")
    return tmp_path


def edit(folder: Path, **changes: object) -> None:
    path = folder / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_shipped_artifacts_are_whole_and_accurate_is_the_default() -> None:
    registry = opened(MODELS)
    assert registry.names == ["accurate", "fast", "tutorial"]
    assert registry.find(None) is registry.find("accurate")
    assert registry.find(None).metadata.name == "accurate"
    assert registry.find("tutorial").metadata.labels[6] == "frog"


def test_the_default_can_be_chosen() -> None:
    assert opened(MODELS, "tutorial").find(None).metadata.name == "tutorial"
    with pytest.raises(ArtifactError, match="default_model is 'nope'; expected one of accurate, fast, tutorial"):
        opened(MODELS, "nope")


def test_an_unknown_name_lists_what_is_served() -> None:
    with pytest.raises(NotFound, match="'nope'; expected one of accurate, fast, tutorial"):
        opened(MODELS).find("nope")


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no artifact"):
        opened(tmp_path)
    with pytest.raises(ArtifactError, match="no such folder"):
        opened(tmp_path / "nope")


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_one_changed_byte_is_refused_by_name(models: Path, name: str) -> None:
    path = models / "fast" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"{name}: SHA-256 is [0-9a-f]{{64}}; metadata.json expects"):
        opened(models)


def test_a_missing_file_is_refused_by_name(models: Path) -> None:
    (models / "fast" / "model.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"model\.onnx: cannot be read \(No such file"):
        opened(models)


@pytest.mark.parametrize("name", ["README.md", "history.csv", "reliability.png", "model.keras"])
def test_the_card_and_the_checkpoint_may_change(models: Path, name: str) -> None:
    path = models / "fast" / name
    path.write_bytes(path.read_bytes() + b"x")
    assert opened(models).find("fast").metadata.name == "fast"
    path.unlink()
    assert opened(models).find("fast").metadata.name == "fast"


def test_a_bad_artifact_does_not_stop_the_others(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(models / "fast", models / "copy")
    registry = opened(models)
    assert registry.names == ["fast"]
    assert "name is 'fast'; expected the folder's name, 'copy'" in registry.unavailable["copy"]
    assert "copy cannot be served" in caplog.text
    with pytest.raises(Unavailable, match="copy cannot be served; expected one of fast"):
        registry.find("copy")


def test_a_default_that_is_bad_is_not_replaced_in_silence(models: Path) -> None:
    shutil.copytree(models / "fast", models / "accurate")
    registry = opened(models)
    with pytest.raises(Unavailable, match="accurate cannot be served; expected one of fast"):
        registry.find(None)


def test_a_folder_that_is_being_written_is_no_artifact(models: Path) -> None:
    shutil.copytree(models / "fast", models / ".fast.old")
    assert opened(models).names == ["fast"]


def test_a_graph_that_is_overwritten_after_the_start_is_not_compiled(models: Path) -> None:
    artifact = read(models, Place("fast"))
    assert artifact.graph() == artifact.graph("bfloat16") == models / "fast" / "model.onnx"
    for name in ("model.onnx", "model.int8.onnx"):
        shutil.copy(MODELS / "tutorial" / name, models / "fast")
    for precision in PRECISIONS:
        with pytest.raises(ArtifactError, match=r"model\.(int8\.)?onnx: SHA-256 is"):
            artifact.graph(precision)


def test_a_graph_whose_folder_is_replaced_can_still_be_compiled(tmp_path: Path) -> None:
    """A request that began on the old network may be the first to ask it for its maps."""
    folder = artifacts.write(tmp_path / "mine")
    content = (folder / "model.onnx").read_bytes()
    artifact = read(tmp_path, Place("mine"))
    artifacts.write(folder, ["a", "b", "c"])
    assert artifact.graph() == content
    shutil.rmtree(folder)
    assert artifact.graph() == content


def test_the_checkpoint_may_be_left_out(models: Path) -> None:
    (models / "fast" / "model.keras").unlink()
    assert opened(models).find("fast").metadata.name == "fast"


def test_metadata_without_a_files_digest_is_refused(models: Path) -> None:
    edit(models / "fast", files={})
    with pytest.raises(ArtifactError, match=r"files has no digest for model\.onnx, model\.int8\.onnx"):
        opened(models)


def test_metadata_that_is_not_valid_is_refused_by_field(models: Path) -> None:
    edit(models / "fast", parameters="many")
    with pytest.raises(ArtifactError, match=r"metadata\.json: parameters: .* but it is 'many'"):
        opened(models)
    (models / "fast" / "metadata.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"metadata\.json"):
        opened(models)


def test_a_name_that_is_not_the_folders_is_refused(models: Path) -> None:
    edit(models / "fast", name="slow")
    with pytest.raises(ArtifactError, match="name is 'slow'; expected the folder's name, 'fast'"):
        opened(models)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"labels": ["one"]}, "labels: List should have at least 2 items"),
        ({"labels": [f"{i}" for i in range(1001)]}, "labels: List should have at most 1000 items"),
        ({"labels": ["a", "a"]}, "the label 'a' is there twice"),
        ({"labels": ["a", "b\n"]}, r"the label 'b\\n' has a control character"),
        ({"labels": ["", "b"]}, "labels.0: String should have at least 1 character"),
        ({"input": {"size": 15}}, "input.size: Input should be greater than or equal to 16"),
        ({"input": {"size": 257}}, "input.size: Input should be less than or equal to 256"),
        ({"input": {"size": 16, "channels": 2}}, "input.channels: Input should be 1 or 3"),
        ({"input": {"size": 16, "neutral": [1]}}, "neutral has 1 values; expected 3, one per channel"),
        ({"version": "a/b"}, "version: String should match pattern"),
        ({"examples": [{"file": "../secret", "label": "a"}]}, "examples.0.file: String should match pattern"),
        ({"examples": [{"file": "examples/9.png", "label": "a"}]}, "files has no digest for examples/9.png"),
        ({"precision": {"exact": ["float32", "int8"]}}, "files has no digest for model.int8.onnx"),
    ],
)
def test_what_an_artifact_cannot_say_is_refused_by_field(tmp_path: Path, changes: dict[str, Any], found: str) -> None:
    artifacts.write(tmp_path / "mine", **changes)
    with pytest.raises(ArtifactError, match=found):
        opened(tmp_path)


def test_what_is_null_is_absent(tmp_path: Path) -> None:
    absent = ("input", "calibration", "accuracy", "precision", "training", "examples", "created")
    nothing: dict[str, Any] = dict.fromkeys(absent)
    artifacts.write(tmp_path / "mine", size=32, **nothing)
    assert opened(tmp_path).find("mine").metadata.input.size == 32


def test_versions_lie_side_by_side_and_the_newest_is_the_default(tmp_path: Path) -> None:
    for version in ("2", "10", "9"):
        artifacts.write(tmp_path / "mine" / version, version=version, name="mine")
    artifacts.write(tmp_path / "other")
    registry = opened(tmp_path)
    assert registry.find("mine").metadata.version == "10"
    assert registry.find("mine@2").metadata.version == "2"
    assert registry.versions_of("mine") == ["10", "9", "2"]
    with pytest.raises(NotFound, match="version '3' of mine is not served; expected 10, 9, 2"):
        registry.find("mine@3")
    assert opened(tmp_path, "mine@9").find(None).metadata.version == "9"


def test_what_was_made_last_is_the_newest_whatever_it_is_called(tmp_path: Path) -> None:
    for version, created in (("z", "2026-01-01T00:00:00Z"), ("a", "2026-01-01T10:00:00Z"), ("m", None)):
        artifacts.write(tmp_path / "mine" / version, version=version, name="mine", created=created)
    assert opened(tmp_path).versions_of("mine") == ["a", "z", "m"]


def test_a_pinned_version_is_the_default(tmp_path: Path) -> None:
    for version in ("1", "2"):
        artifacts.write(tmp_path / "mine" / version, version=version, name="mine")
    (tmp_path / "mine" / "pinned").write_text("1\n")
    assert opened(tmp_path).find("mine").metadata.version == "1"
    (tmp_path / "mine" / "pinned").write_text("3")
    registry = opened(tmp_path)
    assert registry.find("mine").metadata.version == "2"
    assert registry.unavailable["mine/pinned"] == "names the version '3'; expected one of 2, 1; the newest is served"


def test_a_bad_version_leaves_the_others(tmp_path: Path) -> None:
    for version in ("1", "2", "3"):
        artifacts.write(tmp_path / "mine" / version, version=version, name="mine")
    (tmp_path / "mine" / "2" / "model.onnx").write_bytes(b"")
    edit(tmp_path / "mine" / "3", version="1")
    registry = opened(tmp_path)
    assert registry.find("mine").metadata.version == "1"
    assert registry.unavailable["mine/2"].startswith("mine/2/model.onnx: SHA-256 is ")
    assert registry.unavailable["mine/3"] == "mine/3/metadata.json: version is '1'; expected the folder's name, '3'"
    with pytest.raises(Unavailable, match="mine@2 cannot be served"):
        registry.find("mine@2")


def test_a_version_that_is_there_twice_is_reported(tmp_path: Path) -> None:
    artifacts.write(tmp_path / "mine" / "1", name="mine")
    for path in (tmp_path / "mine" / "1").iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path / "mine")
    assert opened(tmp_path).unavailable["mine/1"] == "mine/1: mine is version 1 already"
