"""The page's static files: what is compressed, how often, and what caches are told."""

import asyncio
import gzip
from pathlib import Path

import pytest
from httpx import Client
from starlette.responses import Response

from app.routes.page import STATIC, Files

TEXT = "a line of text that is long enough to be compressed\n" * 20


def get(files: Files, path: str) -> Response:
    scope = {"type": "http", "method": "GET", "path": f"/{path}", "headers": [(b"accept-encoding", b"br, gzip")]}
    return asyncio.run(files.get_response(path, scope))


def test_a_file_is_compressed_once(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text(TEXT)
    files = Files(directory=tmp_path)
    first, second = get(files, "a.js"), get(files, "a.js")
    assert gzip.decompress(bytes(first.body)) == TEXT.encode()
    assert second.body is first.body


def test_a_file_that_has_changed_is_compressed_again(tmp_path: Path) -> None:
    path = tmp_path / "a.js"
    files = Files(directory=tmp_path)
    tags = set()
    for text in (TEXT, 2 * TEXT):
        path.write_text(text)
        response = get(files, "a.js")
        tags.add(response.headers["etag"])
        assert gzip.decompress(bytes(response.body)) == text.encode()
    assert len(tags) == 2


@pytest.mark.parametrize("path", ["/static/style.css", "/static/js/dom.js", "/static/film/tutorial.json", "/learn"])
def test_text_is_sent_as_the_client_can_read_it(client: Client, path: str) -> None:
    packed = client.get(path)
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) == len(packed.content)
    for name in ("etag", "vary", "cache-control", "content-security-policy", "content-type"):
        assert packed.headers[name] == plain.headers[name]
    assert packed.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", ["/static/style.css", "/static/pictures/cat.png", "/learn"])
def test_a_file_that_the_client_has_is_not_sent_again(client: Client, path: str) -> None:
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers.get("vary") == first.headers.get("vary")


def test_a_part_of_a_file_is_of_the_file_as_it_is(client: Client) -> None:
    part = client.get("/static/style.css", headers={"Range": "bytes=2-9"})
    assert part.status_code == 206
    assert part.content == (STATIC / "style.css").read_bytes()[2:10]


@pytest.mark.parametrize("path", ["/static/pictures/cat.png", "/static/js/rest.js"])
def test_what_compressing_would_hardly_shrink_is_sent_as_it_is(client: Client, path: str) -> None:
    answer = client.get(path)
    assert not {"content-encoding", "vary"} & set(answer.headers)


def test_the_start_page_varies_by_what_is_accepted(client: Client) -> None:
    answer = client.get("/", headers={"Accept": "text/html"})
    assert answer.headers["vary"] == "Accept-Encoding, Accept"
    assert client.get("/").headers["vary"] == "Accept"
