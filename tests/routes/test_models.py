import httpx
import pytest

from app.inference.engine import supported_precision
from tests.conftest import assert_problem


def test_models_are_listed_with_their_accuracy_and_cost(client: httpx.Client) -> None:
    models = {model["name"]: model for model in client.get("/models").json()["models"]}
    assert models.keys() == {"accurate", "fast", "tutorial"}
    assert [name for name, model in models.items() if model["default"]] == ["accurate"]
    assert models["accurate"]["accuracy"] > models["fast"]["accuracy"] >= 0.94
    assert models["accurate"]["multiply_adds"] <= 700_000_000
    assert models["fast"]["multiply_adds"] <= 130_000_000
    assert 0.48 <= models["tutorial"]["accuracy"] <= 0.55


def test_a_model_tells_its_layers(client: httpx.Client) -> None:
    model = client.get("/models/tutorial").json()
    assert model["precision"] == supported_precision("auto", ("float32", "int8"))
    layers = {layer["name"]: layer for layer in model["layers"]}
    assert layers["conv2"] == {
        "name": "conv2",
        "inputs": ["dropout1"],
        "kind": "convolution",
        "input_shapes": [[32, 32, 32]],
        "output_shape": [30, 30, 32],
        "parameters": 3 * 3 * 32 * 32 + 32,
        "multiply_adds": 30 * 30 * 32 * 3 * 3 * 32,
        "kernel": [3, 3],
        "stride": [1, 1],
        "padding": "valid",
        "activation": "relu",
        "receptive_field": {"size": [5, 5], "step": [1, 1], "start": [-1, -1]},
        "explanation": layers["conv2"]["explanation"],
    }
    assert layers["dense"]["parameters"] == 15 * 15 * 32 * 512 + 512
    assert sum(layer["parameters"] for layer in model["layers"]) == model["parameters"]


@pytest.mark.parametrize("path", ["/models/nope", "/models/%20", "/models/Fast"])
def test_an_unknown_model_is_a_404_that_lists_the_known(client: httpx.Client, path: str) -> None:
    body = assert_problem(client.get(path), 404, "not-found", "model")
    assert "fast, tutorial" in body["detail"]
