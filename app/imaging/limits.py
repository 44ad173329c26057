"""What a picture may cost before it is decoded: pixels, sides, and parts that its header claims.

A file of a few bytes can claim anything, so every claim is compared with these limits before memory is taken for it.
"""

from app.errors import InvalidInput, TooLarge

MAX_PIXELS = 64_000_000
"""Width times height."""

MAX_SIDE = 1_000_000
"""Pixels of a width or a height, as in libpng: decoders keep some bytes per row, however narrow the row is."""

MAX_HEADER_PARTS = 10_000
"""Segments, blocks, chunks or tags before the pixels; a few hundred are usual."""

MAX_CHUNKS = 100_000
"""Chunks of a PNG; 64 MB in the usual pieces of 8 kB are 8,000."""

MAX_SCANS = 100
"""Scans of a JPEG; a progressive one has about ten. Every scan costs a pass over all its pixels."""

MAX_SCANNED_PIXELS = 1_500_000_000
"""Scans of a JPEG times its pixels."""

MAX_STRIPS = 100_000
"""Strips or tiles of a TIFF; rows of their own in four planes of 25,000."""

MAX_RUN_LENGTH_PIXELS = 4_000_000
"""Pixels of a run-length coded BMP, whose runs are decoded in Python."""

MAX_AVIF_PIXELS = 32_000_000
"""Pixels of an AVIF, whose decoder takes about 16 bytes for each."""


def check_size(kind: str, width: int, height: int, max_pixels: int, what: str = "the") -> None:
    """Raises TooLarge if `what` picture of format `kind` exceeds a limit, and InvalidInput if it has no pixels."""
    if width < 1 or height < 1:
        raise InvalidInput(f"{what} {kind} has {width} x {height} pixels; expected at least one")
    if width * height > max_pixels:
        raise TooLarge(f"{what} {kind} has {width} x {height} pixels; expected at most {max_pixels} in all")
    if max(width, height) > MAX_SIDE:
        raise TooLarge(f"{what} {kind} has {width} x {height} pixels; expected at most {MAX_SIDE} per side")
