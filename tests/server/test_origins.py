"""Which hosts and origins may use the service."""

from typing import Any

import pytest

from app.errors import Forbidden
from app.server.origins import Origins


def scope(method: str = "POST", **headers: str) -> dict[str, Any]:
    return {
        "method": method,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]", "[::1]:8000", ""])
@pytest.mark.parametrize("listens", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
def test_a_service_on_loopback_answers_to_this_computers_names(listens: str, host: str) -> None:
    Origins(listens, "").check(scope(host=host))
    Origins(listens, "").check(scope(host=host, origin="http://localhost:8000", sec_fetch_site="same-origin"))


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.io"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_answers_to_no_other_name(host: str, method: str) -> None:
    with pytest.raises(Forbidden, match=r"Host is '.*'; expected 127\.0\.0\.1, \[::1\], localhost"):
        Origins("127.0.0.1", "").check(scope(method, host=host))


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://[", "x"])
def test_a_page_of_another_site_cannot_post(origin: str) -> None:
    with pytest.raises(Forbidden, match="Origin is"):
        Origins("127.0.0.1", "").check(scope(host="localhost", origin=origin))
    with pytest.raises(Forbidden):
        Origins("127.0.0.1", "").check(scope(host="localhost", sec_fetch_site="cross-site"))


def test_the_setting_names_the_hosts_and_elsewhere_all_are_allowed() -> None:
    Origins("0.0.0.0", "").check(scope(host="anything.example", origin="https://evil.example"))
    Origins("127.0.0.1", "*").check(scope(host="anything.example"))
    ours = Origins("0.0.0.0", "Ours.example, other.example:8080")
    ours.check(scope(host="ours.example:443", origin="https://ours.example"))
    ours.check(scope(host="other.example:8080"))
    for host in ("localhost", "other.example", "evil.example"):
        with pytest.raises(Forbidden):
            ours.check(scope(host=host))
