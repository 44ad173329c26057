"""API keys: what is read from the settings, and what a request must carry, on every route of every protocol."""

import hashlib
import logging
import os
import re
from pathlib import Path
from typing import Any, NoReturn

import pytest
from httpx import Client

from app.cli import main
from app.main import create_app
from app.server import keys
from app.server.keys import BadKeys, Keys
from app.server.run import serve
from app.settings import Settings, misspelt
from convoscope_client import Client as OurClient
from convoscope_client.errors import Unauthorized
from tests.conftest import ClientFactory, assert_problem
from tests.server.unstarted import unstarted

RED, BLUE = "red-0123456789abcdef", "blue-0123456789abcdef"
LISTED = f"red:{RED},blue:{BLUE}"


@pytest.fixture(scope="module")
def locked(make_client: ClientFactory) -> Client:
    """A service that wants a key."""
    return make_client(api_keys=LISTED)


@pytest.fixture
def quick() -> Client:
    """The same without its networks, with every setting around it."""
    return unstarted(api_keys=LISTED, root_path="/vision", cors_origins="https://ours.example", metrics_public=True)


def owner(found: Keys, key: str) -> str:
    return found.owner([(b"x-api-key", key.encode())])


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {RED}"},
        {"Authorization": f"bearer   {RED}"},
        {"X-API-Key": RED},
        {"X-API-Key": BLUE},
        {"X-API-Key": RED, "Authorization": f"Bearer {RED}"},
        {"X-API-Key": RED, "Authorization": "Basic dXNlcjpwYXNz"},  # a proxy's own
    ],
)
def test_a_key_in_either_header_is_accepted(locked: Client, frog: bytes, headers: dict[str, str]) -> None:
    assert locked.post("/predict", content=frog, headers=headers).json()["predictions"][0]["label"] == "frog"


@pytest.mark.parametrize(
    ("headers", "fields", "part"),
    [
        ([], [], "needs an API key"),
        ([("X-API-Key", RED[:-1])], ["X-API-Key"], "not one that this service knows"),
        ([("X-API-Key", "")], ["X-API-Key"], "not one that this service knows"),
        ([("X-API-Key", f"{RED},{BLUE}")], ["X-API-Key"], "not one that this service knows"),
        ([("Authorization", "Bearer")], ["Authorization"], "not one that this service knows"),
        ([("Authorization", "Bearer sch\xfcssel")], ["Authorization"], "not one that this service knows"),
        ([("Authorization", "Basic dXNlcjpwYXNz")], ["Authorization"], "is not Bearer"),
        ([("X-API-Key", RED), ("X-API-Key", BLUE)], ["X-API-Key"], "different keys"),
        ([("X-API-Key", RED), ("Authorization", "Bearer x")], ["Authorization and X-API-Key"], "different keys"),
    ],
)
def test_any_other_request_is_rejected(
    locked: Client, frog: bytes, headers: list[tuple[str, str]], fields: list[str], part: str
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    answer = locked.post("/predict", content=frog, headers=raw)
    problem = assert_problem(answer, 401, "unauthorized", *fields)
    assert part in problem["detail"]
    assert RED not in answer.text
    challenge = 'Bearer realm="convoscope"'
    assert answer.headers["www-authenticate"] == (f'{challenge}, error="invalid_token"' if fields else challenge)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/predict"),
        ("POST", "/convolve"),
        ("GET", "/models"),
        ("GET", "/metrics"),
        ("GET", "/v2"),
        ("GET", "/v2/models/fast/ready"),
        ("POST", "/v2/models/fast/infer"),
        ("POST", "/v1/models/fast:predict"),
        ("POST", "/models/fast"),
        ("POST", "/invocations"),
        ("GET", "/nowhere"),
        ("POST", "/"),
        ("POST", "/healthz"),
        ("GET", "//healthz"),
        ("GET", "/staticky"),
    ],
)
def test_every_route_of_every_protocol_is_behind_the_gate(locked: Client, method: str, path: str) -> None:
    request = locked.build_request(method, locked.base_url)
    request.url = request.url.copy_with(raw_path=path.encode())
    answer = locked.send(request)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    foreign = path.startswith(("/v", "/inv", "/models/fast")) and method == "POST"
    assert ("error" in answer.json()) == (foreign or path.startswith("/v2"))


@pytest.mark.parametrize(
    "path",
    [
        *("/healthz", "/readyz", "/ping", "/health", "/v2/health/live", "/v2/health/ready"),
        *("/", "/static/js/main.js", "/docs", "/docs/assets/swagger-ui.css", "/openapi.json"),
    ],
)
def test_probes_and_files_that_are_the_same_for_all_need_no_key(locked: Client, path: str) -> None:
    assert locked.get(path).status_code == 200
    assert locked.head(path).status_code == 200


def test_a_browsers_preflight_needs_no_key_and_a_rejection_can_be_read(quick: Client) -> None:
    asked = {"Origin": "https://ours.example", "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "authorization,x-api-key"
    answer = quick.options("/predict", headers=asked)
    assert answer.status_code == 200
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    rejection = quick.post("/predict", headers={"Origin": "https://ours.example"})
    assert (rejection.status_code, rejection.headers["access-control-allow-origin"]) == (401, "https://ours.example")
    assert quick.options("/predict").status_code == 204


def test_metrics_have_their_own_setting_and_say_who_asked(quick: Client) -> None:
    def counted(labels: str) -> float:
        found = re.search(
            rf"^convoscope_key_requests_total{{{labels}}} (\S+)$", quick.get("/metrics").text, re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    before = counted('key="red",outcome="admitted"'), counted('key="",outcome="unauthorized"')
    assert quick.get("/masks", headers={"X-API-Key": RED}).status_code == 200
    assert quick.get("/masks").status_code == 401
    assert (counted('key="red",outcome="admitted"'), counted('key="",outcome="unauthorized"')) == (
        before[0] + 1,
        before[1] + 1,
    )
    assert RED not in quick.get("/metrics").text


def test_behind_a_proxys_prefix_the_same_paths_are_open(quick: Client) -> None:
    assert quick.get("/vision/healthz").status_code == 200
    assert quick.get("/healthz").status_code == 200
    assert quick.get("/vision/masks").status_code == 401
    assert quick.get("/vision/masks", headers={"X-API-Key": RED}).status_code == 200


def test_openapi_says_what_needs_a_key(quick: Client) -> None:
    document = quick.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert document["security"] == [{name: []} for name in schemes]
    assert {scheme["type"] for scheme in schemes.values()} == {"http", "apiKey"}
    operations = {path: next(iter(methods.values())) for path, methods in document["paths"].items()}
    without = {path for path, operation in operations.items() if operation.get("security") == []}
    assert without == {"/healthz", "/readyz", "/metrics"}
    assert {path for path, operation in operations.items() if "401" in operation["responses"]} == set(
        operations
    ) - without


def test_our_client_sends_its_key(locked: Client, frog: bytes) -> None:
    url = str(locked.base_url)
    with OurClient(url, api_key=BLUE) as client:
        assert client.predict(frog).predictions[0].label == "frog"
    with OurClient(url) as client, pytest.raises(Unauthorized, match="needs an API key"):
        client.models()
    with pytest.raises(ValueError, match="visible ASCII"):
        OurClient(url, api_key="schl\xfcssel")


def test_keys_are_kept_as_digests_only(caplog: pytest.LogCaptureFixture) -> None:
    digest = hashlib.sha256(RED.encode()).hexdigest()
    found = Keys(f"red:sha256:{digest}, red:{BLUE},short:secret", None)
    assert owner(found, RED) == owner(found, BLUE) == "red"
    assert owner(found, "secret") == "short"
    assert RED not in str(vars(found)) + caplog.text
    assert "the key of short has 6 characters and may be guessed" in caplog.text
    assert "red-" not in repr(Settings(api_keys=LISTED))


@pytest.mark.parametrize(
    ("listed", "part"),
    [
        ("", "entry 1 is not name:key"),
        ("red", "entry 1 is not name:key"),
        (f"red:{RED},", "entry 2 is not name:key"),
        (f"r d:{RED}", "entry 1 is not name:key"),
        ("red:", "the key of red is not 1 to 256 visible ASCII"),
        ("red:schlüssel-0123456789", "the key of red is not 1 to 256 visible ASCII"),
        (f"red:{RED},blue:{RED}", "entry 2: red and blue have the same key"),
    ],
)
def test_keys_that_cannot_be_used_stop_the_start_without_being_told(listed: str, part: str) -> None:
    with pytest.raises(BadKeys) as told:
        create_app(Settings(api_keys=listed))
    assert part in str(told.value)
    assert "0123456789" not in str(told.value)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "No such file"),
        (b"\xff\xfe", "not UTF-8"),
        (b"# nobody\n\n", "holds no key"),
        (b"red: a b", "entry 1: the key of red is not"),
    ],
)
def test_a_file_that_cannot_be_used_stops_the_start(tmp_path: Path, content: bytes | None, part: str) -> None:
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    with pytest.raises(BadKeys, match=part):
        Keys(None, tmp_path / "keys")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """No pause between two looks at the file."""
    monkeypatch.setattr(keys, "FILE_CHECK", 0.0)


def test_a_file_is_read_again_when_it_changes(tmp_path: Path, clock: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    file = tmp_path / "keys"
    file.write_text(f"# ours\nred:{RED}\r\n")
    found = Keys("blue:blue-0123456789abcdef", file)
    assert owner(found, RED) == "red"
    replace(file, "new:new-0123456789abcdef\n")
    assert owner(found, "new-0123456789abcdef") == "new"
    assert owner(found, BLUE) == "blue"
    with pytest.raises(Exception, match="not one that this service knows"):
        owner(found, RED)
    assert "read again and holds 1 keys" in caplog.text


def test_a_file_that_vanishes_or_breaks_keeps_the_last_keys_and_is_said_once(
    tmp_path: Path, clock: None, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"red:{RED}")
    found = Keys(None, file)
    file.unlink()
    assert [owner(found, RED) for _ in range(3)] == ["red"] * 3
    assert caplog.text.count("No such file or directory); the last keys stay in use") == 1
    file.write_text(f"red:{BLUE}")
    assert owner(found, BLUE) == "red"
    replace(file, "nonsense")
    assert owner(found, BLUE) == "red"
    assert caplog.text.count("the last keys stay in use") == 2
    replace(file, "# nobody any more")
    with pytest.raises(Exception, match="not one that this service knows"):
        owner(found, BLUE)


def replace(file: Path, text: str) -> None:
    """As editors and Kubernetes do it, which leaves no moment without a file."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, file)


class Reached(Exception):
    """The application was about to be made."""


def not_made(settings: Settings) -> NoReturn:
    raise Reached


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": "127.0.0.1"}, False),
        ({"host": "0.0.0.0", "api_keys": LISTED}, False),
    ],
)
def test_a_service_that_everybody_may_use_says_so(
    caplog: pytest.LogCaptureFixture, settings: dict[str, str], warned: bool
) -> None:
    with pytest.raises(Reached):
        serve(Settings(port=0, **settings), not_made)  # type: ignore[arg-type]
    assert ("no API keys are set" in caplog.text) == warned


@pytest.mark.parametrize(
    ("environment", "arguments", "part"),
    [
        ({"CONVOSCOPE_API_KEYS": f"red:,blue:{RED}"}, [], "the key of red is not 1 to 256"),
        ({"CONVOSCOPE_API_KEYS": f"red:,blue:{RED}"}, ["--workers", "2"], "the key of red is not 1 to 256"),
        ({"CONVOSCOPE_API_KEYS": LISTED, "CONVOSCOPE_MAX_QUEUE": "1"}, [], "max_queue 1"),
        ({"CONVOSCOPE_API_KEYS_FILE": ""}, [], "cannot be read (Is a directory)"),
    ],
)
def test_mistakes_in_settings_stop_the_start_without_telling_a_key(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    arguments: list[str],
    part: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stop:
        main(["serve", "--port", "0", *arguments])
    said = f"{stop.value.code}\n{capsys.readouterr().err}"
    assert part in said
    assert RED not in said


def test_one_key_is_the_command_lines_and_without_keys_a_slip() -> None:
    assert misspelt(["CONVOSCOPE_API_KEY", "CONVOSCOPE_API_KEYS"]) == []
    (warning,) = misspelt(["CONVOSCOPE_API_KEY"])
    assert "did you mean CONVOSCOPE_API_KEYS?" in warning
