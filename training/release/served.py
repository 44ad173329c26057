"""A running service, measured over HTTP on the test pictures."""

import io
from typing import Any

import httpx
import numpy as np

from training.data import Pictures

PICTURES_A_REQUEST = 100


class ServiceError(Exception):
    """A service does not answer as this one does."""


def measure(url: str, name: str, test: Pictures) -> tuple[dict[str, Any], str]:
    """Post every test picture to a service's /predict; gives what it found, and the SHA-256 of the graph that answered.

    That is the share of right labels, `accuracy`, the share that is called out of distribution, `flagged`, both in
    [0, 1], and the `precision` it computes in.

    Raises httpx.HTTPError where the service fails, and ServiceError where it answers as no Convoscope does.
    """
    try:
        return _measured(url, name, test)
    except (ValueError, KeyError, TypeError) as error:
        raise ServiceError(f"{url}: does not answer as Convoscope does ({error!r})") from error


def _measured(url: str, name: str, test: Pictures) -> tuple[dict[str, Any], str]:
    right = flagged = 0
    with httpx.Client(base_url=url, timeout=60) as client:
        model = client.get(f"/models/{name}").raise_for_status().json()
        computed_in, graph = model["precision"], model["files"]["model.onnx"]
        for start in range(0, len(test.labels), PICTURES_A_REQUEST):
            body = io.BytesIO()
            np.save(body, test.images[start : start + PICTURES_A_REQUEST])
            answer = client.post(
                "/predict",
                params={"model": name, "top_k": 1},
                content=body.getvalue(),
                headers={"Content-Type": "application/x-npy"},
            )
            predictions = answer.raise_for_status().json()["predictions"]
            indices = [prediction["index"] for prediction in predictions]
            right += int(np.sum(indices == test.labels[start : start + PICTURES_A_REQUEST]))
            flagged += sum(prediction["is_ood"] for prediction in predictions)
    count = len(test.labels)
    return {"accuracy": right / count, "flagged": flagged / count, "precision": computed_in}, graph
