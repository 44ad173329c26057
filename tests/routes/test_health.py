import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from tests.conftest import assert_problem, running


def test_a_started_service_is_alive_and_ready(client: httpx.Client) -> None:
    assert (client.get("/healthz").status_code, client.get("/healthz").text) == (200, "ok")
    assert client.get("/readyz").status_code == 200


def test_metrics_count_requests_by_route_and_status(client: httpx.Client, frog: bytes) -> None:
    def count(status: int) -> float:
        line = f'convoscope_http_requests_total{{method="POST",route="/predict",status="{status}"}} '
        found = re.search(re.escape(line) + r"(\S+)", client.get("/metrics").text)
        return float(found[1]) if found else 0

    before = count(200), count(415)
    for content in (frog, frog, b"hello"):
        client.post("/predict", content=content, headers={"Content-Type": "image/png"})
    assert (count(200), count(415)) == (before[0] + 2, before[1] + 1)


def test_metrics_have_everything_they_promise(client: httpx.Client, frog: bytes) -> None:
    client.post("/predict", content=frog, headers={"Content-Type": "image/png"})
    client.get("/no/such/page")
    text = client.get("/metrics").text
    for line in (
        r'convoscope_http_request_duration_seconds_bucket\{le="0\.005",method="POST",route="/predict",status="200"\} ',
        r'convoscope_http_requests_total\{method="GET",route="unmatched",status="404"\} ',
        r"convoscope_http_requests_in_flight 1\.0",
        r'convoscope_queue_pictures\{model="accurate"\} 0\.0',
        r'convoscope_batch_pictures_bucket\{le="32\.0",model="accurate"\} ',
        r'convoscope_inference_duration_seconds_count\{model="accurate"\} ',
        r"process_resident_memory_bytes ",
    ):
        assert re.search(f"^{line}", text, re.MULTILINE), line


def test_the_documentation_works_without_the_internet(client: httpx.Client) -> None:
    page = client.get("/docs").text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(assets) >= 3
    for asset in assets:
        assert asset.startswith("/"), "an asset comes from another host"
        assert client.get(asset).status_code == 200
    assert "url: '/openapi.json'" in page


def test_openapi_describes_the_forms_and_the_failures(client: httpx.Client) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    assert operation["requestBody"]["content"].keys() == {
        "multipart/form-data",
        "image/*",
        "application/json",
        "application/x-npy",
        "application/octet-stream",
    }
    expected = {200, 400, 403, 404, 408, 413, 415, 422, 431, 500, 503, 504}
    assert {int(status) for status in operation["responses"]} == expected


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        value = list(value.values())
    if isinstance(value, list):
        for element in value:
            yield from references(element)


def test_openapi_has_all_that_it_refers_to_and_problems_by_their_media_type(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    for reference in (found := set(references(document))):
        place = document
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]
    assert len(found) > 20
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert answer["content"].keys() == {"application/problem+json"}, (path, status)


@pytest.mark.parametrize(
    "accept", ["text/html", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"]
)
def test_a_browser_gets_the_page(client: httpx.Client, accept: str) -> None:
    answer = client.get("/", headers={"Accept": accept})
    assert answer.text.startswith("<!doctype html>")
    assert answer.headers["vary"] == "Accept-Encoding, Accept"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json, text/html;q=0.9"])
def test_another_program_learns_at_the_root_that_the_service_is_alive(client: httpx.Client, accept: str) -> None:
    answer = client.get("/", headers={"Accept": accept})
    assert (answer.json(), answer.headers["vary"]) == ({"status": "alive"}, "Accept")
    assert client.head("/", headers={"Accept": accept}).headers["content-type"] == "application/json"


def test_a_draining_service_is_alive_but_not_ready_and_takes_no_work() -> None:
    app = create_app(Settings())
    with running(app) as client:
        app.state.in_flight.draining = True
        assert client.get("/healthz").status_code == 200
        assert_problem(client.get("/readyz"), 503, "draining")
        response = client.get("/models")
        assert_problem(response, 503, "draining")
        assert response.headers["retry-after"] == "5"
