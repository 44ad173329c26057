from typing import Any

import pytest
from httpx import Client

from app.errors import RateLimited
from app.server.rate_limit import MOST_CALLERS, RateLimit, network_of
from tests.conftest import assert_problem
from tests.server.unstarted import unstarted


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def admitted(limit: RateLimit, caller: str, count: int) -> int:
    """How many of `count` requests at once are admitted."""
    found = 0
    for _ in range(count):
        try:
            limit.take(caller)
            found += 1
        except RateLimited:
            pass
    return found


def test_a_bucket_empties_at_once_and_fills_at_the_rate() -> None:
    clock = Clock()
    limit = RateLimit(10, 5, clock)
    assert admitted(limit, "a", 20) == 5
    assert admitted(limit, "b", 20) == 5
    clock.now = 0.25
    assert admitted(limit, "a", 20) == 2
    clock.now = 0.3
    assert admitted(limit, "a", 20) == 1
    clock.now = 1000
    assert admitted(limit, "a", 20) == 5


def test_in_the_long_run_the_rate_is_exact_and_rejections_cost_nothing() -> None:
    clock = Clock()
    limit = RateLimit(50, 10, clock)
    found = 0
    for step in range(10_000):
        clock.now = step / 1000
        found += admitted(limit, "a", 1)
    assert found == 10 + 50 * 10 - 1


def test_a_rejection_says_when_to_come_again() -> None:
    clock = Clock()
    limit = RateLimit(0.5, 1, clock)
    limit.take("a")
    clock.now = 0.5
    with pytest.raises(RateLimited, match=r"more than 0\.5 requests per second came from a") as told:
        limit.take("a")
    assert told.value.wait == pytest.approx(1.5)
    clock.now = 0.5 + told.value.wait
    limit.take("a")


def test_many_callers_are_forgotten_and_those_that_ask_are_not() -> None:
    limit = RateLimit(0.001, 1, Clock())
    limit.take("busy")
    for caller in range(3 * MOST_CALLERS):
        limit.take(str(caller))
        if caller % 1000 == 0:
            assert admitted(limit, "busy", 1) == 0
    assert len(limit._full_at) == MOST_CALLERS


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_counts_for_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def limited(**settings: Any) -> Client:
    """A service with a rate that hardly fills a bucket while the test runs."""
    return unstarted("192.0.2.9", rate_limit=0.01, rate_burst=3, **settings)


def test_each_key_has_a_rate_of_its_own_and_so_has_whoever_tries_keys() -> None:
    client = limited(api_keys="red:red-0123456789abcdef,blue:blue-0123456789abcdef")
    for name in ("red", "blue"):
        headers = {"X-API-Key": f"{name}-0123456789abcdef"}
        assert [client.get("/masks", headers=headers).status_code for _ in range(3)] == [200] * 3
        answer = client.get("/masks", headers=headers)
        assert f"came from {name}" in assert_problem(answer, 429, "rate-limited")["detail"]
        assert 99 <= int(answer.headers["retry-after"]) <= 100
    assert client.get("/healthz").status_code == client.get("/").status_code == 200
    statuses = [client.get("/masks", headers={"X-API-Key": str(i)}).status_code for i in range(5)]
    assert statuses == [401, 401, 401, 429, 429]


def test_without_keys_an_address_has_a_rate() -> None:
    client = limited(trusted_proxies="192.0.2.9")
    for address in ("198.51.100.1", "198.51.100.2"):
        headers = {"X-Forwarded-For": address}
        assert [client.get("/masks", headers=headers).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert client.post("/v2/models/fast/infer", headers=headers).json().keys() == {"error"}
    operation = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    assert "429" in operation["responses"]
    assert "401" not in operation["responses"]
