"""POST /feature-maps against Keras' own activations, and the kernels the maps come from."""

import io
import time
from typing import Any

import httpx
import keras
import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.errors import InvalidInput
from app.interpret.feature_maps import described, select
from tests.conftest import MODELS, PICTURES, ClientFactory, assert_problem
from training import models  # noqa: F401, registers what the networks are made of

NETWORKS = sorted(path.parent.name for path in MODELS.glob("*/metadata.json"))
FROG = PICTURES / "frog.png"


def ask(client: httpx.Client, accept: str = "application/json", content: bytes = b"", **params: Any) -> httpx.Response:
    headers = {"Content-Type": "image/png", "Accept": accept}
    return client.post("/feature-maps", content=content or FROG.read_bytes(), params=params, headers=headers)


def arrays(response: httpx.Response) -> dict[str, NDArray[np.float32]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-npz"
    with np.load(io.BytesIO(response.content)) as file:
        return dict(file)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_of_every_network_shows_what_keras_computes(client: httpx.Client, name: str) -> None:
    network = keras.models.load_model(MODELS / name / "model.keras")
    layers = [layer.name for layer in network.layers[1:]]
    picture = np.asarray(Image.open(FROG).convert("RGB"))[None]
    expected = keras.Model(network.input, [network.get_layer(layer).output for layer in layers])(picture)
    found = arrays(ask(client, "application/x-npz", model=name, layer=layers))
    assert list(found) == layers
    for layer, values in zip(layers, expected, strict=True):
        values = np.asarray(values)[0]
        assert found[layer].shape == values.shape, layer
        # The kernels are stored in half precision; all arithmetic is float32.
        np.testing.assert_allclose(found[layer], values, atol=5e-3 * np.abs(values).max(), err_msg=layer)


def test_by_default_every_convolution_is_shown_as_numbers(client: httpx.Client) -> None:
    body = ask(client).json()
    kinds = {layer["name"]: layer["kind"] for layer in client.get("/models/fast").json()["layers"]}
    assert [layer["name"] for layer in body["layers"]] == [
        name for name, kind in kinds.items() if kind == "convolution"
    ]
    files = arrays(ask(client, "application/x-npz"))
    for layer in body["layers"]:
        output = files[layer["name"]]
        assert layer["shape"] == list(output.shape)
        assert [one["channel"] for one in layer["maps"]] == list(range(output.shape[-1]))
        for one in layer["maps"][:: max(1, len(layer["maps"]) // 5)]:
            values = output[..., one["channel"]]
            np.testing.assert_allclose(one["values"], values, atol=5.1e-5)
            assert one["minimum"] == pytest.approx(values.min())
            assert one["maximum"] == pytest.approx(values.max())
            assert one["mean"] == pytest.approx(values.mean(), abs=1e-5)
            assert one["zeros"] == pytest.approx((values == 0).mean())


def test_channels_top_and_decimals_narrow_the_answer(client: httpx.Client) -> None:
    whole = arrays(ask(client, "application/x-npz", layer="group1_act3"))["group1_act3"]
    most = np.argsort(-np.abs(whole).mean(axis=(0, 1)))[:3].tolist()
    (layer,) = ask(client, layer="group1_act3", top=3, decimals=1).json()["layers"]
    assert [one["channel"] for one in layer["maps"]] == most
    np.testing.assert_allclose(layer["maps"][0]["values"], whole[..., most[0]], atol=0.051)
    assert "." not in str(layer["maps"][0]["values"][0][0]).rstrip("0")[3:]
    (layer,) = ask(client, layer="group1_act3", channels=[5, 2, 5]).json()["layers"]
    assert [one["channel"] for one in layer["maps"]] == [5, 2]
    (layer,) = ask(client, layer="group1_act3", channels=[5, 2, 9], top=1).json()["layers"]
    assert [one["channel"] for one in layer["maps"]] == [max([5, 2, 9], key=lambda c: np.abs(whole[..., c]).mean())]


def test_the_layer_image_is_what_the_network_receives(client: httpx.Client, frog: bytes) -> None:
    answer = ask(client, layer=["image", "whiten"], channels=[0, 1])
    image, whitened = answer.json()["layers"]
    assert (image["shape"], whitened["name"]) == ([32, 32, 3], "whiten")
    pixels = np.asarray(Image.open(io.BytesIO(frog)).convert("RGB"))
    for shown, channel in zip(image["maps"], (0, 1), strict=True):
        assert np.array_equal(shown["values"], pixels[..., channel])


def test_a_list_of_features_is_one_map(client: httpx.Client) -> None:
    body = ask(client, layer=["probabilities", "pool"], channels=[0, 6]).json()
    (one,) = body["layers"][0]["maps"]
    assert (one["channel"], one["units"]) == (None, [0, 6])
    assert body["layers"][0]["shape"] == [10]
    assert one["values"][1] > 0.5
    assert one["maximum"] == pytest.approx(one["values"][1], abs=1e-4)


@pytest.mark.parametrize("scale", ["layer", "map", "all"])
def test_a_contact_sheet_is_a_picture(client: httpx.Client, scale: str) -> None:
    response = ask(client, "image/png", layer=["whiten", "group3_act3", "pool"], scale=scale)
    assert response.headers["content-type"] == "image/png"
    sheet = np.asarray(Image.open(io.BytesIO(response.content)))
    assert sheet.shape[0] > 500
    assert sheet.shape[1] <= 1300
    assert len(np.unique(sheet @ np.array([65_536, 256, 1]))) > 200


def test_what_is_not_there_is_refused_with_what_is(client: httpx.Client, frog: bytes) -> None:
    unknown = assert_problem(ask(client, layer="nope"), 404, "not-found", "layer")
    assert "expected one of image, normalize, whiten, " in unknown["detail"]
    assert_problem(ask(client, model="nope"), 404, "not-found", "model")
    channel = assert_problem(ask(client, layer="whiten", channels=24), 422, "invalid-input", "channels")
    assert channel["detail"] == "channel is 24; expected 0 to 23, because whiten has 24"
    assert_problem(ask(client, layer="whiten", channels=-1), 422, "invalid-input", "channels")
    assert_problem(ask(client, top=0), 422, "invalid-input", "top")
    assert_problem(ask(client, decimals=10), 422, "invalid-input", "decimals")
    assert_problem(ask(client, scale="x"), 422, "invalid-input", "scale")
    assert_problem(ask(client, "text/html"), 406, "not-acceptable", "Accept")
    assert_problem(ask(client, content=b"hello"), 415, "unsupported-picture", "body")
    assert_problem(ask(client, content=frog[:200]), 422, "invalid-input", "body")
    two = client.post("/feature-maps", files=[("a", frog), ("b", frog)])
    assert_problem(two, 422, "invalid-input", "body")


def test_too_long_an_answer_is_refused_with_the_numbers(make_client: ClientFactory) -> None:
    client = make_client(max_json_values=5000)
    refusal = assert_problem(ask(client, layer="whiten"), 413, "too-large", "Accept")
    assert "23064 values; expected at most 5000" in refusal["detail"]
    assert "layer, channels or top" in refusal["detail"]
    assert ask(client, layer="whiten", top=2).status_code == 200
    assert ask(client, "application/x-npz", layer="whiten").status_code == 200


def test_convolving_by_hand_with_the_learned_kernels_gives_the_networks_own_map(client: httpx.Client) -> None:
    for model, layer, before in (("fast", "whiten", "normalize"), ("tutorial", "conv1", "rescale")):
        files = arrays(ask(client, "application/x-npz", model=model, layer=[before, layer]))
        learned = client.get(f"/models/{model}/layers/{layer}/kernels", params={"filter": 3}).json()
        total = np.full(files[layer].shape[:2], learned["bias"][3])
        for channel in range(3):
            body = {
                "input": files[before][..., channel],
                "mask": {"model": model, "layer": layer, "filter": 3, "channel": channel},
                "operation": "correlation",
                "padding": learned["padding"] if layer == "conv1" else "valid",
                "stride": learned["stride"],
            }
            content = orjson.dumps(body | {"input": body["input"].tolist()})
            answer = client.post("/convolve", content=content, headers={"Content-Type": "application/json"})
            total += answer.json()["output"]
            mask = next(k["values"] for k in learned["kernels"] if k["channel"] == channel)
            assert answer.json()["applied"]["mask"] == pytest.approx(np.array(mask))
        expected = np.maximum(total, 0) if layer == "conv1" else total
        np.testing.assert_allclose(files[layer][..., 3], expected, atol=1e-4)


def test_kernels_come_as_numbers_and_as_a_sheet(client: httpx.Client) -> None:
    kernel = keras.models.load_model(MODELS / "tutorial" / "model.keras").get_layer("conv2").kernel.numpy()
    url = "/models/tutorial/layers/conv2/kernels"
    body = client.get(url, params={"filter": [1, 30], "channel": [0, 5]}).json()
    assert body["shape"] == [3, 3, 32, 32]
    assert (body["stride"], body["padding"]) == ([1, 1], "valid")
    assert [(k["filter"], k["channel"]) for k in body["kernels"]] == [(1, 0), (1, 5), (30, 0), (30, 5)]
    for one in body["kernels"]:
        np.testing.assert_allclose(one["values"], kernel[:, :, one["channel"], one["filter"]], atol=1e-3)
    assert client.get("/models/fast/layers/group3_conv2/kernels", params={"filter": 0}).json()["bias"] is None
    sheet = client.get(url, params={"filter": 1}, headers={"Accept": "image/png"})
    assert Image.open(io.BytesIO(sheet.content)).width > 1000


def test_a_dense_layer_has_kernels_of_1_x_1(client: httpx.Client, frog: bytes) -> None:
    body = client.get("/models/tutorial/layers/logits/kernels", params={"filter": 6}).json()
    assert body["shape"] == [1, 1, 512, 10]
    weights = np.array([one["values"] for one in body["kernels"]])
    assert weights.shape == (512, 1, 1)
    query: dict[str, Any] = {"model": "tutorial", "layer": ["dropout2", "logits"], "decimals": 9}
    answer = client.post("/feature-maps", params=query, files={"image": frog}).json()
    features, logits = (layer["maps"][0]["values"] for layer in answer["layers"])
    assert weights.ravel() @ features + body["bias"][6] == pytest.approx(logits[6], abs=0.05)


def test_kernels_that_are_not_there_or_too_many_are_refused(client: httpx.Client) -> None:
    unknown = assert_problem(client.get("/models/fast/layers/pool/kernels"), 404, "not-found", "layer")
    assert "expected one of whiten, group1_conv1" in unknown["detail"]
    url = "/models/fast/layers/group3_conv2/kernels"
    assert_problem(client.get(url, params={"filter": 256}), 422, "invalid-input", "filter")
    assert_problem(client.get(url, params={"channel": -1}), 422, "invalid-input", "channel")
    assert_problem(client.get(url, headers={"Accept": "image/png"}), 413, "too-large", "filter")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_architecture_says_how_each_layer_computes(client: httpx.Client, name: str) -> None:
    layers = client.get(f"/models/{name}").json()["layers"]
    sizes = {layer["name"]: layer["output_shape"] for layer in layers} | {"image": [32, 32, 3]}
    for layer in layers:
        assert len(layer["explanation"]) > 30
        assert layer["explanation"].endswith(".")
        assert [sizes[source] for source in layer["inputs"]] == layer["input_shapes"]
        assert len(layer["receptive_field"]["size"]) == 2
    by_name = {layer["name"]: layer for layer in layers}
    if name == "tutorial":
        assert by_name["conv1"]["explanation"] == (
            "Each of 32 filters, with 3 x 3 weights for each of 3 input channels, slides over the input, to which a "
            "border of zeros is added, in steps of 1; at every place it multiplies the values it covers by its weights "
            "and adds up the products, then adds a bias, then negative values become 0 (ReLU); the filter is not "
            "flipped, so mathematically this is a correlation."
        )
        assert by_name["pool"]["receptive_field"] == {"size": [6, 6], "step": [2, 2], "start": [-1, -1]}


def test_selecting_and_describing_by_hand() -> None:
    output = np.array([[[0.0, -2, 1.25]], [[0, 4, 1.25]]], np.float32)
    assert select(output, "x", [], None) == [0, 1, 2]
    assert select(output, "x", [], 2) == [1, 2]
    with pytest.raises(InvalidInput, match="channel is 3; expected 0 to 2, because x has 3"):
        select(output, "x", [3], None)
    zero, one = described(output, [0, 1], 0)
    assert (zero["zeros"], one["zeros"]) == (1, 0)
    assert (one["minimum"], one["maximum"], one["mean"]) == (-2, 4, 1)
    assert np.array_equal(np.array(one["values"]), [[-2], [4]])


def test_many_sets_of_layers_cost_no_more_than_one(client: httpx.Client) -> None:
    """No set is compiled for itself, so that different sets do not keep the threads from others' work."""
    names = [layer["name"] for layer in client.get("/models/fast").json()["layers"]]
    ask(client, "application/x-npz", model="fast", layer=names[0]).raise_for_status()
    started = time.process_time()
    for i in range(1, 21):
        ask(client, "application/x-npz", model="fast", layer=names[:i]).raise_for_status()
    assert time.process_time() - started < 2.5
