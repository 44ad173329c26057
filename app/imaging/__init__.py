"""Encoded pictures to RGB arrays, and arrays to pictures.

What belongs here: which formats are read, the limits on them, colour and orientation, the reduction to a network's
input, and rendering arrays as PNG. It knows no HTTP and no network. It may import the ground floor only.

What it offers:

- `thumbnail(data)`: a picture as a network receives it; `resize(arrays)`: the same for arrays; `seen(width, height)`:
  the part of a picture that they keep; `SIDE`: their size in pixels.
- `full(data)`: a picture in all its pixels; `read(data)`: the same, with what its samples were before they became 8
  bits (`Picture`).
- `render`: arrays as pictures in PNG.
"""

from app.imaging.decode import Picture, full, read, thumbnail
from app.imaging.preprocess import SIDE, resize, seen

__all__ = ["SIDE", "Picture", "full", "read", "resize", "seen", "thumbnail"]
