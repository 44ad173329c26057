"""One way to check a failure of a protocol whose errors are `{"error": "…"}`."""

import httpx


def assert_error(response: httpx.Response, status: int, *parts: str) -> None:
    """The answer is an error of this status that these protocols' clients can read, and its text has all `parts`."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() == {"error"}
    for part in parts:
        assert part in body["error"]
