"""What every format's reader returns, and the one place where a decoder's errors become this service's."""

import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import ConvoscopeError, InvalidInput, TooLarge

Result = TypeVar("Result")

# What decoders say about a caller's file goes into the error, not into the service's log (libtiff's is in `libtiff`).
PILLOW = re.compile(r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True, slots=True)
class Source:
    """A decoded picture.

    `pixels` is a Pillow image of any mode, or RGB or RGBA as (H, W, 3 or 4) uint8, stored with `orientation` (1 to 8,
    as in EXIF). `extent` is the width and height of the picture on those pixels, fractions if a JPEG was decoded at an
    eighth of its size and its last pixels are partly padding; None means all of them. `reduced` says what the samples
    were if they are not the file's own ("16-bit samples"), else "".
    """

    pixels: Image.Image | NDArray[np.uint8]
    orientation: int = 1
    extent: tuple[float, float] | None = None
    reduced: str = ""


def attempt(kind: str, decoder: Callable[..., Result], *arguments: Any) -> Result:
    """What `decoder`, a foreign one, returns for a caller's file of format `kind`.

    Raises InvalidInput, and TooLarge, for anything that it raises but MemoryError, which is not the caller's fault.
    Pillow documents no set of errors: corrupt files have raised OSError, SyntaxError, ValueError, struct.error,
    EOFError, IndexError, KeyError, TypeError, OverflowError, zlib.error and more.
    """
    # A filter that stays, because warnings.catch_warnings would let decoding threads undo each other's.
    if [entry[3] for entry in warnings.filters[:1]] != [PILLOW]:
        warnings.filterwarnings("ignore", module=PILLOW.pattern)
    try:
        return decoder(*arguments)
    except (ConvoscopeError, MemoryError):
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, for a GIF's frame larger than its screen
        refusal: ConvoscopeError = TooLarge(f"the {kind} is too large: {error}")
    except cv2.error as error:
        if error.code == cv2.Error.STS_NO_MEM:
            raise MemoryError from None
        refusal = InvalidInput(f"the {kind} cannot be decoded: {error.err!s:.150}")
    except Exception as error:
        refusal = InvalidInput(_reason(kind, error))
    # Raised here, because an error keeps the one that it is raised under, whose frames keep the caller's bytes.
    try:
        raise refusal
    finally:
        del refusal  # or this frame, which the error's traceback keeps, would keep the error: a cycle


def _reason(kind: str, error: Exception) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, EOFError) or "truncated" in text.lower() or "premature end of jpeg file" in text.lower():
        return f"the {kind} ends early: it does not hold all of its pixels"
    return f"the {kind} cannot be decoded: {text:.150}"
