"""A cluster that cannot be used is one line, whatever is wrong with it."""

import socket
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

from app.cluster.connection import reach
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


def answering(listener: socket.socket, answer: bytes) -> threading.Thread:
    """Answers the first connection with these bytes once it has asked, and closes it."""

    def answer_one() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(answer)

    thread = threading.Thread(target=answer_one)
    thread.start()
    return thread


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_port_with_another_protocol_is_no_cluster(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = answering(listener, answer)
        with pytest.raises(ConnectionError, match="expected the head node of a Ray cluster"):
            reach(f"127.0.0.1:{listener.getsockname()[1]}")
        thread.join()


def test_a_port_that_accepts_and_says_nothing_is_no_cluster() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(ConnectionError, match="expected the head node of a Ray cluster"),
    ):
        reach(f"127.0.0.1:{listener.getsockname()[1]}", patience=0.1)


def test_a_port_that_speaks_http2_may_be_a_cluster() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = answering(listener, bytes((0, 0, 6, 4, 0, 0, 0, 0, 0)) + bytes(6))
        reach(f"127.0.0.1:{listener.getsockname()[1]}")
        thread.join()


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (the extra ray)")
@COMMANDS
def test_a_port_of_something_else_is_one_line(command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        reason = "something else listens there; expected the head node of a Ray cluster (gRPC)"
        assert convoscope(*command, "--ray", address) == (
            1,
            f"convoscope: cannot use a Ray cluster at {address}: {reason}\n",
        )


@pytest.mark.slow
def test_a_cluster_of_another_version_is_one_line(cluster: Cluster, tmp_path: Path) -> None:
    out = str(tmp_path / "a.csv")
    done = cluster.run("-c", OTHER_VERSION, "batch", "tests/pictures", "--out", out, "--ray", cluster.address)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"convoscope: cannot use a Ray cluster at {cluster.address}: Version mismatch")
    assert "2.1.0" in done.stderr
