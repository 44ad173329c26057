"""The rules and the dashboard of deploy/, read by Debian's Prometheus, which also scrapes a real service."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import PICTURES, ClientFactory

pytestmark = pytest.mark.slow

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())


@pytest.fixture(autouse=True)
def _needs_prometheus() -> None:
    if not shutil.which("prometheus") and not os.environ.get("CONVOSCOPE_REQUIRE_ALL"):
        pytest.skip("needs Debian's prometheus, which is not installed")


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "rules", "rules.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "rules_test.yml"],
    ],
)
def test_promtool_accepts_the_files(arguments: list[str]) -> None:
    subprocess.run(["promtool", *arguments], cwd=RULES.parent, check=True)


def test_promtool_finds_nothing_to_say_about_our_metrics(client: httpx.Client) -> None:
    client.post("/predict", content=(PICTURES / "cat.png").read_bytes())
    ours = [line for line in client.get("/metrics").text.splitlines() if "convoscope_" in line]
    subprocess.run(["promtool", "check", "metrics"], input="\n".join(ours) + "\n", text=True, check=True)


@pytest.fixture(scope="module")
def service(make_client: ClientFactory) -> httpx.Client:
    """A service that wants a key, also for /metrics, and has been asked."""
    client = make_client(api_keys="prometheus:prometheus-0123456789")
    client.headers["X-API-Key"] = "prometheus-0123456789"
    return client


@pytest.fixture(scope="module")
def prometheus(service: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Prometheus with our rules, twice a second, after some predictions."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "key").write_text("prometheus-0123456789")
    text = (RULES.parent / "prometheus.yml").read_text()
    text = text.replace("15s", "500ms\n  evaluation_interval: 500ms").replace("[rules.yml]", f"[{RULES}]")
    text = text.replace(":8000", f":{service.base_url.port}").replace("# authorization", "authorization")
    (folder / "prometheus.yml").write_text(text)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    process = subprocess.Popen(["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"])
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30) as client:
            yield client
    finally:
        process.terminate()
        process.wait()


def ask(prometheus: httpx.Client, query: str) -> list[dict[str, Any]]:
    answer = prometheus.get("/query", params={"query": query}).json()
    assert answer["status"] == "success", (query, answer)
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def increased(prometheus: httpx.Client) -> set[str]:
    """Labels that were predicted between two scrapes."""
    query = "increase(convoscope_predictions_total[5m]) > 0"
    return {found["metric"]["label"] for found in ask(prometheus, query)}


def test_prometheus_scrapes_the_service_with_a_key_and_sees_what_was_predicted(
    prometheus: httpx.Client, service: httpx.Client
) -> None:
    pictures = [path.read_bytes() for path in sorted(PICTURES.glob("*.png"))]
    wanted = 'convoscope:ood_score:drift1h{job="convoscope"}'
    end = time.monotonic() + 120
    while True:
        for picture in pictures:
            service.post("/predict", content=picture).raise_for_status()
        try:
            if ask(prometheus, wanted) and {"cat", "frog", "ship"} <= increased(prometheus):
                break
        except httpx.TransportError:  # it is starting
            pass
        assert time.monotonic() < end
        time.sleep(1)
    (up,) = ask(prometheus, 'up{job="convoscope"}')
    assert up["value"][1] == "1"
    assert ask(prometheus, "convoscope:confidence:shift1h")
    drifts = [float(drift["value"][1]) for drift in ask(prometheus, wanted)]  # of each network that any test has asked
    assert 0 <= min(drifts) <= max(drifts) <= 1
    (asked,) = ask(prometheus, 'convoscope_key_requests_total{key="prometheus", outcome="admitted"}')
    assert float(asked["value"][1]) > 0


def test_every_query_of_the_dashboard_is_one_of_metrics_that_exist(
    prometheus: httpx.Client, service: httpx.Client
) -> None:
    recorded = set(re.findall(r"record: (\S+)", RULES.read_text()))
    known = set(re.findall(r"^# TYPE (convoscope_\w+)", service.get("/metrics").text, re.MULTILINE)) | recorded
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "1m").replace("$job", "convoscope")
            ask(prometheus, query.replace("$model", ".+"))
            for name in re.findall(r"convoscope[_:][\w:]+", target["expr"]):
                assert name in known or re.sub(r"_(bucket|sum|count)$", "", name) in known, name
