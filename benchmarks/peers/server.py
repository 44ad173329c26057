"""A server under measurement: started, watched through /proc, stopped with every process it started."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.peers import ENVIRONMENTS, ROOT, Peer

PICTURES = sorted((ROOT / "tests" / "pictures").glob("*.png"))
FROG = ROOT / "tests" / "pictures" / "frog.png"
PATIENCE = 240
"""Seconds for a server to give its first answer."""

MARK = "CONVOSCOPE_BENCHMARK"
"""Tells the processes of a server from others, by its port."""


class Server:
    """Inside `with`, a peer that has answered its first prediction; `cold_start` is how long that took, in seconds."""

    def __init__(self, peer: Peer, **environment: str) -> None:
        self.peer = peer
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.cold_start = 0.0
        self._environment = {**os.environ, **peer.environment, **environment, MARK: str(self.port)}

    def __enter__(self) -> Self:
        started = time.perf_counter()
        ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
        self._log = (ENVIRONMENTS / f"{self.peer.name}.log").open("w")
        self._process = subprocess.Popen(
            self.peer.arguments(self.port), cwd=ROOT, env=self._environment, stdout=self._log, stderr=self._log
        )
        try:
            while not self._answers():
                if self._process.poll() is not None or time.perf_counter() - started > PATIENCE:
                    raise RuntimeError(f"{self.peer.title} does not answer; see {self._log.name}")
                time.sleep(0.01)
        except BaseException:
            self._stop()
            raise
        self.cold_start = time.perf_counter() - started
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def top(self, picture: Path) -> dict[str, float]:
        """The most probable labels of a picture and their probabilities, the first one first."""
        status, body = self._post(picture)
        if status != 200:
            raise RuntimeError(f"{self.peer.title}: {picture.name}: {status} {body[:200]!r}")
        answer: Any = json.loads(body)
        answer = answer[0] if isinstance(answer, list) else answer.get("predictions", [answer])[0]
        return {entry["label"]: entry["probability"] for entry in answer["top"]}

    def cpu_seconds(self) -> float:
        """Processor time of all its processes so far."""
        ticks = 0
        for pid in self._tree():
            stat = _read(pid, "stat").rpartition(")")[2].split()
            ticks += sum(map(int, stat[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Resident memory of all its processes in 10^6 bytes; what they share counts once (PSS)."""
        found = [re.search(r"^Pss:\s+(\d+) kB", _read(pid, "smaps_rollup"), re.MULTILINE) for pid in self._tree()]
        return sum(int(match[1]) for match in found if match) * 1024 / 1e6

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

    def _post(self, picture: Path) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            body, kind = self.peer.packed(picture.read_bytes())
            connection.request("POST", self.peer.path, body, {"Content-Type": kind, **self.peer.headers})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            return self._post(FROG)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _tree(self) -> list[int]:
        """The ids of the process and all that descend from it."""
        children: dict[int, list[int]] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            if stat := _read(int(folder.name), "stat"):
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(folder.name))
        tree = [self._process.pid]
        for pid in tree:
            tree += children.get(pid, [])
        return tree

    def _stop(self) -> None:
        """SIGTERM, and SIGKILL for whatever is left of its processes after some seconds."""
        tree = self._tree()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            tree = sorted({*tree, *self._tree()})
        for pid in tree:  # an id may be another's by now, but not with our mark in its environment
            if f"{MARK}={self.port}\0" in _read(pid, "environ"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _read(pid: int, name: str) -> str:
    """A file of /proc; empty where the process has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""
