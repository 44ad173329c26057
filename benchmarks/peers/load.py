"""wrk on a server: one thread on the server's own cores, as many connections as asked for."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.peers import ROOT
from benchmarks.peers.server import FROG, Server

SCRIPT = ROOT / "benchmarks" / "wrk.lua"


@dataclass(frozen=True)
class Load:
    """Requests that were answered with 2xx, refused (503 with Retry-After) and failed, in `seconds`.

    `p50` and `p99` are milliseconds: of the answered ones where `each` was asked for, else of all.
    """

    seconds: float
    served: int
    refused: int
    failed: int
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Requests answered a second."""
        return self.served / self.seconds


def load(
    server: Server,
    connections: int,
    seconds: float,
    *,
    path: str = "",
    request: tuple[bytes, str] | None = None,
    each: bool = False,
) -> Load:
    """Post `request` (a body and its type; else a small PNG) to `server`, at its peer's path or another; see `wrk`."""
    body, kind = request or server.peer.packed(FROG.read_bytes())
    url = server.url + (path or server.peer.path)
    return wrk(url, body, kind, connections, seconds, each=each, headers=server.peer.headers)


def wrk(
    url: str,
    body: bytes,
    kind: str,
    connections: int,
    seconds: float,
    *,
    each: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Load:
    """Post `body`, of the media type `kind`, to `url` over and over.

    `each` looks at every answer, which only Convoscope's allow.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        environment = {**os.environ, "BODY": file.name, "KIND": kind} | ({"EACH": "1"} if each else {})
        duration = max(1, round(seconds))
        more = [argument for name, value in (headers or {}).items() for argument in ("-H", f"{name}: {value}")]
        command = ["wrk", "-t1", f"-c{connections}", f"-d{duration}s", "--timeout=30s", "-s", str(SCRIPT), *more, url]
        printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    (line,) = (line for line in printed.splitlines() if line.startswith("JSON "))
    return Load(**json.loads(line.removeprefix("JSON ")))
