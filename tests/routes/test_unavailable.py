"""A network whose files are damaged, before the start or after it, beside others that are sound."""

import shutil
from pathlib import Path

import httpx
import pytest

from tests.conftest import MODELS, ClientFactory, assert_problem, until

PNG = {"Content-Type": "image/png"}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in ("fast", "tutorial"):
        shutil.copytree(MODELS / name, tmp_path / name, ignore=shutil.ignore_patterns("*.keras"))
    return tmp_path


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def ask(client: httpx.Client, picture: bytes, model: str) -> httpx.Response:
    return client.post("/predict", params={"model": model}, content=picture, headers=PNG)


def test_what_cannot_be_served_is_reported_while_the_others_serve(
    make_client: ClientFactory, models: Path, frog: bytes
) -> None:
    damage(models / "tutorial" / "model.onnx")
    client = make_client(models=models)
    assert client.get("/readyz").status_code == 200
    assert ask(client, frog, "fast").status_code == 200
    assert_problem(ask(client, frog, "tutorial"), 503, "unavailable", "model")
    listed = client.get("/models").json()
    assert [model["name"] for model in listed["models"]] == ["fast"]
    assert listed["unavailable"]["tutorial"].startswith("tutorial/model.onnx: SHA-256 is ")


def test_a_bad_default_is_not_ready(make_client: ClientFactory, models: Path, frog: bytes) -> None:
    damage(models / "fast" / "model.onnx")
    client = make_client(models=models)
    assert client.get("/healthz").status_code == 200
    assert_problem(client.get("/readyz"), 503, "unavailable", "model")
    assert_problem(client.post("/predict", content=frog, headers=PNG), 503, "unavailable", "model")
    assert ask(client, frog, "tutorial").status_code == 200


def test_a_folder_that_is_swapped_after_the_start_is_told_and_recovers(
    make_client: ClientFactory, models: Path, frog: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(models=models, reload=False)
    good = {name: (models / "tutorial" / name).read_bytes() for name in ("model.onnx", "model.int8.onnx")}
    for name in good:
        damage(models / "tutorial" / name)
    for _ in range(3):
        assert_problem(ask(client, frog, "tutorial"), 503, "unavailable")
    assert "Traceback" not in caplog.text
    assert caplog.text.count("SHA-256 is") == 1
    for name, content in good.items():
        (models / "tutorial" / name).write_bytes(content)
    until(lambda: ask(client, frog, "tutorial").status_code == 200)
