"""A cluster that cannot be used is one line, whatever is wrong with it."""

import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cluster.conftest import ROOT, Cluster

COMMANDS = pytest.mark.parametrize("command", [["serve"], ["batch", "pictures", "--out", "a.csv"]])
WITHOUT_RAY = "import sys; sys.modules['ray'] = None; from app.cli import main; main()"
OTHER_VERSION = "import ray; ray.__version__ = '2.1.0'; from app.cli import main; main()"


def convoscope(*arguments: str, code: str = "from app.cli import main; main()") -> tuple[int, str]:
    """The exit code of a command, and what it says on standard error."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == ""
    return done.returncode, done.stderr


@COMMANDS
def test_without_ray_one_line_says_what_to_install(command: list[str]) -> None:
    expected = "convoscope: --ray needs Ray, which is not installed: pip install 'convoscope[ray]'\n"
    assert convoscope(*command, "--ray", code=WITHOUT_RAY) == (1, expected)


def test_an_address_has_a_host_and_a_port() -> None:
    code, said = convoscope("batch", "--out", "a.csv", "--ray", "pictures", "more")
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith(
        "convoscope: --ray is 'pictures'; expected the HOST:PORT of a head node, auto, or no address"
    )


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (the extra ray)")
@COMMANDS
def test_a_cluster_that_is_away_is_one_line(command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    expected = f"convoscope: cannot use a Ray cluster at {address}: [Errno 111] Connection refused\n"
    assert convoscope(*command, "--ray", address) == (1, expected)


@pytest.mark.slow
def test_a_cluster_of_another_version_is_one_line(cluster: Cluster, tmp_path: Path) -> None:
    out = str(tmp_path / "a.csv")
    done = cluster.run("-c", OTHER_VERSION, "batch", "tests/pictures", "--out", out, "--ray", cluster.address)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"convoscope: cannot use a Ray cluster at {cluster.address}: Version mismatch")
    assert "2.1.0" in done.stderr
