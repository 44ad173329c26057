"""Encoded pictures to RGB arrays, and arrays to pictures.

What belongs here: which formats are read, the limits on them, colour and orientation, the reduction to a network's
input, and rendering arrays as PNG. It knows no HTTP and no network. It may import the ground floor only.

What it offers:

- `thumbnail(data)`: a picture as a network receives it; `resize(arrays)`: the same for arrays; `seen(width, height)`:
  the part of a picture that they keep; `SIDE`: their size in pixels.
- `views(data, count)`: several views of it, whole and closer; `views_of(array, count)`: the same for an array;
  `MAX_VIEWS`: how many there are at most.
- `full(data)`: a picture in all its pixels; `read(data)`: the same, with what its samples were before they became 8
  bits (`Picture`).
- `render`: arrays as pictures in PNG.
"""

from app.imaging.decode import Picture, full, read, thumbnail, views
from app.imaging.preprocess import MAX_VIEWS, SIDE, resize, seen
from app.imaging.preprocess import views as views_of

__all__ = ["MAX_VIEWS", "SIDE", "Picture", "full", "read", "resize", "seen", "thumbnail", "views", "views_of"]
