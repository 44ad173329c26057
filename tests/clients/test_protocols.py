"""The examples of docs/how-to/protocols.md, executed as they stand there, with the real clients at pinned versions."""

import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.clients.environment import python_with, run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "protocols.md").read_text()
CLIENTS = ("tritonclient[http]==2.73.0", "kserve==0.21.0", "huggingface_hub==2.4.0")
OF_CONTAINERS = ("mlflow-skinny==3.17.2", "sagemaker-core==2.27.0", "pandas==3.1.1")
TRIED = {"tritonclient": "b'frog'", "kserve": "'labels'", "huggingface_hub": "label='frog'"}
"""A client's package, and a part of what its example prints."""


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the clients, in an environment apart from ours: they bring other versions of our packages."""
    return python_with(tmp_path_factory.mktemp("clients"), *CLIENTS)


@pytest.fixture(scope="session")
def python_for_containers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the clients of /invocations, whose requirements contradict those of the others."""
    return python_with(tmp_path_factory.mktemp("containers"), *OF_CONTAINERS)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def against(client: httpx.Client, example: str) -> str:
    """The example, aimed at the test's service instead of the default port."""
    assert "127.0.0.1:8000" in example
    return example.replace("127.0.0.1:8000", f"127.0.0.1:{client.base_url.port}")


def test_the_page_names_the_versions_that_are_tried() -> None:
    for requirement in (*CLIENTS, *OF_CONTAINERS[:2]):
        name, version = re.sub(r"\[.*\]", "", requirement).split("==")
        assert f"{name} {version}" in PAGE


@pytest.mark.slow
@pytest.mark.parametrize("package", TRIED)
def test_a_client_works_as_the_page_shows(client: httpx.Client, python: Path, package: str) -> None:
    (example,) = [block for block in blocks("python") if f"{package}" in block]
    assert TRIED[package] in run(ROOT, python, "-c", against(client, example))


def test_the_curl_examples_answer(client: httpx.Client) -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 5
    for command in commands:
        done = subprocess.run(["sh", "-ec", against(client, command)], cwd=ROOT, capture_output=True, check=True)
        answer = httpx.Response(200, content=done.stdout).json()
        assert answer.keys() & {"predictions", "results"}, answer


TRITON = """
import numpy as np, tritonclient.http as triton
from tritonclient.utils import InferenceServerException

client = triton.InferenceServerClient("127.0.0.1:8000")
assert client.is_server_live() and client.is_server_ready()
(version,) = client.get_model_metadata("fast")["versions"]
assert client.is_model_ready("fast", version)
assert client.get_server_metadata()["name"] == "convoscope"
assert client.get_model_metadata("fast")["inputs"][0]["shape"] == [-1, 32, 32, 3]
assert client.get_model_config("fast")["input"][0]["dims"] == [32, 32, 3]
assert {model["name"] for model in client.get_model_repository_index()} >= {"fast"}
assert client.get_inference_statistics("fast")["model_stats"][0]["name"] == "fast"
client.load_model("fast")
pixels = np.zeros((2, 32, 32, 3), np.uint8)
for binary in (True, False):
    for coding in (None, "gzip", "deflate"):
        tensor = triton.InferInput("image", list(pixels.shape), "UINT8")
        tensor.set_data_from_numpy(pixels, binary_data=binary)
        wanted = [
            triton.InferRequestedOutput("probabilities", binary_data=binary),
            triton.InferRequestedOutput("logits", binary_data=binary, class_count=2),
        ]
        answer = client.infer("fast", [tensor], outputs=wanted, request_id="7", request_compression_algorithm=coding)
        assert answer.get_response()["id"] == "7"
        assert abs(answer.as_numpy("probabilities").sum() - 2) < 1e-5
        assert answer.as_numpy("logits").shape == (2, 2)
        assert client.infer("fast", [tensor], model_version=version).as_numpy("labels").shape == (2, 3)
for call in (lambda: client.unload_model("fast"), lambda: client.infer("nope", [tensor])):
    try:
        call()
    except InferenceServerException as error:
        assert "expected" in error.message(), error
    else:
        raise AssertionError
"""

KSERVE = """
import asyncio, httpx, numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

URL = "http://127.0.0.1:8000"

async def main():
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(URL) and await client.is_server_ready(URL)
    assert await client.is_model_ready(URL, "fast") and not await client.is_model_ready(URL, "nope")
    for binary in (True, False):
        tensor = InferInput("image", [1, 32, 32, 3], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 32, 32, 3), np.float32), binary_data=binary)
        request = InferRequest(model_name="fast", infer_inputs=[tensor], request_id="7")
        answer = await client.infer(URL, request, model_name="fast")
        assert answer.id == "7" and answer.model_name == "fast"
    try:
        await client.infer(URL, request, model_name="nope")
    except httpx.HTTPStatusError as error:
        assert "no model is called 'nope'" in str(error)
    else:
        raise AssertionError
    old = InferenceRESTClient(RESTConfig(protocol="v1"))
    assert await old.is_server_live(URL) and await old.is_model_ready(URL, "fast")
    answer = await old.infer(URL, {"instances": [np.zeros((32, 32, 3), int).tolist()]}, model_name="fast")
    assert len(answer["predictions"][0]) == 10

asyncio.run(main())
"""

HUGGING_FACE = """
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

client = InferenceClient()
model = "http://127.0.0.1:8000/models/fast"
content = open("tests/pictures/frog.png", "rb").read()
for picture in ("tests/pictures/frog.png", content):
    for options in ({}, {"top_k": 5}, {"function_to_apply": "softmax"}):
        found = client.image_classification(picture, model=model, **options)
        assert len(found) == 5 and found[0].label == "frog", found
try:
    client.image_classification(b"hello", model=model)
except HfHubHTTPError as error:
    assert 'begins with the text "hello"' in str(error)
else:
    raise AssertionError
"""

MLFLOW = """
import base64
import numpy as np, pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

client = ScoringServerClient("127.0.0.1", 8000)
client.wait_server_ready()
assert client.get_version()
text = base64.b64encode(open("tests/pictures/frog.png", "rb").read()).decode()
for data in ([text, text], pd.DataFrame({"image": [text, text]}), np.zeros((2, 32, 32, 3), np.uint8)):
    answer = client.invoke(data, params={"top_k": 2})
    found = answer["predictions"]
    assert len(answer.get_predictions()) == 2
    assert [len(prediction["top"]) for prediction in found] == [2, 2], found
    assert isinstance(data, np.ndarray) or [prediction["label"] for prediction in found] == ["frog", "frog"], found
try:
    client.invoke(["hello"])
except Exception as error:
    assert "error code 422" in str(error) and "expected" in str(error), error
else:
    raise AssertionError
"""

SAGEMAKER = """
import io, json
import numpy as np
from sagemaker.core.local.local_session import LocalSagemakerRuntimeClient

client = LocalSagemakerRuntimeClient({"local": {"serving_port": 8000}})

def labels(body, kind):
    answer = client.invoke_endpoint(Body=body, EndpointName="any", ContentType=kind, Accept="application/json")
    return [prediction["label"] for prediction in json.loads(answer["Body"].read())["predictions"]]

picture = open("tests/pictures/frog.png", "rb").read()
assert labels(picture, "application/x-image") == labels(picture, "image/png") == ["frog"]
file = io.BytesIO()
np.save(file, np.zeros((2, 32, 32, 3), np.uint8))
assert len(labels(file.getvalue(), "application/x-npy")) == 2
assert len(labels(json.dumps({"instances": np.zeros((2, 8, 8, 3), int).tolist()}), "application/json")) == 2
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", [MLFLOW, SAGEMAKER], ids=["mlflow", "sagemaker"])
def test_the_clients_of_containers_work(client: httpx.Client, python_for_containers: Path, program: str) -> None:
    assert "8000" in program
    quiet = "env", "DO_NOT_TRACK=true"  # MLflow would report to its makers
    run(ROOT, *quiet, python_for_containers, "-c", program.replace("8000", str(client.base_url.port)))


@pytest.mark.slow
@pytest.mark.parametrize("program", [TRITON, KSERVE, HUGGING_FACE], ids=["triton", "kserve", "hugging face"])
def test_what_else_a_client_calls_works(client: httpx.Client, python: Path, program: str) -> None:
    run(ROOT, python, "-c", against(client, program))
