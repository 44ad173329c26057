"""What the service listens on: an address with a port, or a Unix socket."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.settings import Settings

SOCKET_MODE = 0o660
"""A Unix socket is for its owner and its group, such as a reverse proxy's."""

LONGEST_PATH = 107
"""Bytes of a Unix socket's path on Linux (`sun_path` of unix(7), which ends with a zero)."""


class AddressInUse(Exception):
    """The address to listen on is taken or not ours; the message says which and what to do."""


@contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """A bound socket, so that an address in use is found before the networks are loaded. Raises AddressInUse."""
    if settings.uds is None:
        with _on_port(settings.host, settings.port) as listener:
            yield listener
        return
    with _on_path(settings.uds) as listener:
        ours = settings.uds.stat()
        try:
            yield listener
        finally:
            with suppress(OSError):
                if os.path.samestat(settings.uds.stat(), ours):  # and not that of a service that came after us
                    settings.uds.unlink()


def address(listener: socket.socket) -> str:
    """What a client calls the service, such as `http://127.0.0.1:8000` or `unix:/run/convoscope.sock`."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _on_port(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found)
    except OSError as error:
        raise AddressInUse(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another with --port or --host "
            "(make serve PORT=… HOST=…)"
        ) from error
    return listener


def _on_path(path: Path) -> socket.socket:
    if (size := len(os.fsencode(path))) > LONGEST_PATH:
        raise AddressInUse(f"cannot listen on {path}: its path has {size} bytes; expected at most {LONGEST_PATH}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_abandoned(path)
        listener.bind(os.fspath(path))
        path.chmod(SOCKET_MODE)  # before it listens, so that nobody else ever connects
    except OSError as error:
        listener.close()
        raise AddressInUse(f"cannot listen on {path}: {error.strerror}; choose another with --uds") from error
    return listener


def _remove_abandoned(path: Path) -> None:
    """Remove the socket of a process that was killed. Raises OSError for anything else that is there."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "it exists and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        found = probe.connect_ex(os.fspath(path))
    if found != errno.ECONNREFUSED:
        raise OSError(errno.EADDRINUSE, "another process does")
    path.unlink()
