"""The service as two replicas, one on each node of a cluster."""

import asyncio
import os
import re
import signal
import socket
from collections.abc import Iterator

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from convoscope_client import AsyncClient
from tests import artifacts
from tests.cluster.conftest import PATIENCE, Cluster
from tests.conftest import running, until

pytestmark = pytest.mark.slow
REPLICA = "ray::ServeReplica"
ATTEMPTS = 3
"""To start the service: Ray waits a minute for its proxies, however busy the machine is."""
CALLERS, CALLS = 8, 60
PICTURES = [artifacts.png(artifacts.picture(16, seed)) for seed in range(CALLERS)]


@pytest.fixture(scope="module")
def service(cluster: Cluster, mini: Settings) -> Iterator[str]:
    """The address of the service, which ends in good order."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    arguments = "-m", "app", "serve", "--ray", cluster.address, "--port", port, "--workers", "2"
    models = str(mini.models)
    url = f"http://127.0.0.1:{port}"
    for attempt in range(ATTEMPTS):
        with cluster.started(*arguments, MODELS=models, MAX_BATCH="4", PRECISION="float32") as (process, line):
            if not line and attempt < ATTEMPTS - 1:
                continue
            assert line.startswith(f"Convoscope on {url} of each node of the Ray cluster at {cluster.address}, stop")
            yield url
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)  # Ray has said that a replica died
            assert process.returncode == 0
        break
    until(lambda: not cluster.processes(REPLICA), PATIENCE)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


@pytest.fixture(scope="module")
def expected(mini: Settings) -> list[object]:
    """What the application says of each picture without Ray."""
    with running(create_app(mini)) as client:
        return [
            client.post("/predict", content=picture, headers={"Content-Type": "image/png"}).json()
            for picture in PICTURES
        ]


def test_it_answers_as_the_plain_service_does(service: str, expected: list[object]) -> None:
    with httpx.Client(base_url=service, timeout=60) as client:
        for picture, said in zip(PICTURES, expected, strict=True):
            answer = client.post("/predict", content=picture, headers={"Content-Type": "image/png"})
            assert answer.json() == said
            assert re.search(r"infer;dur=\d", answer.headers["Server-Timing"])
        wrong = client.post("/predict", content=b"no picture", headers={"Content-Type": "image/png"})
        assert (wrong.status_code, wrong.json()["type"]) == (415, "/problems/unsupported-picture")
        assert client.get("/readyz").text == "ok"


def test_a_killed_replica_loses_only_what_it_had_and_a_retry_answers_that(
    cluster: Cluster, service: str, expected: list[object]
) -> None:
    until(lambda: len(cluster.processes(REPLICA)) == 2, PATIENCE)
    first, _ = cluster.processes(REPLICA)
    answered, lost = [0], [0]

    class Counting(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            try:
                response = await super().handle_async_request(request)
            except httpx.TransportError:
                lost[0] += 1
                raise
            lost[0] += response.status_code >= 500
            return response

    async def call(client: AsyncClient, number: int) -> None:
        for _ in range(CALLS):
            answer = await client.predict(PICTURES[number])
            assert answer.model_dump(exclude_unset=True) == expected[number]
            answered[0] += 1
            if answered[0] == CALLERS * CALLS // 3:
                os.kill(first, signal.SIGKILL)

    async def work() -> None:
        async with AsyncClient(service, transport=Counting(), timeout=60, retries=20) as client:
            await asyncio.gather(*(call(client, number) for number in range(CALLERS)))

    asyncio.run(work())
    assert answered == [CALLERS * CALLS]
    assert lost[0] <= CALLERS
    until(lambda: len({*cluster.processes(REPLICA)} - {first}) == 2, PATIENCE)
