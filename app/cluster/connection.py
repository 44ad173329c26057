"""Joining a Ray cluster, and what its nodes have."""

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

LOCAL = "local"
"""The address of a cluster that this process starts on its machine."""
ADDRESS = re.compile(r"auto|local|[\w.-]+:\d+|\[[0-9a-fA-F:]+\]:\d+")

PATIENCE = 5.0
"""Seconds for a head node to accept a connection, and again for its first bytes."""
SETTINGS = 4
"""The kind of frame with which both sides of HTTP/2, as gRPC uses, begin (RFC 9113, sections 3.4 and 6.5)."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, SETTINGS, 0, 0, 0, 0, 0))
"""What a client begins with: a fixed text and an empty SETTINGS frame."""


class ClusterError(Exception):
    """A Ray cluster cannot be used, or has failed; the message says which and why."""

    @classmethod
    def of(cls, what: str, error: Exception) -> "ClusterError":
        """Of a failure that Ray tells with the traceback of another process; its last line is the reason."""
        return cls(f"{what}: {(str(error).strip() or type(error).__name__).splitlines()[-1]}")


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Take part in the cluster at `address`, from one of its nodes. `LOCAL` starts one, which ends with the block.

    Raises ClusterError where Ray is not installed, nothing answers, or the cluster has another version.
    """
    if not ADDRESS.fullmatch(address):
        expected = "the HOST:PORT of a head node, auto, or no address (write --ray last, or --ray=HOST:PORT)"
        raise ClusterError(f"--ray is {address!r:.80}; expected {expected}")
    if find_spec("ray") is None:
        raise ClusterError("--ray needs Ray, which is not installed: pip install 'convoscope[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its maker
    own = {"include_dashboard": False} if address == LOCAL else {}
    try:
        if ":" in address:
            reach(address)  # Ray would try for minutes
        import ray

        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **own)
    except Exception as error:  # Ray raises plain ones too
        raise ClusterError(f"cannot use a Ray cluster at {address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def reach(address: str, patience: float = PATIENCE) -> None:
    """Raises OSError if nothing at HOST:PORT accepts a connection, or what does so does not speak Ray's protocol."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), patience) as connection:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return
        try:
            connection.sendall(PREFACE)
            first = connection.recv(9)  # the head of a frame, whose kind is its fourth byte
        except OSError:
            first = b""
    if first[3:4] != bytes((SETTINGS,)):
        raise ConnectionError("something else listens there; expected the head node of a Ray cluster (gRPC)")


def nodes() -> list[int]:
    """How many cores each node of the cluster has."""
    import ray

    return [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
