"""Artifacts that come, change, break and go while the service runs and answers."""

import gc
import json
import os
import shutil
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.inference.engine import Engine
from app.inference.network import Network
from tests import artifacts
from tests.artifacts import npy, picture
from tests.conftest import ClientFactory, assert_problem, until

NPY = {"Content-Type": "application/x-npy"}
BODY = npy(picture(16))
LABELS = ("first", "second", "third")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """One network, `mine`, which always says `first`."""
    artifacts.write(tmp_path / "mine", LABELS, says=0)
    return tmp_path


def label(client: httpx.Client, model: str = "mine") -> str:
    """What a network says."""
    answer = client.post("/predict", params={"model": model}, content=BODY, headers=NPY)
    return str(answer.json()["predictions"][0]["label"]) if answer.status_code == 200 else str(answer.status_code)


def says(client: httpx.Client, expected: str) -> bool:
    return label(client) == expected


def states(client: httpx.Client) -> dict[str, tuple[str, bool]]:
    versions = client.get("/models").json()["versions"]
    return {f"{one['name']}@{one['version']}": (one["state"], one["default"]) for one in versions}


class Load:
    """What clients got who asked for `mine` all the time."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.said: list[tuple[str, str]] = []


@contextmanager
def under_load(client: httpx.Client, clients: int = 4) -> Iterator[Load]:
    """Ask all the time; every answer must come, and be of one version from end to end."""
    load, over = Load(), threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=client.base_url, timeout=60) as mine:
            while not over.is_set():
                answer = mine.post("/predict", params={"model": "mine"}, content=BODY, headers=NPY)
                if answer.status_code != 200:
                    load.failed.append(answer.text)
                    continue
                body = answer.json()
                load.said.append((body["version"], body["predictions"][0]["label"]))

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: load.said)
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_nothing_fails_while_a_network_is_replaced_added_broken_and_removed(
    make_client: ClientFactory, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(models=models)
    with under_load(client) as load:
        artifacts.write(models / "mine", LABELS, says=1, version="2")
        until(lambda: label(client) == "second", 60)
        assert states(client) == {"mine@2": ("ready", True)}
        (models / "mine" / "model.onnx").write_bytes(b"half")
        until(lambda: client.get("/models").json()["unavailable"], 60)
        assert label(client) == "second"
        artifacts.write(models / "mine", LABELS, says=2, version="3")
        until(lambda: label(client) == "third", 60)
        assert client.get("/models").json()["unavailable"] == {}
        artifacts.write(models / "other", LABELS, says=0)
        until(lambda: label(client, "other") == "first", 60)
        shutil.rmtree(models / "other")
        until(lambda: label(client, "other") == "404", 60)
    assert load.failed == []
    assert set(load.said) == {("1", "first"), ("2", "second"), ("3", "third")}
    assert caplog.text.count("mine/model.onnx: SHA-256 is") == 1


def test_a_folder_that_is_half_copied_is_not_served_until_it_is_whole(make_client: ClientFactory, models: Path) -> None:
    client = make_client(models=models)
    source = artifacts.write(models.with_name(f"{models.name}-source") / "two" / "2", LABELS, version="2", name="two")
    target = models / "two" / "2"
    target.mkdir(parents=True)
    shutil.copy(source / "metadata.json", target)
    (target / "model.onnx").write_bytes((source / "model.onnx").read_bytes()[:100])
    until(lambda: client.get("/models").json()["unavailable"].get("two/2"), 60)
    assert states(client)["two@2"] == ("unavailable", False)
    assert_problem(client.post("/predict?model=two", content=BODY, headers=NPY), 503, "unavailable", "model")
    shutil.copy(source / "model.onnx", target)
    until(lambda: states(client)["two@2"] == ("ready", True), 60)
    assert label(client) == "first"


def test_a_graph_that_contradicts_its_metadata_leaves_the_old_one(make_client: ClientFactory, models: Path) -> None:
    """Its digests are right, so only compiling it shows that it has another number of labels."""
    client = make_client(models=models)
    artifacts.write(models / ".next" / "mine", LABELS, version="2", says=1)
    about = models / ".next" / "mine" / "metadata.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"labels": ["too", "few"]}))
    shutil.rmtree(models / "mine")
    os.replace(models / ".next" / "mine", models / "mine")
    until(lambda: client.get("/models").json()["unavailable"], 60)
    reason = client.get("/models").json()["unavailable"]["mine"]
    assert reason.startswith("mine: the shape of a picture, the number of labels, and whether there is typicality")
    assert label(client) == "first"
    assert states(client) == {"mine@1": ("ready", True)}


def test_versions_are_rolled_forward_and_back(make_client: ClientFactory, tmp_path: Path) -> None:
    artifacts.write(tmp_path / "mine" / "1", LABELS, says=0, name="mine")
    client = make_client(models=tmp_path)
    with under_load(client) as load:
        artifacts.write(tmp_path / "mine" / "2", LABELS, says=1, name="mine", version="2")
        until(lambda: label(client) == "second", 60)
        assert states(client) == {"mine@2": ("ready", True), "mine@1": ("ready", False)}
        assert (label(client, "mine@1"), label(client, "mine@2")) == ("first", "second")
        (tmp_path / "mine" / "pinned").write_text("1")
        until(lambda: label(client) == "first", 60)
        (tmp_path / "mine" / "pinned").unlink()
        until(lambda: label(client) == "second", 60)
        shutil.rmtree(tmp_path / "mine" / "2")
        until(lambda: label(client) == "first", 60)
    assert load.failed == []
    assert_problem(client.post("/predict?model=mine@2", content=BODY, headers=NPY), 404, "not-found", "version")


def test_foreign_protocols_follow(make_client: ClientFactory, tmp_path: Path) -> None:
    for version in ("1", "2"):
        artifacts.write(tmp_path / "mine" / version, LABELS, says=int(version), name="mine", version=version)
    client = make_client(models=tmp_path)
    assert client.get("/v2/models/mine").json()["versions"] == ["2", "1"]
    assert client.get("/v2/models/mine/versions/1").json()["name"] == "mine"
    assert client.get("/v2/models/mine/versions/3").status_code == 404
    status = client.get("/v1/models/mine").json()["model_version_status"]
    assert [one["version"] for one in status] == ["2", "1"]
    assert len(client.get("/v1/models/mine/versions/1").json()["model_version_status"]) == 1
    for version, index in (("1", 1), ("2", 2)):
        body = {"instances": picture(16)[None].tolist()}
        answer = client.post(f"/v1/models/mine/versions/{version}:predict", json=body).json()
        assert answer["predictions"][0][index] > 0.99
        assert label(client, f"mine@{version}") == LABELS[index]
    artifacts.write(tmp_path / "more", LABELS)
    assert client.post("/v2/repository/models/more/load").status_code == 200
    (tmp_path / "mine" / "2" / "model.onnx").write_bytes(b"")
    until(lambda: client.get("/models").json()["unavailable"], 60)
    listed = {(one["name"], one["version"]): one for one in client.post("/v2/repository/index").json()}
    assert listed["more", "1"]["state"] == "READY"
    assert "SHA-256" in listed["mine", "2"]["reason"]


def test_reload_can_be_switched_off(make_client: ClientFactory, models: Path) -> None:
    client = make_client(models=models, reload="off")
    artifacts.write(models / "mine", LABELS, says=1, version="2")
    artifacts.write(models / "other", LABELS)
    assert client.post("/v2/repository/models/other/load").status_code == 404
    time.sleep(3)
    assert label(client) == "first"
    assert label(client, "other") == "404"


def test_a_request_ends_on_the_network_that_it_began_on(
    make_client: ClientFactory, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its maps are asked for after its folder has been replaced by a network of another size."""
    client = make_client(models=models)
    begun, over = threading.Event(), threading.Event()
    activations = Network.__init__

    def slowly(self: Network, *arguments: Any) -> None:
        activations(self, *arguments)
        found = self.activations

        def wait(*asked: Any) -> Any:
            begun.set()
            over.wait(60)
            return found(*asked)

        self.activations = wait  # type: ignore[assignment]

    monkeypatch.setattr(Network, "__init__", slowly)
    artifacts.write(models / "mine", LABELS, version="2", size=20)
    until(lambda: states(client) == {"mine@2": ("ready", True)}, 60)
    answers: list[httpx.Response] = []

    def ask() -> None:
        with httpx.Client(base_url=client.base_url, timeout=60) as other:
            answers.append(other.post("/feature-maps", content=BODY, headers=NPY))

    thread = threading.Thread(target=ask)
    thread.start()
    assert begun.wait(60)
    artifacts.write(models / "mine", LABELS, version="3", size=40)
    until(lambda: states(client) == {"mine@3": ("ready", True)}, 60)
    over.set()
    thread.join()
    assert answers[0].status_code == 200, answers[0].text
    assert answers[0].json()["version"] == "2"


def test_a_network_that_was_replaced_gives_its_memory_back(make_client: ClientFactory, models: Path) -> None:
    """At once: the service's garbage collector runs rarely, and none sees what OpenVINO holds."""
    client = make_client(models=models)
    engines: list[weakref.ref[Engine]] = []
    made = Engine.__init__

    def watched(self: Engine, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        engines.append(weakref.ref(self))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "__init__", watched)
        gc.collect()
        gc.disable()
        try:
            for i, version in enumerate(("2", "3"), 1):
                artifacts.write(models / "mine", LABELS, version=version, says=i)
                until(partial(says, client, LABELS[i]), 60)
            until(lambda: [engine() is None for engine in engines] == [True, False])
        finally:
            gc.enable()


def test_a_folder_that_cannot_be_read_is_reported(make_client: ClientFactory, models: Path) -> None:
    client = make_client(models=models)
    artifacts.write(models / "odd", LABELS)
    (models / "odd" / "metadata.json").write_text("{")
    (models / "a file").write_text("of somebody")
    os.symlink("nowhere", models / "link")
    until(lambda: "odd" in client.get("/models").json()["unavailable"], 60)
    assert label(client) == "first"
    metadata = json.loads((models / "mine" / "metadata.json").read_text())
    (models / "mine" / "metadata.json").write_text(json.dumps(metadata | {"labels": ["x", "y", "z"]}))
    until(lambda: label(client) == "x", 60)
