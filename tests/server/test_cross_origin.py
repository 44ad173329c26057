import httpx
import pytest
from prometheus_client import REGISTRY

from tests.conftest import ClientFactory

ORIGIN = "https://shop.example"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-mine"}


@pytest.fixture(scope="module")
def open_client(make_client: ClientFactory) -> httpx.Client:
    return make_client(cors_origins=f"{ORIGIN}, https://other.example")


def test_no_other_origin_is_allowed_without_the_setting(client: httpx.Client, frog: bytes) -> None:
    answer = client.post("/predict", content=frog, headers={"Origin": ORIGIN, "Content-Type": "image/png"})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-origin" not in client.options("/predict", headers=PREFLIGHT).headers


@pytest.mark.parametrize("path", ["/predict", "/convolve", "/v2/models/fast/infer"])
def test_a_preflight_is_answered(open_client: httpx.Client, path: str) -> None:
    answer = open_client.options(path, headers=PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "x-mine"


def test_answers_and_failures_may_be_read(open_client: httpx.Client, frog: bytes) -> None:
    headers = {"Origin": ORIGIN, "Content-Type": "image/png"}
    for content, path in [(frog, "/predict"), (b"hello", "/predict"), (frog, "/nope"), (b"", "/v2/models/fast/infer")]:
        answer = open_client.post(path, content=content, headers=headers)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
        assert "Origin" in answer.headers["vary"]


def test_an_origin_that_is_not_named_is_not_allowed(open_client: httpx.Client, frog: bytes) -> None:
    headers = {"Origin": "https://evil.example", "Content-Type": "image/png"}
    assert "access-control-allow-origin" not in open_client.post("/predict", content=frog, headers=headers).headers
    assert open_client.options("/predict", headers=PREFLIGHT | headers).status_code == 400


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/predict", "POST, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/models/fast", "GET, HEAD, POST, OPTIONS"),
        ("/static/style.css", "GET, HEAD, OPTIONS"),
        ("/ping", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_names_the_methods(client: httpx.Client, path: str, allowed: str) -> None:
    answer = client.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allowed, b"")
    assert client.options("/nope").status_code == 404


@pytest.mark.parametrize("path", ["/", "/models", "/healthz", "/v2", "/v1/models/fast", "/ping", "/openapi.json"])
def test_head_is_get_without_its_body(client: httpx.Client, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers["content-length"] == get.headers["content-length"]


def test_preflights_are_counted_and_have_an_id(open_client: httpx.Client) -> None:
    def counted(status: int) -> float:
        labels = {"method": "OPTIONS", "route": "(preflight)", "status": str(status)}
        return REGISTRY.get_sample_value("convoscope_http_requests_total", labels) or 0.0

    before = counted(200), counted(400)
    answer = open_client.options("/predict", headers=PREFLIGHT | {"X-Request-ID": "mine"})
    assert answer.headers["x-request-id"] == "mine"
    assert "total;dur=" in answer.headers["server-timing"]
    refused = open_client.options("/anything", headers=PREFLIGHT | {"Origin": "https://evil.example"})
    assert refused.headers["x-request-id"]
    assert (counted(200), counted(400)) == (before[0] + 1, before[1] + 1)
