"""The log and the access log: one line for each event, whatever a caller sent."""

import json
import logging
import os
import signal
import sys
from typing import Any

import httpx
import pytest

from app.server import access_log, logs
from app.server.access_log import Entry
from tests.server.test_run import serving

NASTY = 'a\nERROR forged\r\x1b[31m\x00\x85\u2028\u202e\ud800"\\ key=admin'


def record(message: str, *, failed: bool = False, **fields: Any) -> logging.LogRecord:
    try:
        raise ValueError(message)
    except ValueError:
        info = sys.exc_info() if failed else None
    found = logging.LogRecord("app.test", logging.ERROR, "x.py", 1, "%s", (message,), info)
    found.__dict__[logs.FIELDS] = fields
    return found


def test_no_caller_breaks_a_line_of_text() -> None:
    line = logs.TextFormatter().format(record(NASTY, path=NASTY, count=3, models=["a", "b c"]))
    assert line.isprintable()
    assert " ERROR app.test: a\\nERROR forged" in line
    assert line.endswith(' count=3 models="a, b c"')
    (_, quoted) = line.split(" path=")
    assert json.JSONDecoder().raw_decode(quoted)[0] == NASTY


def test_lines_of_a_traceback_are_indented_and_escaped() -> None:
    first, *rest = logs.TextFormatter().format(record(NASTY, failed=True)).split("\n")
    assert all(line.isprintable() for line in (first, *rest))
    assert rest[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in rest)
    assert "    ERROR forged" in rest[-1] or any(line.startswith("    ERROR forged") for line in rest)


def test_json_is_one_object_on_one_line() -> None:
    line = logs.JsonFormatter().format(record(NASTY, failed=True, path=NASTY, count=3))
    assert line.isprintable()
    found = json.loads(line)
    assert (found["level"], found["logger"], found["message"], found["path"], found["count"]) == (
        *("error", "app.test", NASTY, NASTY),
        3,
    )
    assert "Traceback" in found["exception"]


def test_a_time_is_utc_with_milliseconds() -> None:
    assert logs.timestamp(1_700_000_000.0625) == "2023-11-14T22:13:20.062Z"
    assert logs.timestamp(1_700_000_000.9999) == "2023-11-14T22:13:20.999Z"


def entry(path: str = "/predict") -> Entry:
    scope: dict[str, Any] = {
        "method": "POST",
        "path": path,
        "client": ("192.0.2.1", 5),
        "headers": [(b"content-length", b"2489")],
        "state": {"request_id": "abc", "key": "red", "model": "fast", "pictures": 2},
    }
    headers = [
        (b"server-timing", b"decode;dur=0.100, queue;dur=0.200, infer;dur=0.700, encode;dur=0.010"),
        (b"x-request-id", b"abc"),
        (b"server-timing", b"total;dur=1.234"),
    ]
    return Entry(1_700_000_000.0, 0.0013, scope, 200, headers, 312)


def test_a_line_of_text_says_what_happened() -> None:
    assert access_log.text(entry()).decode() == (
        "2023-11-14T22:13:20.000Z 200 POST /predict id=abc client=192.0.2.1 key=red received=2489 sent=312 "
        "model=fast pictures=2 ms=1.300 decode_ms=0.100 queue_ms=0.200 infer_ms=0.700 encode_ms=0.010\n"
    )


def test_a_line_of_json_has_the_same_by_name() -> None:
    assert json.loads(access_log.as_json(entry())) == {
        **{"level": "info", "logger": "access", "time": "2023-11-14T22:13:20.000Z", "status": 200, "method": "POST"},
        **{"path": "/predict", "id": "abc", "client": "192.0.2.1", "key": "red", "received": 2489, "sent": 312},
        **{"model": "fast", "pictures": 2, "ms": 1.3},
        **{"decode_ms": 0.1, "queue_ms": 0.2, "infer_ms": 0.7, "encode_ms": 0.01},
    }


def test_what_a_request_does_not_have_is_left_out() -> None:
    scope: dict[str, Any] = {"method": "GET", "path": "/", "headers": []}
    bare = Entry(1_700_000_000.0, 0.0013, scope, 0, (), 0)
    assert access_log.text(bare) == b"2023-11-14T22:13:20.000Z 0 GET / sent=0 ms=1.300\n"
    assert json.loads(access_log.as_json(bare)).keys() == {
        *("level", "logger", "time", "status", "method", "path", "sent", "ms")
    }


@pytest.mark.parametrize("path", [NASTY, "/%d%s%(id)s%", '/"%s":"%s"'])
def test_a_path_cannot_break_or_forge_a_line(path: str) -> None:
    for line in (access_log.text(entry(path)).decode(), access_log.as_json(entry(path)).decode()):
        assert line[:-1].isprintable()
        assert line.count("\n") == 1
        assert "\x1b" not in line
        assert line.count("abc") == 1
    assert json.loads(access_log.as_json(entry(path)))["path"] == path
    assert len(access_log.text(entry("/" + "x" * 9000))) < 500


def test_lines_are_written_whole_and_in_pieces_that_a_pipe_keeps_together(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = []

    def write(descriptor: int, block: bytes) -> int:
        pieces.append(bytes(block))
        return len(block)

    monkeypatch.setattr(os, "write", write)
    writer = access_log.writer(99)
    for _ in range(100):
        writer.offer(access_log.text(entry()))
    writer.close()
    assert b"".join(pieces).count(b"\n") == 100
    assert max(map(len, pieces)) <= access_log.ATOMIC
    assert all(piece.endswith(b"\n") for piece in pieces)


def test_the_process_logs_as_json_what_it_does_and_why_it_rejects(frog: bytes) -> None:
    settings = {
        "CONVOSCOPE_LOG_LEVEL": "debug",
        "CONVOSCOPE_LOG_FORMAT": "json",
        "CONVOSCOPE_ACCESS_LOG": "on",
        "CONVOSCOPE_API_KEYS": "red:red-0123456789abcdef",
    }
    with serving(**settings) as (process, url):
        with httpx.Client(base_url=url, headers={"X-API-Key": "red-0123456789abcdef"}, timeout=60) as client:
            client.post("/predict", content=frog, headers={"X-Request-ID": "one"}, params={"model": "fast"})
            client.post("/v2/models/fast/infer", content=b"{", headers={"X-Request-ID": "two"})
            client.get("/no%0Awhere%1b", headers={"X-Request-ID": "three"})
            client.post("/predict", content=frog, headers={"X-API-Key": "x", "X-Request-ID": "four"})
        process.send_signal(signal.SIGTERM)
        assert process.stdout
        lines = [json.loads(line) for line in process.stdout.read().splitlines()]
        assert process.wait(60) == 0
    access = {line["id"]: line for line in lines if line["logger"] == "access"}
    assert set(access) == {"one", "two", "three", "four"}
    one = access["one"]
    assert (one["status"], one["key"], one["model"], one["pictures"], one["received"], one["route"]) == (
        *(200, "red", "fast", 1, len(frog)),
        "/predict",
    )
    assert one["ms"] >= one["infer_ms"] > 0
    assert {"decode_ms", "queue_ms", "encode_ms", "sent", "client", "time"} <= one.keys()
    assert (access["two"]["status"], access["two"]["route"]) == (400, "/v2/models/{name}/infer")
    assert (access["three"]["status"], access["three"]["path"]) == (404, "/no\nwhere\x1b")
    assert (access["four"]["status"], access["four"].get("key")) == (401, None)
    reasons = [line["message"] for line in lines if line["level"] == "debug"]
    assert any(reason.startswith("request four is answered with 401 unauthorized") for reason in reasons)
    assert any(reason.startswith("request two is answered with 400 malformed-request") for reason in reasons)
    assert "red-0123456789abcdef" not in json.dumps(lines)
