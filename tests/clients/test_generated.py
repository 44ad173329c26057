"""Our OpenAPI document, as others read it: linters find nothing, and the clients that generators make of it work."""

import shutil
from pathlib import Path

import httpx
import pytest

from tests.clients.environment import python_with, run, run_or_skip
from tests.conftest import PICTURES

PYTHON = ("openapi-python-client==0.29.1", "openapi-spec-validator==0.9.0", "mypy==2.4.1")
NPM = (
    "@hey-api/openapi-ts@0.95.0",
    "openapi-typescript@7.13.0",
    "openapi-fetch@0.17.0",
    "typescript@5.9.3",
    "@types/node@20",
)
LINTERS = ("@redocly/cli@2.55.0", "@stoplight/spectral-cli@6.16.3")


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs that check and generate Python."""
    return python_with(tmp_path_factory.mktemp("generators"), *PYTHON).parent


@pytest.fixture
def document(client: httpx.Client, tmp_path: Path) -> Path:
    """The OpenAPI document, in a folder with a picture."""
    shutil.copy(PICTURES / "frog.png", tmp_path)
    path = tmp_path / "openapi.json"
    path.write_bytes(client.get("/openapi.json").content)
    return path


PYTHON_CALLER = """
import base64
from io import BytesIO

from generated import Client
from generated.api.convolve import convolve
from generated.api.look_inside import explain, show_feature_maps
from generated.api.models import list_models, show_kernels
from generated.api.predict import predict
from generated.models import (
    ConvolveBody, Convolved, ConvolveForm, Explanation, FeatureMaps, KernelList, ModelList, PictureForm, PicturesBody,
    PicturesForm, PredictionList, Problem,
)
from generated.types import File

png = open("frog.png", "rb").read()
bodies = (
    lambda: PicturesForm(image=[File(BytesIO(png), "frog.png", "image/png")]),
    lambda: PicturesBody(images=[base64.b64encode(png).decode()]),
    lambda: File(BytesIO(png)),
)
with Client("http://127.0.0.1:8000") as client:
    for body in bodies:
        found = predict.sync(client=client, body=body(), model="fast", top_k=2)
        assert isinstance(found, PredictionList)
        assert [(p.label, len(p.top)) for p in found.predictions] == [("frog", 2)]

    sums = convolve.sync(client=client, body=ConvolveBody(input_=[[2, 4], [8, 10]], mask=[[1, 2], [3, 4]]))
    assert isinstance(sums, Convolved) and sums.shape == [2, 2]
    outline = \'{"mask": "outline"}\'
    form = ConvolveForm(image=File(BytesIO(png), "frog.png"), options=outline)
    for edges in (
        convolve.sync(client=client, body=form),
        convolve.sync(client=client, body=File(BytesIO(png)), options=outline),
    ):
        assert isinstance(edges, Convolved) and edges.shape == [32, 32, 3]

    maps = show_feature_maps.sync(
        client=client, body=PictureForm(image=File(BytesIO(png), "frog.png")), model="fast", layer=["whiten"], top=1
    )
    assert isinstance(maps, FeatureMaps) and maps.layers[0].maps[0].minimum < maps.layers[0].maps[0].maximum
    why = explain.sync(client=client, body=File(BytesIO(png)), model="fast")
    assert isinstance(why, Explanation) and why.label == "frog"
    models = list_models.sync(client=client)
    assert isinstance(models, ModelList) and "fast" in [model.name for model in models.models]
    kernels = show_kernels.sync("fast", "whiten", client=client, filter_=[1])
    assert isinstance(kernels, KernelList) and kernels.shape == [2, 2, 3, 24]

    no_picture = predict.sync(client=client, body=File(BytesIO(b"hello")))
    assert isinstance(no_picture, Problem) and no_picture.status == 415 and "hello" in no_picture.detail
    no_step = convolve.sync(client=client, body=ConvolveBody(input_=[1], mask=[1], stride=0))
    assert isinstance(no_step, Problem) and no_step.status == 422
    assert [error.field for error in no_step.errors or []] == ["/stride"]
"""


TYPESCRIPT_CALLER = """
import { readFileSync } from "node:fs";
import createFetchClient from "openapi-fetch";
import { createClient } from "./generated/client";
import { formDataBodySerializer } from "./generated/core/bodySerializer.gen";
import * as sdk from "./generated/sdk.gen";
import type { PicturesForm, Problem } from "./generated/types.gen";
import type { components, paths } from "./schema";

const baseUrl = "http://127.0.0.1:8000";
const png = readFileSync("frog.png");
const images = [png.toString("base64")];
const square = { input: [[2, 4], [8, 10]], mask: [[1, 2], [3, 4]] };

function same(found: unknown, expected: unknown) {
  const [got, wanted] = [JSON.stringify(found), JSON.stringify(expected)];
  if (got !== wanted) throw new Error(`${got} is not ${wanted}`);
}

async function main() {
  const client = createClient({ baseUrl });
  const query = { model: "fast", top_k: 2 };
  const json = await sdk.predict({ client, query, body: { images } });
  const form: PicturesForm = { image: [new Blob([png])] };
  // This generator types one media type of a body, JSON where there is any; others are sent like this.
  const multipart = await sdk.predict({
    client, query, body: form as never, ...formDataBodySerializer, headers: { "Content-Type": null },
  });
  const raw = await sdk.predict({
    client, query, body: new Blob([png]) as never, bodySerializer: null, headers: { "Content-Type": "image/png" },
  });
  for (const { data } of [json, multipart, raw]) {
    same(data?.predictions.map((found) => [found.label, found.top.length]), [["frog", 2]]);
  }
  same((await sdk.convolve({ client, body: square })).data?.shape, [2, 2]);
  const problem: Problem | undefined = (await sdk.convolve({ client, body: { ...square, stride: 0 } })).error;
  same([problem?.status, problem?.errors?.[0]?.field], [422, "/stride"]);
  same((await sdk.listModels({ client })).data?.models.some((model) => model.name === "fast"), true);
  same((await sdk.showFeatureMaps({ client, query: { layer: ["whiten"] }, body: { images } })).data?.layers.length, 1);

  const fetching = createFetchClient<paths>({ baseUrl });
  const found = await fetching.POST("/predict", { params: { query }, body: { images } });
  same(found.data?.predictions[0]?.label, "frog");
  const model: components["schemas"]["Model"] | undefined = (
    await fetching.GET("/models/{name}", { params: { path: { name: "fast" } } })
  ).data;
  same([model?.name, model?.labels.length], ["fast", 10]);
  same((await fetching.GET("/models/{name}", { params: { path: { name: "nope" } } })).error?.status, 404);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
"""
TSCONFIG = """{"include": ["caller.ts", "schema.d.ts", "generated"], "compilerOptions": {
"strict": true, "target": "es2022", "lib": ["es2023", "dom", "dom.iterable"], "types": ["node"],
"module": "commonjs", "moduleResolution": "node10", "outDir": "built"}}"""


@pytest.mark.slow
def test_the_document_is_valid(document: Path, tools: Path) -> None:
    run(document.parent, tools / "openapi-spec-validator", document)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("npm"), reason="needs npm")
def test_linters_find_nothing_by_their_default_rules(document: Path) -> None:
    folder = document.parent
    run_or_skip(folder, "npm", "install", "--silent", "--no-audit", "--no-fund", *LINTERS)
    tools = folder / "node_modules" / ".bin"
    quiet = "env", "REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true"
    run(folder, *quiet, tools / "redocly", "lint", document, "--max-problems=100")
    (folder / ".spectral.yaml").write_text('extends: ["spectral:oas"]')
    run(folder, tools / "spectral", "lint", document, "--fail-severity=warn")


@pytest.mark.slow
def test_a_client_of_openapi_python_client_works(client: httpx.Client, document: Path, tools: Path) -> None:
    folder = document.parent
    generate = "openapi-python-client", "generate", "--meta", "none", "--path", document, "--output-path", "generated"
    run(folder, "env", f"PATH={tools}", *generate)
    program = folder / "caller.py"
    program.write_text(PYTHON_CALLER.replace("127.0.0.1:8000", f"127.0.0.1:{client.base_url.port}"))
    # The generator's own client.py, which is the same for any document, has errors of its own, and it likes casts.
    strict = "--strict", "--no-warn-redundant-casts", "--follow-imports=silent"
    run(folder, tools / "mypy", *strict, "generated/models", "generated/api", program)
    run(folder, tools / "python", program)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("npm"), reason="needs npm")
def test_clients_of_hey_api_and_openapi_typescript_work(client: httpx.Client, document: Path) -> None:
    folder = document.parent
    run_or_skip(folder, "npm", "install", "--silent", "--no-audit", "--no-fund", *NPM)
    tools = folder / "node_modules" / ".bin"
    run(folder, tools / "openapi-ts", "--input", document, "--output", "generated", "--silent")
    run(folder, tools / "openapi-typescript", document, "--output", "schema.d.ts")
    program = TYPESCRIPT_CALLER.replace("127.0.0.1:8000", f"127.0.0.1:{client.base_url.port}")
    (folder / "caller.ts").write_text(program)
    (folder / "tsconfig.json").write_text(TSCONFIG)
    run(folder, tools / "tsc")
    run(folder, "node", "built/caller.js")
