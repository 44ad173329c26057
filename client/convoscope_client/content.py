"""Pictures and arrays, in every form that people have them, to bytes."""

import io
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

NPY = b"\x93NUMPY"

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image | NDArray[Any]
else:  # PIL and NumPy need not be installed
    Picture = Any
"""A path, encoded bytes, an open file, a PIL image, or an array (H, W, 3) or (N, H, W, 3) of uint8."""

EXPECTED = "a path, bytes, a file opened for reading bytes, a PIL image or a NumPy array"


def content(picture: Any) -> bytes:
    """The bytes of a Picture to send: PIL images become PNG, arrays npy.

    Raises TypeError for anything that is not a Picture, and OSError for a file that cannot be read.
    """
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str | os.PathLike):
        return Path(picture).read_bytes()
    if hasattr(picture, "__array_interface__") and hasattr(picture, "dtype"):
        return _npy(picture)
    if hasattr(picture, "save") and hasattr(picture, "getbands"):
        return _png(picture)
    found = picture.read() if hasattr(picture, "read") else picture
    if not isinstance(found, bytes):
        raise TypeError(f"the picture is {type(found).__name__}; expected {EXPECTED}")
    return found


def _npy(array: "NDArray[Any]") -> bytes:
    import numpy as np

    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _png(image: "Image") -> bytes:
    file = io.BytesIO()
    (image if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else image.convert("RGB")).save(file, "PNG")
    return file.getvalue()
