"""What the service listens on: a Unix socket, from one end to the other; ports are in test_run.py."""

import asyncio
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.server.listening import LONGEST_PATH, AddressInUse, address, listening
from app.settings import Settings
from convoscope_client import AsyncClient, Client
from convoscope_client.errors import UnsupportedPicture
from tests.conftest import MODELS, PICTURES

Process = subprocess.Popen[str]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "http.sock"


@contextmanager
def serving(path: Path, *arguments: str, **environ: str) -> Iterator[Process]:
    """`convoscope serve --uds`, once it listens."""
    with subprocess.Popen(
        [sys.executable, "-m", "app", "serve", "--uds", str(path), *arguments],
        cwd=MODELS.parent,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            greeting = process.stdout.readline()
            assert greeting.startswith(f"Convoscope on unix:{path}")
            assert greeting.endswith(", stop with Ctrl-C\n")
            yield process
        finally:
            process.kill()


@pytest.fixture
def process(path: Path) -> Iterator[Process]:
    with serving(path, CONVOSCOPE_READ_TIMEOUT="0.5") as process:
        yield process


def test_the_service_and_both_clients_speak_over_a_unix_socket(process: Process, path: Path) -> None:
    async def predict() -> str:
        async with AsyncClient(f"unix:{path}") as client:
            return (await client.predict(PICTURES / "ship.png", model="fast")).predictions[0].label

    with Client(f"unix:{path}") as client:
        assert client.predict(PICTURES / "frog.png", model="fast").predictions[0].label == "frog"
        with pytest.raises(UnsupportedPicture):
            client.predict(b"hello")
    assert asyncio.run(predict()) == "ship"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660

    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(path))
        slow.sendall(b"GET /readyz HT")
        began = time.monotonic()
        assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began > 0.3

    command = [sys.executable, "-m", "app", "predict", "--url", f"unix:{path}", str(PICTURES / "frog.png")]
    done = subprocess.run(command, cwd=MODELS.parent, capture_output=True, text=True, check=True)
    assert "frog" in done.stdout
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not path.exists()


def test_several_processes_share_a_unix_socket(path: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(MODELS / "tutorial", models / "tutorial", ignore=shutil.ignore_patterns("*.keras"))
    with (
        serving(path, "--workers", "2", "--models", str(models), CONVOSCOPE_DEADLINE="60") as process,
        Client(f"unix:{path}", timeout=300) as client,
    ):
        assert client.predict(PICTURES / "frog.png").model == "tutorial"
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not path.exists()


def test_what_a_killed_service_left_behind_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    with listening(Settings(uds=path)) as listener:
        assert address(listener) == f"unix:{path}"
        listener.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert not path.exists()


def test_a_socket_that_another_service_has_put_there_meanwhile_stays(path: Path) -> None:
    with listening(Settings(uds=path)):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert path.exists()


def test_a_socket_in_use_and_other_files_are_left_alone(path: Path, tmp_path: Path) -> None:
    with listening(Settings(uds=path)) as listener:
        listener.listen()
        with pytest.raises(AddressInUse, match="another process does"), listening(Settings(uds=path)):
            pass
        assert path.exists()
    path.write_text("dear")
    with pytest.raises(AddressInUse, match="it exists and is not a socket"), listening(Settings(uds=path)):
        pass
    assert path.read_text() == "dear"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x" * 150, f"expected at most {LONGEST_PATH}"),
        ("missing/http.sock", "No such file or directory"),
    ],
)
def test_a_path_that_cannot_be_is_told_in_one_line(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(AddressInUse, match=expected) as told, listening(Settings(uds=tmp_path / name)):
        pass
    assert str(told.value).startswith(f"cannot listen on {tmp_path / name}: ")


def test_the_longest_path_is_what_the_system_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with listening(Settings(uds=Path("x" * LONGEST_PATH))):
        assert Path("x" * LONGEST_PATH).exists()
