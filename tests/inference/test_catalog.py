import json
import shutil
from pathlib import Path

import pytest

from app.errors import ArtifactError, NotFound, Unavailable
from app.inference.catalog import Catalog
from app.inference.metadata import PrecisionName
from tests.conftest import MODELS

PRECISIONS: tuple[PrecisionName, ...] = ("float32", "bfloat16", "int8")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a copy of the smallest shipped artifact."""
    shutil.copytree(MODELS / "fast", tmp_path / "fast")
    return tmp_path


def edit(folder: Path, **changes: object) -> None:
    path = folder / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_shipped_artifacts_are_whole_and_accurate_is_the_default() -> None:
    catalog = Catalog.open(MODELS)
    assert {"accurate", "fast", "tutorial"} == set(catalog)
    assert catalog.find(None).name == catalog.default == "accurate"
    assert catalog.find("tutorial").metadata.labels[6] == "frog"


def test_the_default_can_be_chosen() -> None:
    assert Catalog.open(MODELS, "tutorial").find(None).name == "tutorial"
    with pytest.raises(ArtifactError, match="default_model is 'nope'; expected one of accurate, fast, tutorial"):
        Catalog.open(MODELS, "nope")


def test_an_unknown_name_lists_what_is_served() -> None:
    with pytest.raises(NotFound, match="'nope'; expected one of accurate, fast, tutorial"):
        Catalog.open(MODELS).find("nope")


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no artifact"):
        Catalog.open(tmp_path)
    with pytest.raises(ArtifactError, match="no such folder"):
        Catalog.open(tmp_path / "nope")


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_one_changed_byte_is_refused_by_name(models: Path, name: str) -> None:
    path = models / "fast" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"{name}: SHA-256 is [0-9a-f]{{64}}; metadata.json expects"):
        Catalog.open(models)


def test_a_missing_file_is_refused_by_name(models: Path) -> None:
    (models / "fast" / "model.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"model\.onnx: cannot be read \(No such file"):
        Catalog.open(models)


@pytest.mark.parametrize("name", ["README.md", "history.csv", "reliability.png", "model.keras"])
def test_the_card_and_the_checkpoint_may_change(models: Path, name: str) -> None:
    path = models / "fast" / name
    path.write_bytes(path.read_bytes() + b"x")
    assert Catalog.open(models).find("fast").name == "fast"
    path.unlink()
    assert Catalog.open(models).find("fast").name == "fast"


def test_a_bad_artifact_does_not_stop_the_others(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(models / "fast", models / "copy")
    catalog = Catalog.open(models)
    assert list(catalog) == ["fast"]
    assert "name is 'fast'; expected the folder's name, 'copy'" in catalog.unavailable["copy"]
    assert "copy cannot be served" in caplog.text
    with pytest.raises(Unavailable, match="copy cannot be served; expected one of fast"):
        catalog.find("copy")


def test_a_default_that_is_bad_is_not_replaced_in_silence(models: Path) -> None:
    shutil.copytree(models / "fast", models / "accurate")
    catalog = Catalog.open(models)
    assert catalog.default == "accurate"
    with pytest.raises(Unavailable):
        catalog.find(None)


def test_a_folder_that_is_being_written_is_no_artifact(models: Path) -> None:
    shutil.copytree(models / "fast", models / ".fast.old")
    assert list(Catalog.open(models)) == ["fast"]


def test_a_graph_that_is_replaced_after_the_start_is_not_compiled(models: Path) -> None:
    artifact = Catalog.open(models)["fast"]
    assert artifact.graph() == artifact.graph("bfloat16") == models / "fast" / "model.onnx"
    for name in ("model.onnx", "model.int8.onnx"):
        shutil.copy(MODELS / "tutorial" / name, models / "fast")
    for precision in PRECISIONS:
        with pytest.raises(ArtifactError, match=r"model\.(int8\.)?onnx: SHA-256 is"):
            artifact.graph(precision)


def test_the_checkpoint_may_be_left_out(models: Path) -> None:
    (models / "fast" / "model.keras").unlink()
    assert Catalog.open(models).find("fast").name == "fast"


def test_metadata_without_a_files_digest_is_refused(models: Path) -> None:
    edit(models / "fast", files={})
    with pytest.raises(ArtifactError, match=r"files has no digest for model\.int8\.onnx"):
        Catalog.open(models)


def test_metadata_that_is_not_valid_is_refused_by_field(models: Path) -> None:
    edit(models / "fast", parameters="many")
    with pytest.raises(ArtifactError, match=r"metadata\.json: parameters: .* but it is 'many'"):
        Catalog.open(models)
    (models / "fast" / "metadata.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"metadata\.json"):
        Catalog.open(models)


def test_a_name_that_is_not_the_folders_is_refused(models: Path) -> None:
    edit(models / "fast", name="slow")
    with pytest.raises(ArtifactError, match="name is 'slow'; expected the folder's name, 'fast'"):
        Catalog.open(models)
