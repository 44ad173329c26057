"""The OpenAPI document says what the service takes, no more and no less."""

from typing import Any

import pytest
from httpx import Client

from app.main import create_app
from app.settings import Settings
from tests.conftest import assert_problem


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def form(document: dict[str, Any], path: str) -> dict[str, Any]:
    """The schema of a route's form."""
    reference = document["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]["$ref"]
    found: dict[str, Any] = document["components"]["schemas"][reference.split("/")[-1]]
    return found


@pytest.mark.parametrize("path", ["/predict", "/explain", "/feature-maps"])
def test_a_form_offers_a_file_to_upload(document: dict[str, Any], path: str) -> None:
    part = form(document, path)["properties"]["image"]
    file = part["items"] if path == "/predict" else part
    assert (file["type"], file["format"]) == ("string", "binary")


@pytest.mark.parametrize("path", ["/predict", "/explain", "/feature-maps", "/convolve", "/pool"])
def test_generators_find_named_forms_and_a_binary_body_that_they_know(document: dict[str, Any], path: str) -> None:
    content = document["paths"][path]["post"]["requestBody"]["content"]
    assert content["multipart/form-data"]["schema"].keys() == {"$ref"}
    assert content["application/octet-stream"]["schema"]["format"] == "binary"


def test_no_parameter_of_a_url_is_null(document: dict[str, Any]) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    parameters = [parameter for operation in operations for parameter in operation.get("parameters", ())]
    assert len(parameters) > 20
    assert not [parameter["name"] for parameter in parameters if "anyOf" in parameter["schema"]]


@pytest.mark.parametrize(
    ("path", "method", "name"),
    [
        ("/feature-maps", "post", "channels"),
        ("/models/{name}/layers/{layer}/kernels", "get", "filter"),
        ("/models/{name}/layers/{layer}/kernels", "get", "channel"),
    ],
)
def test_filters_and_channels_count_from_0(document: dict[str, Any], path: str, method: str, name: str) -> None:
    (schema,) = [p["schema"] for p in document["paths"][path][method]["parameters"] if p["name"] == name]
    assert schema["items"] == {"type": "integer", "minimum": 0}


def test_a_label_to_explain_is_not_empty(client: Client, document: dict[str, Any], frog: bytes) -> None:
    (schema,) = [p["schema"] for p in document["paths"]["/explain"]["post"]["parameters"] if p["name"] == "label"]
    assert schema["minLength"] == 1
    assert_problem(client.post("/explain?label=", content=frog), 422, "invalid-input", "label")


def test_the_examples_are_answered(client: Client, document: dict[str, Any]) -> None:
    for path in ("/predict", "/explain", "/feature-maps", "/convolve", "/pool"):
        example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert client.post(path, json=example).status_code == 200, path


def test_lists_have_the_lengths_that_are_taken(document: dict[str, Any]) -> None:
    fields = document["components"]["schemas"]["ConvolveBody"]["properties"]
    assert fields["input"]["minItems"] == 1
    for name in ("stride", "dilation", "padding"):
        (lengths,) = [(c["minItems"], c["maxItems"]) for c in fields[name]["anyOf"] if c.get("type") == "array"]
        assert lengths == (1, 3)
    assert document["components"]["schemas"]["PicturesBody"]["properties"]["images"]["minItems"] == 1


@pytest.mark.parametrize("path", ["/convolve", "/pool"])
def test_options_are_said_to_be_json(document: dict[str, Any], path: str) -> None:
    operation = document["paths"][path]["post"]
    (parameter,) = operation["parameters"]
    assert parameter["schema"]["contentMediaType"] == "application/json"
    part = form(document, path)["properties"]["options"]
    assert part["contentMediaType"] == "application/json"
    assert part["contentSchema"]["$ref"].split("/")[-1] in document["components"]["schemas"]


def test_every_reference_resolves(document: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_operations_have_short_unique_names_and_described_tags(document: dict[str, Any]) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert {"predict", "convolve", "pool", "show_feature_maps", "explain", "list_models"} <= set(names)
    described = {tag["name"] for tag in document["tags"]}
    assert {tag for operation in operations for tag in operation["tags"]} == described
    assert all(operation["summary"] and operation["description"] for operation in operations)


def test_what_linters_want_said_is_said(document: dict[str, Any]) -> None:
    """The errors of Redocly's and Spectral's default rules: servers, security, license."""
    assert document["servers"]
    assert document["security"] == []
    assert document["info"]["license"]["name"] == "MIT"


def test_every_failure_is_typed(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            failures = {int(status) for status in operation["responses"] if status >= "4"}
            assert failures >= {403, 431, 500} | ({408} if method == "post" else set()), path
            assert (503 in failures) == (path not in ("/healthz", "/metrics"))  # which a full service answers, too
            for status in failures:
                content = operation["responses"][str(status)]["content"]
                assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
