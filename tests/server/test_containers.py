"""What the clouds ask of a container."""

import base64
import re
import shutil
from pathlib import Path

import pytest

from app import __version__
from app.settings import Settings, cloud_contract
from tests.conftest import MODELS, ClientFactory

ROOT = MODELS.parent


def test_sagemaker_is_recognised_by_its_folder(tmp_path: Path) -> None:
    assert cloud_contract({}, tmp_path / "nope") == {}
    assert cloud_contract({}, tmp_path) == {"port": "8080"}
    assert cloud_contract({"SAGEMAKER_BIND_TO_PORT": "9000"}, tmp_path) == {"port": "9000"}
    (tmp_path / "mine").mkdir()
    shutil.copy(MODELS / "fast" / "metadata.json", tmp_path / "mine")
    assert cloud_contract({}, tmp_path)["models"] == tmp_path


def test_vertex_ai_says_port_and_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"AIP_HTTP_PORT": "7080", "AIP_PREDICT_ROUTE": "/predict", "AIP_HEALTH_ROUTE": "/health/mine"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = Settings()
    assert (found.port, found.predict_route, found.health_route) == (7080, "/predict", "/health/mine")
    monkeypatch.setenv("CONVOSCOPE_PORT", "9001")  # what the user sets counts more
    assert Settings().port == 9001
    assert Settings(port=9002).port == 9002


def test_vertex_ais_routes_are_answered(make_client: ClientFactory, frog: bytes) -> None:
    client = make_client(predict_route="/predict", health_route="/alive")
    assert client.get("/alive").status_code == 200
    assert client.head("/alive").status_code == 200
    sent = {"instances": [{"b64": base64.b64encode(frog).decode()}]}
    assert client.post("/predict", json=sent).json()["predictions"][0]["label"] == "frog"
    assert client.post("/predict", json={"instances": 7}).json().keys() == {"error"}
    assert client.get("/models").status_code == 200


def test_the_image_starts_with_serve_and_without() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r'^ENTRYPOINT \["python", "-m", "app"\]$', dockerfile, re.MULTILINE)
    assert re.search(r'^CMD \["serve"\]$', dockerfile, re.MULTILINE)
    assert "CONVOSCOPE_PORT" not in dockerfile  # it would count more than what a cloud says


def test_the_image_says_what_it_is() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="(.*)"', dockerfile))
    assert labels["version"] == __version__
    assert labels["licenses"] == "MIT"
    assert {"title", "description"} <= labels.keys()


def test_the_drain_ends_before_orchestrators_kill() -> None:
    assert Settings().drain <= 27
