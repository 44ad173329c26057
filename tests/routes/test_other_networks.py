"""Networks with other labels, sizes and channels than the shipped ones, through every door of the service."""

import base64
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests import artifacts
from tests.artifacts import npy, picture, png
from tests.conftest import ClientFactory, assert_problem

NPY = {"Content-Type": "application/x-npy"}
THOUSAND = [f"thing {i}" for i in range(1000)]
SCRIPTS = ["猫", "Hündin", "крот", "🦔 ёж"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labels in grey, a thousand in colour, labels in several scripts, and no layers at all."""
    folder = tmp_path_factory.mktemp("models")
    artifacts.write(folder / "grey", channels=1)
    artifacts.write(folder / "thousand", THOUSAND, size=64, calibration={"temperature": 2.0}, typicality=True)
    artifacts.write(folder / "scripts", SCRIPTS, size=48, pictures=3, input={"size": 48, "fit": "stretch"})
    artifacts.write(folder / "bare", size=17 * 2, layers=[])
    return folder


@pytest.fixture(scope="module")
def mine(make_client: ClientFactory, models: Path) -> httpx.Client:
    return make_client(models=models, precision="float32")


@pytest.mark.parametrize(("model", "channels"), [("grey", 1), ("thousand", 3), ("scripts", 3), ("bare", 3)])
def test_predictions_are_those_of_the_graph(mine: httpx.Client, models: Path, model: str, channels: int) -> None:
    about = mine.get(f"/models/{model}").json()
    size, labels = about["input"]["size"], about["labels"]
    pictures = np.array([picture(size, seed, channels) for seed in range(5)])
    answer = mine.post("/predict", params={"model": model, "top_k": len(labels)}, content=npy(pictures), headers=NPY)
    temperature = (about["calibration"] or {"temperature": 1})["temperature"]
    rows = artifacts.expected(models / model, pictures) ** (1 / temperature)
    for row, found in zip(rows / rows.sum(axis=1, keepdims=True), answer.json()["predictions"], strict=True):
        assert found["label"] == labels[row.argmax()]
        assert [one["index"] for one in found["top"]] == np.argsort(-row, kind="stable").tolist()
        np.testing.assert_allclose([one["probability"] for one in found["top"]], sorted(row, reverse=True), atol=2e-4)


def test_a_picture_of_any_kind_becomes_what_the_network_takes(mine: httpx.Client) -> None:
    """In grey by luma; a file, an array in colour and an array in grey say the same."""
    colour = picture(16)
    grey = np.asarray(Image.fromarray(colour).convert("L"))[..., None]
    arrays = [colour, grey, grey[None]]
    bodies = [(png(colour), {"Content-Type": "image/png"}), *((npy(array), NPY) for array in arrays)]
    answers = [mine.post("/predict", params={"model": "grey"}, content=body, headers=kind) for body, kind in bodies]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.content for answer in answers}) == 1
    instances = [{"b64": base64.b64encode(png(colour)).decode()}, colour.tolist(), grey.tolist()]
    found = [mine.post("/v1/models/grey:predict", json={"instances": [one]}).json() for one in instances]
    assert found[0] == found[1] == found[2]


def test_how_a_picture_becomes_square_is_the_artifacts_choice(mine: httpx.Client) -> None:
    wide = Image.fromarray(picture(200)).resize((300, 100))
    file = io.BytesIO()
    wide.save(file, "PNG")
    stretched = np.asarray(wide.resize((48, 48), Image.Resampling.BICUBIC, reducing_gap=3.0))
    ways = [(file.getvalue(), {"Content-Type": "image/png"}), (npy(stretched), NPY)]
    answers = [mine.post("/predict", params={"model": "scripts"}, content=body, headers=kind) for body, kind in ways]
    assert answers[0].content == answers[1].content
    box = mine.post("/explain", params={"model": "scripts"}, files={"image": file.getvalue()}).json()["seen"]
    assert box == [0, 0, 1, 1]


def test_what_an_artifact_does_not_know_is_null(mine: httpx.Client) -> None:
    def said_by(model: str) -> dict[str, Any]:
        answer = mine.post("/predict", params={"model": model}, content=npy(picture(16)), headers=NPY)
        (found,) = answer.json()["predictions"]
        return dict(found)

    found = said_by("grey")
    assert found["ood_score"] is None
    assert found["is_ood"] is None
    assert len(found["top"]) == 2
    about = mine.get("/models/grey").json()
    assert [about[name] for name in ("calibration", "out_of_distribution", "training", "accuracy")] == [None] * 4
    known = said_by("thousand")
    assert 0 < known["ood_score"] < 1
    assert known["is_ood"] is False
    assert len(known["top"]) == 3


def test_top_k_is_at_most_the_number_of_labels(mine: httpx.Client) -> None:
    for model, top_k, status in [("grey", 2, 200), ("grey", 3, 422), ("thousand", 1000, 200), ("thousand", 1001, 422)]:
        answer = mine.post("/predict", params={"model": model, "top_k": top_k}, content=npy(picture(16)), headers=NPY)
        assert answer.status_code == status
    detail = assert_problem(answer, 422, "invalid-input", "top_k")["detail"]
    assert detail == "top_k is 1001; expected an integer from 1 to 1000"
    form = mine.post("/predict", files={"image": png(picture(40))}, data={"model": "grey", "top_k": "3"})
    assert_problem(form, 422, "invalid-input", "top_k")


def test_views_are_those_of_any_network(mine: httpx.Client) -> None:
    """In grey, and where the network cannot tell how typical a view is."""
    sent: dict[str, Any] = {"files": {"image": png(picture(200))}}
    for model in ("grey", "thousand"):
        (found,) = mine.post("/predict", params={"model": model, "views": 14}, **sent).json()["predictions"]
        assert found["views"] == 12  # a square picture has no other whole
        assert (found["ood_score"] is None) == (model == "grey")


def test_a_form_may_name_the_network_after_its_picture(mine: httpx.Client) -> None:
    """Which size the picture is reduced to is only known when the whole form has been read."""
    sent: dict[str, Any] = {"files": {"image": png(picture(100))}}
    for model in ("grey", "thousand", "scripts"):
        named = mine.post("/predict", data={"model": model}, **sent)
        assert named.json() == mine.post("/predict", params={"model": model}, **sent).json()


def test_a_message_about_a_thousand_labels_names_a_few(mine: httpx.Client) -> None:
    answer = mine.post("/explain", params={"model": "thousand", "label": "?"}, files={"image": png(picture(64))})
    detail = assert_problem(answer, 422, "invalid-input", "label")["detail"]
    assert detail.endswith("thing 19, … (1000 in all)")


@pytest.mark.parametrize(("model", "size", "channels", "labels"), [("grey", 16, 1, 2), ("thousand", 64, 3, 1000)])
def test_the_protocols_say_what_the_network_takes_and_gives(
    mine: httpx.Client, model: str, size: int, channels: int, labels: int
) -> None:
    v2 = mine.get(f"/v2/models/{model}").json()
    assert v2["inputs"][0]["shape"] == [-1, size, size, channels]
    outputs = {output["name"]: output["shape"] for output in v2["outputs"]}
    assert outputs["probabilities"] == outputs["logits"] == [-1, labels]
    assert ("ood_score" in outputs) == (model == "thousand")
    v1 = mine.get(f"/v1/models/{model}/metadata").json()["metadata"]["signature_def"]["signature_def"]
    signature = v1["serving_default"]
    sides = [dimension["size"] for dimension in signature["inputs"]["image"]["tensor_shape"]["dim"]]
    assert sides == ["-1", str(size), str(size), str(channels)]
    config = mine.get(f"/v2/models/{model}/config").json()
    assert config["input"][0]["dims"] == [size, size, channels]
    pixels = picture(size, channels=channels)[None]
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(pixels.shape), "data": pixels.ravel().tolist()}
    answer = mine.post(f"/v2/models/{model}/infer", json={"inputs": [tensor]}).json()
    assert {output["name"]: output["shape"][1:] for output in answer["outputs"]}["probabilities"] == [labels]
    (row,) = mine.post(f"/v1/models/{model}:predict", json={"instances": pixels.tolist()}).json()["predictions"]
    assert len(row) == labels


def test_a_score_that_the_network_does_not_give_is_not_an_output(mine: httpx.Client) -> None:
    pixels = picture(16, channels=1).ravel().tolist()
    tensor = {"name": "image", "datatype": "UINT8", "shape": [16, 16, 1], "data": pixels}
    answer = mine.post("/v2/models/grey/infer", json={"inputs": [tensor], "outputs": [{"name": "ood_score"}]})
    assert answer.status_code == 422
    assert answer.json()["error"].endswith("whose name is one of probabilities, logits, labels, scores")


def test_feature_maps_and_kernels_have_the_artifacts_shapes(mine: httpx.Client) -> None:
    sent: dict[str, Any] = {"files": {"image": png(picture(64))}}
    (layer,) = mine.post("/feature-maps", params={"model": "thousand"}, **sent).json()["layers"]
    assert layer["shape"] == [32, 32, 4]
    (image,) = mine.post("/feature-maps", params={"model": "grey", "layer": "image"}, **sent).json()["layers"]
    assert image["shape"] == [16, 16, 1]
    kernels = mine.get("/models/grey/layers/conv/kernels").json()
    assert kernels["shape"] == [3, 3, 1, 4]
    mask = {"model": "grey", "layer": "conv", "filter": 3, "channel": 0}
    body = {"input": np.eye(5).tolist(), "mask": mask, "operation": "correlation", "padding": "valid"}
    (values,) = [kernel["values"] for kernel in kernels["kernels"] if kernel["filter"] == 3]
    assert mine.post("/convolve", json=body).json()["output"][1][1] == pytest.approx(np.trace(values))
    assert_problem(mine.post("/feature-maps", params={"model": "bare"}, **sent), 404, "not-found", "layer")


@pytest.mark.parametrize(("model", "side"), [("grey", 16), ("thousand", 64), ("scripts", 48)])
@pytest.mark.parametrize("method", ["lime", "cam", "occlusion"])
def test_an_explanation_has_the_networks_resolution(mine: httpx.Client, model: str, side: int, method: str) -> None:
    options = {"model": model, "method": method}
    answer = mine.post("/explain", params=options, files={"image": png(picture(side))}).json()
    assert answer["shape"] == [side, side]
    assert 0 <= np.min(answer["heatmap"]) <= np.max(answer["heatmap"]) <= 1
    if method == "occlusion":
        left, top, right, bottom = answer["patches"][0]["box"]
        assert (right - left, bottom - top) == pytest.approx((0.25, 0.25))


def test_what_a_network_cannot_explain_is_said(mine: httpx.Client) -> None:
    sent: dict[str, Any] = {"files": {"image": png(picture(64))}}
    for method, fields in (("cam", ["method"]), ("lime", []), ("occlusion", [])):
        answer = mine.post("/explain", params={"model": "bare", "method": method}, **sent)
        assert answer.status_code == (422 if fields else 200)
        assert [error["field"] for error in answer.json().get("errors", [])] == fields
    large = mine.post("/explain", params={"model": "grey", "method": "occlusion", "size": 17}, **sent)
    assert "expected 1 to 16" in assert_problem(large, 422, "invalid-input", "size")["detail"]


def test_examples_and_the_card_are_sent_and_nothing_else(mine: httpx.Client, models: Path) -> None:
    examples = mine.get("/models/scripts").json()["examples"]
    assert [example["label"] for example in examples] == SCRIPTS[:3]
    sent = mine.get(f"/models/scripts/files/{examples[1]['file']}")
    assert sent.content == (models / "scripts" / "examples" / "1.png").read_bytes()
    assert (sent.headers["content-type"], sent.headers["x-content-type-options"]) == ("image/png", "nosniff")
    assert mine.get("/models/scripts@1/files/README.md").text == "# scripts\n"
    for file in ("model.onnx", "metadata.json", "examples/9.png", "..%2f..%2fetc%2fpasswd.png", "../grey/README.md"):
        assert mine.get(f"/models/scripts/files/{file}").status_code == 404
    (models / "scripts" / "examples" / "2.png").write_bytes(b"another picture")
    assert_problem(mine.get("/models/scripts/files/examples/2.png"), 503, "unavailable")


def test_labels_in_any_script_come_back_as_they_are(mine: httpx.Client) -> None:
    sent: dict[str, Any] = {"files": {"image": png(picture(48))}}
    assert mine.get("/models/scripts").json()["labels"] == SCRIPTS
    found = mine.post("/predict", params={"model": "scripts", "top_k": 4}, **sent).json()["predictions"][0]["top"]
    assert {one["label"] for one in found} == set(SCRIPTS)
    explained = mine.post("/explain", params={"model": "scripts", "label": "🦔 ёж"}, **sent).json()
    assert explained["label"] == "🦔 ёж"
