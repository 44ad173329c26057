"""The command line and the artifact it writes, on the small task of the training loop's test."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import keras
import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import training.__main__
from app.inference import engine
from app.inference.registry import Registry
from app.settings import Settings
from tests.training.samples import FAST, TINY, TUTORIAL, VALIDATION, WHOLE, as_toml, vary
from training import commands, data, lineage, make, train
from training.__main__ import main
from training.data import LABELS
from training.release import artifact, evaluate, provenance, records
from training.release.out_of_distribution import (
    cross_fitted,
    direction,
    features,
    of_length_one,
    quantiles,
    turned_negatives,
)

CONFIG = vary(TINY, name="small-1", epochs=2, validation=len(VALIDATION.labels))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which `train small` was run, with everything it asks for faked but the training itself."""
    folder = tmp_path_factory.mktemp("workplace")
    with pytest.MonkeyPatch.context() as patch:
        shutil.copytree(lineage.FOLDER, folder / "recipes")
        (folder / "recipes" / "small-1.toml").write_text(as_toml(CONFIG))
        patch.setattr(training.__main__, "RECIPES", folder / "recipes")
        patch.setattr(data, "find", lambda place: folder)
        patch.setattr(data, "load_training", lambda place: WHOLE)
        patch.setattr(data, "load_test", lambda place: VALIDATION)
        patch.chdir(folder)
        main(["train", "small"])
        yield folder


def metadata(workplace: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((workplace / "models" / "small" / "metadata.json").read_text())
    return content


def test_training_leaves_an_artifact_that_the_service_accepts(workplace: Path) -> None:
    catalog = Registry(Settings(models=workplace / "models"))
    small = catalog.find("small").metadata
    assert small.labels == list(LABELS)
    assert small.training
    assert small.training.epochs == 2
    assert small.multiply_adds == sum(layer.multiply_adds for layer in small.layers)
    assert not list((workplace / "models").glob(".*"))


def test_the_checkpoint_is_float32_without_an_optimizer_and_gives_the_cards_accuracy(workplace: Path) -> None:
    model = keras.models.load_model(workplace / "models" / "small" / "model.keras")
    assert getattr(model, "optimizer", None) is None
    assert {variable.dtype for variable in model.weights} == {"float32"}
    accuracy = train.measure(train.scores(model), VALIDATION)[1]
    measured = metadata(workplace)["accuracy"]
    assert isinstance(measured, dict)
    assert measured["test"] == pytest.approx(accuracy)


def test_the_card_tells_the_figures(workplace: Path) -> None:
    card = (workplace / "models" / "small" / "README.md").read_text()
    about = metadata(workplace)
    assert isinstance(about["accuracy"], dict)
    assert f"**{about['accuracy']['test']:.2%}**" in card
    assert f"{about['parameters']:,} parameters" in card
    assert "](reliability.png)" in card
    assert isinstance(about["precision"], dict)
    assert f"as far as it is one of {', '.join(about['precision']['exact'])}: these" in card
    assert "| schedule.decay | `0.0004` |" in card
    for digest in data.DIGESTS.values():
        assert digest in card


def test_a_renamed_runs_artifact_has_the_new_name(workplace: Path) -> None:
    shutil.copytree(workplace / "runs" / "small-1", workplace / "runs" / "moved")
    main(["export", "moved"])
    assert Registry(Settings(models=workplace / "models")).find("moved").metadata.name == "moved"
    shutil.rmtree(workplace / "models" / "moved")


def test_a_run_of_another_network_is_not_exported(workplace: Path) -> None:
    run = workplace / "runs" / "misfit"
    shutil.copytree(workplace / "runs" / "small-1", run)
    with np.load(run / "checkpoint.npz") as file:
        arrays = dict(file)
    arrays["best/0"] = arrays["best/0"][..., :-1]
    np.savez(run / "checkpoint.npz", **arrays)
    with pytest.raises(SystemExit, match="checkpoint of 'misfit' does not fit the network of this version"):
        main(["export", "misfit"])
    assert not (workplace / "models" / "misfit").exists()


def test_a_training_says_where_it_goes_on(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "small", "--overwrite"])
    assert f"runs/small-1: goes on after epoch {CONFIG.epochs} of {CONFIG.epochs}" in capsys.readouterr().out


def test_a_finished_artifact_is_not_overwritten_unasked(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = metadata(workplace)
    for command in ("train", "export"):
        with pytest.raises(SystemExit, match="models/small is there already; --overwrite replaces it"):
            main([command, "small-1"])
    assert metadata(workplace) == before
    main(["export", "small-1", "--overwrite"])
    timed = {"files": None, "precision": None}
    assert {**metadata(workplace), **timed} == {**before, **timed}
    assert "of the test pictures right" in capsys.readouterr().out


def test_the_graph_finds_held_out_pictures_more_typical_than_negatives_and_the_metadata_how_typical(
    workplace: Path,
) -> None:
    folder = workplace / "models" / "small"
    training, validation = data.split(data.load_training(workplace), validation=CONFIG.data.validation)
    images = (validation.images, turned_negatives(training.images))
    model = keras.models.load_model(folder / "model.keras")
    known, negatives = (of_length_one(features(model, pictures)) for pictures in images)
    energies = [np.logaddexp.reduce(evaluate.logits(model, pictures), axis=1) for pictures in images]
    products = cross_fitted(known, negatives)
    level, spread = energies[0].mean(), energies[0].std()
    graph = ReferenceEvaluator(onnx.load(folder / "model.onnx"))
    found = [graph.run(["typicality"], {"image": pictures})[0] for pictures in images]
    for typicalities, ours, energy in zip(found, (known, negatives), energies, strict=True):
        expected = ours @ direction(known, negatives) / products.std() + (energy - level) / spread
        assert typicalities == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert found[0].mean() > found[1].mean()
    about: dict[str, Any] = metadata(workplace)
    held_out = products / products.std() + (energies[0] - level) / spread
    assert about["out_of_distribution"]["quantiles"] == pytest.approx(quantiles(held_out), abs=1e-3)


def test_what_follows_from_the_checkpoint_can_be_made_anew(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = workplace / "models" / "small"
    other = workplace / "models" / "renewed"
    shutil.copytree(folder, other)
    about: dict[str, Any] = metadata(workplace)
    about["name"], about["calibration"]["temperature"] = "renewed", 3.0
    about["accuracy"]["served"] = {"accuracy": 0.5, "precision": "float32", "date": "2026-01-01"}
    for name in ("reliability.png", "model.int8.onnx"):
        (other / name).unlink()
        del about["files"][name]
    del about["precision"]
    (other / "metadata.json").write_text(json.dumps(about))
    main(["renew", "renewed"])
    assert "models/renewed: answers otherwise than before; no longer on its card: served\n" in capsys.readouterr().out
    found: dict[str, Any] = json.loads((other / "metadata.json").read_text())
    before: dict[str, Any] = metadata(workplace)
    different = {"name": None, "files": None, "precision": None}
    assert {**found, **different} == {**before, **different}
    for name in ("reliability.png", "confusion.png", "model.onnx", "model.int8.onnx", "history.csv", "model.keras"):
        assert (other / name).read_bytes() == (folder / name).read_bytes()
    assert (
        Registry(Settings(models=workplace / "models")).find("renewed").metadata.precision.exact
        == found["precision"]["exact"]
    )
    (other / "model.keras").write_bytes(b"PK")
    with pytest.raises(SystemExit, match=r"renewed/model\.keras: damaged"):
        main(["renew", "renewed"])
    shutil.rmtree(other)


def test_evaluate_prints_the_cards_figures_again(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", "small"])
    said = capsys.readouterr().out
    about: dict[str, Any] = metadata(workplace)
    accuracy, error = f"{about['accuracy']['test']:.2%}", f"{about['calibration']['ece_test']:.2%}"
    assert f"| accuracy | {accuracy} | {accuracy} |" in said
    assert f"| calibration error | {error} | {error} |" in said
    for label, recall in about["accuracy"]["per_class"].items():
        assert f"| {label} | {recall:.1%} | {recall:.1%} |" in said


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.keras", b"PK", "models/damaged/model.keras: damaged; SHA-256 is .*, metadata.json expects "),
        ("model.onnx", None, "models/damaged/model.onnx: cannot be read .No such file or directory."),
        ("metadata.json", b'{"name": "dam', "models/damaged/metadata.json: damaged "),
        ("metadata.json", b"[]", "models/damaged/metadata.json: damaged "),
        ("metadata.json", b'{"files": {}}', "models/damaged/metadata.json: damaged .no digest of model.keras"),
        ("metadata.json", None, "models/damaged/metadata.json: cannot be read .No such file or directory."),
    ],
)
def test_a_damaged_artifact_is_not_evaluated_and_not_sealed_again(
    workplace: Path, file: str, content: bytes | None, message: str
) -> None:
    damaged = workplace / "models" / "damaged"
    shutil.copytree(workplace / "models" / "small", damaged)
    (damaged / file).write_bytes(content) if content else (damaged / file).unlink()
    try:
        for more in ([], ["--served", "http://nowhere", "--record"]):
            with pytest.raises(SystemExit, match=message):
                main(["evaluate", "damaged", *more])
    finally:
        shutil.rmtree(damaged)


def test_a_missing_artifact_is_answered_with_those_there_are(workplace: Path) -> None:
    with pytest.raises(SystemExit, match="models/large: no such artifact; models has small"):
        main(["evaluate", "large"])


def test_fields_are_set_and_the_result_has_a_name_and_a_card_of_its_own(workplace: Path) -> None:
    before = metadata(workplace)
    fields = ["network.pool=stochastic", "network.dropconnect=0.5", "network.filters=4", "epochs=1"]
    main(["train", "small", "--name", "other", *(part for field in fields for part in ("--set", field))])
    assert metadata(workplace) == before
    other: dict[str, Any] = json.loads((workplace / "models" / "other" / "metadata.json").read_text())
    recipe = other["recipe"]
    assert (other["name"], other["version"]) == ("other", recipe["digest"][:8])
    assert (recipe["network"]["pool"], recipe["network"]["filters"]) == ("stochastic", [4, 4])
    assert (recipe["base"], recipe["changes"]) == ("small-1", fields)
    assert "stochastic pooling" in {layer["kind"] for layer in other["layers"]}
    assert (workplace / "runs" / "other" / "checkpoint.npz").exists()
    card = (workplace / "models" / "other" / "README.md").read_text()
    assert "convoscope train small-1 --name other \\\n  --set 'network.pool=stochastic' " in card
    main(["export", "other", "--overwrite"])
    again: dict[str, Any] = json.loads((workplace / "models" / "other" / "metadata.json").read_text())
    assert again["recipe"] == other["recipe"]
    main(["evaluate", "other"])
    shutil.rmtree(workplace / "models" / "other")


@pytest.mark.parametrize(
    ("available", "by_hand", "expected"),
    [
        (("int8", "float32"), False, "float32"),
        (("int8", "float32", "bfloat16"), False, "float32"),  # instructions for it, but no AMX
        (("bfloat16", "int8", "float32"), False, "mixed_bfloat16"),
        (("int8", "float32"), True, "mixed_bfloat16"),
    ],
)
def test_bfloat16_without_amx_is_trained_in_float32_unless_it_is_set_by_hand(
    monkeypatch: pytest.MonkeyPatch, available: tuple[str, ...], by_hand: bool, expected: str
) -> None:
    monkeypatch.setattr(engine, "precisions", lambda: available)
    assert make.computed_in(FAST, by_hand) == expected
    assert make.computed_in(TUTORIAL, by_hand) == "float32"


def test_what_was_measured_elsewhere_and_still_holds_stays_on_the_card(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = workplace / "models"
    shutil.copytree(models / "small", models / "moved")
    before: dict[str, Any] = metadata(workplace)
    found = {"accuracy": 0.5, "flagged": 0.1, "precision": "int8"}
    records.record(models / "moved", "served", found, graph=before["files"]["model.onnx"])
    monkeypatch.setattr(engine, "precisions", lambda: ("float32",))
    monkeypatch.setattr(provenance, "machine", lambda: "another machine")
    main(["renew", "moved"])
    assert "no longer on its card" not in capsys.readouterr().out
    after: dict[str, Any] = json.loads((models / "moved" / "metadata.json").read_text())
    assert after["accuracy"]["served"].items() >= found.items()
    rows = after["precision"]["measured"]
    assert rows["float32"]["machine"] == "another machine"
    assert rows["int8"] == before["precision"]["measured"]["int8"]
    assert f"| {before['training']['machine']} |" in (models / "moved" / "README.md").read_text()
    shutil.rmtree(models / "moved")


def test_a_trial_without_a_name_does_not_overwrite(workplace: Path) -> None:
    before = metadata(workplace)
    with pytest.raises(SystemExit, match=r"models/small is there already; .* --name writes another"):
        main(["train", "small", "--set", "network.dropout=0.4"])
    with pytest.raises(SystemExit, match=r"another recipe .network\.dropout=0\.4.; choose another run folder"):
        main(["train", "small", "--set", "network.dropout=0.4", "--overwrite"])
    assert metadata(workplace) == before


def test_where_nothing_can_be_written_is_told_before_the_training(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(SystemExit, match="Not a directory: 'recipes/small-1"):
        main(["train", "small", "--models", "recipes/small-1.toml/models"])
    monkeypatch.setattr(os, "access", lambda path, mode: "nowhere" not in str(path))
    with pytest.raises(SystemExit, match="cannot be written: 'nowhere'"):
        main(["train", "small", "--models", "nowhere"])


def test_the_precisions_are_measured_again_and_recorded_and_nothing_else_changes(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = workplace / "models" / "slow"
    shutil.copytree(workplace / "models" / "small", folder)
    about: dict[str, Any] = metadata(workplace)
    measured = about["precision"]["measured"]
    for row in measured.values():
        row |= {"pictures_per_second": 1, "machine": "an older machine"}
        del row["changed"]
    (folder / "metadata.json").write_text(json.dumps(about))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    main(["evaluate", "slow", "--precisions"])
    assert "| answers changed |" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    main(["evaluate", "slow", "--precisions", "--record"])
    found: dict[str, Any] = json.loads((folder / "metadata.json").read_text())
    for name in engine.precisions():
        row = found["precision"]["measured"][name]
        assert row["pictures_per_second"] > 1
        assert row["machine"] == provenance.machine()
        assert row["validation"] == measured[name]["validation"]
        assert f"| {name} | {row['validation']:.2%} | {row['changed']:.2%} |" in (folder / "README.md").read_text()
    different = {"files": None, "precision": None}
    assert {**found, **different} == {**about, **different}
    unchanged = before.keys() - {"metadata.json", "README.md"}
    assert {name: (folder / name).read_bytes() for name in unchanged} == {name: before[name] for name in unchanged}
    shutil.rmtree(folder)


def test_recording_needs_a_measurement(workplace: Path) -> None:
    with pytest.raises(SystemExit, match="--record needs --served URL or --precisions"):
        main(["evaluate", "small", "--record"])


def test_a_card_is_rendered_again_and_nothing_else_changes(workplace: Path) -> None:
    folder = workplace / "models" / "small"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "README.md").write_text("spoilt")
    main(["card", "small"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_is_served_is_measured_over_http_and_recorded(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files: dict[str, str] = metadata(workplace)["files"]  # type: ignore[assignment]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/models/small":
            return httpx.Response(200, json={"precision": "bfloat16", "files": files})
        assert request.headers["content-type"] == "application/x-npy"
        found = [{"index": 3, "is_ood": label == 0} for label in VALIDATION.labels.tolist()]
        return httpx.Response(200, json={"predictions": found})

    client = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **options: client(transport=httpx.MockTransport(answer), **options))
    main(["evaluate", "small", "--served", "http://test", "--record"])
    expected = float(np.mean(VALIDATION.labels == 3))
    assert f"{expected:.2%} over HTTP in bfloat16" in capsys.readouterr().out
    served = Registry(Settings(models=workplace / "models")).find("small").metadata.accuracy.served
    assert served is not None
    assert served.accuracy == pytest.approx(expected)
    assert served.precision == "bfloat16"
    card = (workplace / "models" / "small" / "README.md").read_text()
    assert "over HTTP, bfloat16" in card
    assert f"{np.mean(VALIDATION.labels == 0):.1%} of the test pictures are called out of distribution." in card
    before, files = metadata(workplace), {"model.onnx": "0" * 64}
    with pytest.raises(SystemExit, match="models/small: holds another network than was measured; not written down"):
        main(["evaluate", "small", "--served", "http://test", "--record"])
    assert metadata(workplace) == before


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"precision": "int8", "files": {"model.onnx": ""}}'])
def test_what_is_no_convoscope_is_told_apart(workplace: Path, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    client, transport = httpx.Client, httpx.MockTransport(lambda request: httpx.Response(200, content=body))
    monkeypatch.setattr(httpx, "Client", lambda **options: client(transport=transport, **options))
    with pytest.raises(SystemExit, match="http://test: does not answer as Convoscope does"):
        main(["evaluate", "small", "--served", "http://test"])


def test_who_writes_an_artifact_waits_for_another_who_does(workplace: Path) -> None:
    folder = workplace / "models" / "small"
    found = {"mean_per_class": 0.752, "count": 73, "labels": 8}
    graph = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    with ThreadPoolExecutor(1) as pool:
        with artifact._alone(folder.parent):
            second = pool.submit(records.record, folder, "photographs", found, graph=graph)
            with pytest.raises(TimeoutError):
                second.result(0.5)
        second.result(10)


def test_photographs_are_recorded_on_the_card(workplace: Path) -> None:
    folder = workplace / "models" / "small"
    found = {"mean_per_class": 0.752, "count": 73, "labels": 8}
    graph = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    records.record(folder, "photographs", found, graph=graph)
    assert "ROC curve" not in (folder / "README.md").read_text()
    records.record(folder, "photographs", found | {"auroc": 0.8769, "others": 66}, graph=graph)
    card = (folder / "README.md").read_text()
    assert "| 73 real photographs of 8 of its labels over HTTP, mean of the labels, " in card
    assert " | 75.2% |" in card
    assert (
        "tells 66 photographs of other things from those of its labels with an area under the ROC curve of 0.877"
        in card
    )
    Registry(Settings(models=workplace / "models"))


def test_a_failure_while_recording_leaves_the_artifact_as_it_was(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in (workplace / "models").rglob("*") if path.is_file()}
    graph = hashlib.sha256(before[workplace / "models" / "small" / "model.onnx"]).hexdigest()
    write_text = Path.write_text

    def full(path: Path, text: str) -> int:
        write_text(path, text[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    found = {"mean_per_class": 0.1, "count": 73, "labels": 8}
    with pytest.raises(OSError, match="No space left"):
        records.record(workplace / "models" / "small", "photographs", found, graph=graph)
    assert {path: path.read_bytes() for path in (workplace / "models").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nope"], "no recipe is called 'nope'; expected one of accurate-1, "),
        (["train", "fast", "--set", "network.dropout=0.4"], "no field is called 'network.dropout'"),
        (["train", "tutorial", "--set", "network.dropout=1.5"], "network.dropout.0 is .1.5.; expected less than 1"),
        (["export", "fast", "--runs", "nowhere"], "nowhere/fast/checkpoint.npz: no such checkpoint"),
        (["evaluate", "nope"], "models/nope: no such artifact; models has none"),
    ],
)
def test_a_failure_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message) as stop:
        main(arguments)
    assert "\n" not in str(stop.value.code)


def test_an_interruption_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(commands.COMMANDS, "train", interrupted)
    with pytest.raises(SystemExit, match="130"):
        main(["train", "tutorial"])
    said = capsys.readouterr().err
    assert said == "\nconvoscope: stopped; the same command goes on from the last whole epoch\n"


def test_a_failure_is_all_that_a_process_writes() -> None:
    command = [sys.executable, "-m", "training", "evaluate", "nope"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 1
    assert found.stderr.startswith("convoscope: models/nope: no such artifact; models has ")
    assert (len(found.stderr.splitlines()), found.stdout) == (1, "")


def test_the_digest_of_every_file_is_in_the_metadata(workplace: Path) -> None:
    folder = workplace / "models" / "small"
    files = metadata(workplace)["files"]
    assert isinstance(files, dict)
    assert files == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "metadata.json"
    }
