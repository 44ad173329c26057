"""AVIF, by libavif in Pillow; of a sequence the first picture."""

import io

from PIL import _avif
from PIL.AvifImagePlugin import AvifImageFile

from app.imaging.limits import MAX_AVIF_PIXELS, check_size
from app.imaging.source import Source, attempt


class _Avif(AvifImageFile):
    """Pillow's reader in one thread and without its EXIF reader, which may take gigabytes for a hostile block.

    The orientation is the container's (irot, imir); ISO/IEC 23008-12 says to ignore what EXIF says.
    """

    turned = 1

    def _open(self) -> None:
        assert self.fp is not None
        self._decoder = _avif.AvifDecoder(self.fp.read(), "auto", 1)
        self._size, self.n_frames, self._mode, _, _, self.turned, _ = self._decoder.get_info()
        self.is_animated = self.n_frames > 1
        self.seek(0)


def read(data: bytes, max_pixels: int) -> Source:
    """Decode `data`. Raises TooLarge, and InvalidInput if the picture is cut short or corrupt."""
    picture = attempt("AVIF", _Avif, io.BytesIO(data))
    check_size("AVIF", *picture.size, min(max_pixels, MAX_AVIF_PIXELS))
    attempt("AVIF", picture.load)
    return Source(picture, picture.turned)
