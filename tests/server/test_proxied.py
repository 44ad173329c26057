import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from app.server.proxied import ProxyHeaders
from app.settings import Settings
from tests.conftest import ClientFactory, assert_problem, until


def scope_after(
    headers: dict[str, str], *, trusted: str = "10.0.0.0/8, ::1", client: tuple[str, int] | None = ("10.1.2.3", 9)
) -> dict[str, Any]:
    """What an application behind ProxyHeaders sees of a request with these headers."""
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "path": "/x", "scheme": "http", "client": client, "headers": raw, "root_path": ""}
    asyncio.run(ProxyHeaders(app, trusted=trusted, root_path="")(scope, None, None))  # type: ignore[arg-type]
    return seen


@pytest.mark.parametrize(
    ("headers", "client", "scheme"),
    [
        ({}, "10.1.2.3", "http"),
        ({"X-Forwarded-For": "1.2.3.4"}, "1.2.3.4", "http"),
        ({"X-Forwarded-For": "6.6.6.6, 1.2.3.4, 10.9.9.9", "X-Forwarded-Proto": "https"}, "1.2.3.4", "https"),
        ({"X-Forwarded-For": "1.2.3.4:5678"}, "1.2.3.4", "http"),
        ({"X-Forwarded-For": "[2001:db8::1]:80"}, "2001:db8::1", "http"),
        ({"X-Forwarded-For": "unknown"}, "10.1.2.3", "http"),
        ({"X-Forwarded-Proto": "javascript"}, "10.1.2.3", "http"),
        ({"Forwarded": 'for=6.6.6.6, for="1.2.3.4:99";proto=https'}, "1.2.3.4", "https"),
        ({"Forwarded": 'For="[2001:db8::1]"'}, "2001:db8::1", "http"),
    ],
)
def test_a_trusted_proxy_says_who_asked(headers: dict[str, str], client: str, scheme: str) -> None:
    seen = scope_after(headers)
    assert (seen["client"][0], seen["scheme"]) == (client, scheme)


def test_nobody_else_is_believed() -> None:
    headers = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/vision"}
    seen = scope_after(headers, client=("192.0.2.1", 9))
    assert (seen["client"][0], seen["scheme"], seen["root_path"], seen["path"]) == ("192.0.2.1", "http", "", "/x")


def test_who_reaches_a_unix_socket_is_believed_if_the_setting_says_so() -> None:
    headers = {"X-Forwarded-For": "6.6.6.6, 1.2.3.4, 10.9.9.9", "X-Forwarded-Prefix": "/vision"}
    assert Settings(trusted_proxies="unix, 10.0.0.0/8").trusted_proxies
    seen = scope_after(headers, client=None, trusted="unix, 10.0.0.0/8")
    assert (seen["client"], seen["root_path"]) == (("1.2.3.4", 0), "/vision")
    seen = scope_after(headers, client=None)
    assert (seen["client"], seen["root_path"]) == (None, "")


@pytest.mark.parametrize("prefix", ["vision", '/"><script>', "//evil.example", "/a b", "/"])
def test_an_unsound_prefix_is_ignored(prefix: str) -> None:
    assert scope_after({"X-Forwarded-Prefix": prefix})["root_path"] == ""


@pytest.mark.parametrize("trusted", ["10.0.0.0/99", "nginx", "10.0.0.1/8"])
def test_a_setting_that_names_no_network_is_rejected(trusted: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(trusted)):
        Settings(trusted_proxies=trusted)


@contextmanager
def nginx(folder: Path, location: str) -> Iterator[httpx.Client]:
    """nginx with one location, as a client."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; events {{}} http {{ access_log off;"
        f" client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;"
        f" uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;"
        f" server {{ listen 127.0.0.1:{port}; {location} }} }}"
    )
    process = subprocess.Popen(["nginx", "-p", folder, "-c", folder / "nginx.conf"])
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            until(lambda: answers(client))
            yield client
    finally:
        process.terminate()
        process.wait()


def answers(client: httpx.Client) -> bool:
    try:
        client.get("/")
    except httpx.ConnectError:
        return False
    return True


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
@pytest.mark.parametrize("way", ["cut off and told", "cut off and set", "left and set"])
def test_everything_works_behind_nginx_under_a_prefix(
    make_client: ClientFactory, tmp_path: Path, frog: bytes, way: str
) -> None:
    told = way == "cut off and told"
    behind = make_client(trusted_proxies="127.0.0.1") if told else make_client(root_path="/vision")
    end = "" if way == "left and set" else "/"
    extra = "proxy_set_header X-Forwarded-Prefix /vision;" if told else ""
    location = f"location /vision/ {{ proxy_pass http://127.0.0.1:{behind.base_url.port}{end}; {extra} }}"
    with nginx(tmp_path, location) as client:
        answer = client.post("/vision/predict", content=frog, headers={"Content-Type": "image/png"})
        assert answer.json()["predictions"][0]["label"] == "frog"
        assert client.get("/vision/static/style.css").status_code == 200
        assert client.get("/vision/openapi.json").json()["servers"][0] == {"url": "/vision"}
        docs = client.get("/vision/docs").text
        for address in re.findall(r'(?:href|src)="(/[^"]+)"', docs):
            assert client.get(address).status_code == 200, address
        assert "'/vision/openapi.json'" in docs or '"/vision/openapi.json"' in docs
        assert client.get("/vision/v2/nope").json().keys() == {"error"}
        assert_problem(client.get("/vision/nope"), 404, "not-found")
        page = client.get("/vision/").text
        for address in re.findall(r'<(?:link|script)[^>]* (?:href|src)="([^"#]+)"', page):
            assert client.get(httpx.URL("/vision/").join(address)).status_code == 200, address
