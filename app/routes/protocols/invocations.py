"""The contract of containers: SageMaker's and MLflow's `/invocations` and `/ping`; Vertex AI's routes lead here too.

SageMaker: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
MLflow: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally, its scoring server's JSON.
Vertex AI: https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
"""

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response

from app import __version__
from app.deadline import Checkpoint
from app.errors import Draining, InvalidInput
from app.inference.metadata import Input, Metadata
from app.inference.prediction import prediction
from app.routes.protocols.classify import Read, classify, served
from app.settings import Settings
from app.wire import instances, json, options, pictures
from app.wire.pictures import Pictures

router = APIRouter(include_in_schema=False)

DEFAULT_TOP_K = 3
IMAGE = "application/x-image"
"""What SageMaker's own image classifiers call a picture of any format."""
FORMS = ("instances", "inputs", "dataframe_split", "dataframe_records", "images")
"""Members of a JSON body, of which it has exactly one; `images` is as in /predict."""
PARAMETERS = ("params", "parameters")
"""What MLflow and Vertex AI call the options beside them."""


@router.get("/ping", response_class=PlainTextResponse)
@router.get("/health", response_class=PlainTextResponse)
async def ping(request: Request) -> str:
    """The default network is loaded and new work is taken. Raises Draining once the service is stopping."""
    if request.app.state.in_flight.draining:
        raise Draining("the service is stopping and takes no new work")
    return "ok"


@router.get("/version", response_class=PlainTextResponse)
async def version() -> str:
    return __version__


@router.post("/invocations")
async def invocations(request: Request, model: Annotated[str | None, Query()] = None) -> Response:
    """What /predict says of each picture, as `predictions`."""
    network = served(request, model)
    done = await classify(request, network, _reader(request.headers.get("content-type", ""), network.metadata))
    found = [prediction(scores, network.metadata, done.asked) for scores in done.scores]
    return Response(orjson.dumps({"predictions": found}), headers=done.headers, media_type="application/json")


def _reader(content_type: str, metadata: Metadata) -> Read[int]:
    """Reads a body to its pictures and `top_k`."""
    most = len(metadata.labels)

    def read(content: bytes, settings: Settings, checkpoint: Checkpoint) -> tuple[Pictures, int]:
        if not instances.is_json(content_type, content):
            declared = "" if content_type == IMAGE else content_type
            return pictures.every(declared, content, metadata.input, settings, checkpoint), min(DEFAULT_TOP_K, most)
        document = json.parse_object(content, "body", settings.max_json_values)
        top_k = _top_k(document, most)
        return _pictures(document, metadata.input, settings, checkpoint), top_k

    return read


def _pictures(document: Mapping[str, Any], input: Input, settings: Settings, checkpoint: Checkpoint) -> Pictures:
    """Raises InvalidInput, TooLarge, UnsupportedPicture."""
    given = [form for form in FORMS if form in document]
    if len(given) != 1:
        detail = f"the body has {', '.join(document) or 'nothing':.200}; expected exactly one of {', '.join(FORMS)}"
        raise InvalidInput.about("body", detail)
    (form,) = given
    value, where = document[form], f"/{form}"
    if form == "inputs":
        return instances.of_inputs(value, where, input, settings, checkpoint)
    if form == "dataframe_split":
        value, where = _rows(value), f"{where}/data"
    return instances.of_instances(value, where, input, settings, checkpoint)


def _rows(frame: object) -> list[object]:
    """The one column of a data frame that pandas wrote with `orient="split"`. Raises InvalidInput."""
    data = frame.get("data") if isinstance(frame, dict) else None
    if not isinstance(data, list) or not all(isinstance(row, list) and len(row) == 1 for row in data):
        detail = f"dataframe_split is {json.shown(frame)}; expected rows of one column, the picture, under data"
        raise InvalidInput.about("/dataframe_split/data", detail)
    return [row[0] for row in data]


def _top_k(document: Mapping[str, Any], most: int) -> int:
    """Raises InvalidInput."""
    name = next((name for name in PARAMETERS if name in document), PARAMETERS[0])
    given = document.get(name)
    if not isinstance(given, dict | None):
        raise InvalidInput.about(f"/{name}", f"{name} is {json.shown(given)}; expected an object")
    return options.top_k((given or {}).get("top_k"), f"/{name}/top_k", most, DEFAULT_TOP_K)
