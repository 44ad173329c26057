"""Encoded pictures to RGB arrays, and arrays to pictures.

What belongs here: which formats are read, the limits on them, colour and orientation, the reduction to a network's
input, and rendering arrays as PNG. It knows no HTTP and no network. It may import the ground floor only.

What it offers:

- `thumbnail(data, input)`: a picture as a network receives it, which `input` describes; `resize(arrays, input)`: the
  same for arrays; `seen(width, height, fit)`: the part of a picture that they keep.
- `views(data, input, count)`: several views of it, whole and closer; `views_of(array, input, count)`: the same for an
  array; `MAX_VIEWS`: how many there are at most.
- `full(data)`: a picture in all its pixels; `read(data)`: the same, with what its samples were before they became 8
  bits (`Picture`).
- `render`: arrays as pictures in PNG.
"""

from app.imaging.decode import Picture, full, read, thumbnail, views
from app.imaging.preprocess import MAX_VIEWS, Fit, Input, resize, seen
from app.imaging.preprocess import views as views_of

__all__ = ["MAX_VIEWS", "Fit", "Input", "Picture", "full", "read", "resize", "seen", "thumbnail", "views", "views_of"]
