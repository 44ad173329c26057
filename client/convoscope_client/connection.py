"""httpx's clients as this package needs them, and when to try again."""

import os
import random
import re
from ipaddress import ip_address
from typing import Any, TypeVar

import httpx

Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)

KEEP_ALIVE = 50.0
"""Seconds that an idle connection is kept: fewer than the service (75) and the usual balancer (60) do."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 30.0
"""Seconds before another attempt."""
UNIX = "unix:"
"""What the address of a Unix socket begins with; its path follows."""
LOST = (httpx.NetworkError, httpx.RemoteProtocolError)
"""The connection was lost. Every call only computes, so it can be sent again."""


class ProxyUnusable(httpx.TransportError):
    """A proxy of the environment cannot be used; the message names the variables."""


def http(kind: type[Http], url: str, headers: dict[str, str], **options: Any) -> Http:
    """An httpx client for `url`, which may be `unix:` and the path of a socket.

    Proxies of the environment are not for loopback addresses. Raises ValueError for any other `url`, and ProxyUnusable
    if a proxy cannot be used.
    """
    _reject_bad(url)
    limits = httpx.Limits(keepalive_expiry=KEEP_ALIVE)
    if url.startswith(UNIX):
        transport = httpx.HTTPTransport if kind is httpx.Client else httpx.AsyncHTTPTransport
        options["transport"] = options["transport"] or transport(uds=url.removeprefix(UNIX), limits=limits)
        url = "http://localhost"
    trust = not _is_loopback(httpx.URL(url).host)
    try:
        return kind(base_url=url, headers=headers, limits=limits, trust_env=trust, **options)
    except (ImportError, ValueError) as error:
        raise ProxyUnusable(f"cannot use a proxy of the environment ({error}){through_proxy(url)}") from error


def _reject_bad(url: str) -> None:
    if url.startswith(UNIX) and url != UNIX:
        return
    try:
        found = httpx.URL(url)
        good = found.scheme in ("http", "https") and found.host and 0 < (found.port or 80) < 2**16
    except httpx.InvalidURL:
        good = False
    if not good:
        raise ValueError(f"url is {url!r:.200}; expected http://HOST:PORT, https://HOST:PORT or unix:PATH")


def wait_before(attempt: int, response: httpx.Response | None = None) -> float:
    """Seconds to wait before the next attempt, counted from 0: what the service advises, else twice as long each."""
    advised = response.headers.get("retry-after", "") if response else ""
    if advised.isdigit():
        return min(float(advised), LONGEST_WAIT)
    return min(FIRST_WAIT * 2.0**attempt * random.uniform(0.8, 1.2), LONGEST_WAIT)


def is_temporary(response: httpx.Response) -> bool:
    """Whether the same request may succeed later: the service is full or stopping, or the rate is limited.

    Or it was lost in a process that ended behind a proxy, which then answers 500 or 502 without a problem document.
    """
    if response.status_code in (500, 502):
        return not response.headers.get("content-type", "").startswith("application/problem+json")
    return response.status_code in (429, 503)


def through_proxy(url: str) -> str:
    """For a failure's text: the variables that name proxies, if `url` may have been asked through one of them."""
    names = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    found = [f"{name}={value}" for name, value in os.environ.items() if name.lower() in names and value]
    if not found or url.startswith(UNIX) or _is_loopback(httpx.URL(url).host):
        return ""
    return f"; set in the environment: {re.sub('//[^/@ ]*@', '//', ' '.join(found))}"  # without passwords


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
