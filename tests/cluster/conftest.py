"""A Ray cluster of two nodes, each with one core and a small object store, in processes that end with the tests."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from app.settings import Settings
from tests import artifacts
from tests.conftest import until

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 600.0
"""Seconds for anything that Ray does; on a machine that is not busy it takes twenty."""


class Cluster:
    """Where it is, and how to start a process that uses it."""

    def __init__(self, folder: str) -> None:
        own = {"HOME": folder, "RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        # On a busy machine Ray would take a proxy that starts slowly for a dead one.
        patient = {f"RAY_SERVE_PROXY_{check}_CHECK_TIMEOUT_S": str(PATIENCE) for check in ("READY", "HEALTH")}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.environment = inherited | own | patient
        self.session = 0
        self.address = ""

    @contextmanager
    def started(self, *arguments: str, **settings: str) -> Iterator["tuple[subprocess.Popen[str], str]"]:
        """A process of Python with these arguments, and the first line that it prints; it is killed if none comes."""
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=self.environment | {f"CONVOSCOPE_{name}": value for name, value in settings.items()},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        with process:
            try:
                assert process.stdout
                line = process.stdout.readline()
                timer.cancel()
                yield process, line
            finally:
                timer.cancel()
                if process.poll() is None:
                    process.kill()

    def run(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Python with these arguments, to its end."""
        return subprocess.run(
            [sys.executable, *arguments],
            env=self.environment | {f"CONVOSCOPE_{name}": value for name, value in settings.items()},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def processes(self, part: str = "") -> list[int]:
        """The ids of its processes, on all nodes, whose command line has this part."""
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if self._is_ours(path, part)]

    def _is_ours(self, process: Path, part: str) -> bool:
        try:
            if int((process / "stat").read_text().rpartition(")")[2].split()[3]) != self.session:
                return False
            line = (process / "cmdline").read_bytes()
            return bool(line) and part.encode() in line  # a process that has ended, and is not waited for, has none
        except OSError:
            return False


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of a service with one miniature network, in batches of four, so that a few pictures are several."""
    folder = tmp_path_factory.mktemp("cluster")
    artifacts.write(folder / "mini", ("no", "perhaps", "yes"), typicality=True)
    return Settings(models=folder, max_batch=4, precision="float32", default_model="mini")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Skips where Ray is not installed."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: make test-ray")
    with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as folder:  # sockets need a short path
        cluster = Cluster(folder)
        try:
            with cluster.started(str(Path(__file__).parent / "nodes.py"), "2") as (process, line):
                cluster.address, cluster.session = line.strip(), process.pid
                assert cluster.address, "Ray did not start"
                yield cluster
                process.communicate(timeout=PATIENCE)
            until(lambda: not cluster.processes(), PATIENCE)
        finally:
            for process_id in cluster.processes():
                os.kill(process_id, signal.SIGKILL)
