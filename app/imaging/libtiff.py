"""What libtiff says about a file: counted for the thread that decodes it, and not written to stderr.

Pillow leaves libtiff's error handler on, which writes lines about a damaged file: a flood of the log that any caller
could cause. And it passes over what libtiff only reports and goes on after, so that damage would be read as pixels.
"""

import ctypes
import threading

from PIL import _imaging


class _Errors(threading.local):
    count = 0


_errors = _Errors()


def _count(module: bytes, format: bytes, arguments: int) -> None:
    _errors.count += 1


_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)(_count)
"""Kept here, because libtiff calls it for as long as the process lives."""


def errors() -> int:
    """How many errors libtiff has reported in the current thread so far."""
    return _errors.count


def _listen() -> None:
    """Replace libtiff's handler. It is looked up through Pillow's module, so that it is the libtiff that Pillow uses.

    A build of Pillow that hides the function is left as it is.
    """
    pillow = ctypes.CDLL(_imaging.__file__)
    for name, handler in (("TIFFSetErrorHandler", _HANDLER), ("TIFFSetErrorHandlerExt", None)):
        if set_handler := getattr(pillow, name, None):
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(ctypes.cast(handler, ctypes.c_void_p) if handler else None)


_listen()
