"""How a TIFF stores its samples, and which of such layouts can be read."""

from dataclasses import dataclass

from app.errors import InvalidInput
from app.imaging import tiff_directory as tags

PLAIN = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"}
"""Compressions of bytes."""

OLD_JPEG, JPEG = 6, 7
GROUP_4 = 4
CODED = {6: "old JPEG", 7: "JPEG", 4: "CCITT Group 4"}
"""Compressions of pictures."""

UNREAD = {
    2: "CCITT RLE",
    3: "CCITT Group 3",
    9: "JBIG",
    10: "JBIG",
    32766: "NeXT",
    32771: "CCITT RLE",
    32809: "ThunderScan",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "SGILog",
    34677: "SGILog24",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy DNG",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
    0xBC01: "JPEG XR",
}
"""In a damaged Group 3 fax libtiff goes on at the next row, and Pillow does not let it say so."""

COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3}
"""Photometric interpretation -> samples that are colours."""

PHOTOMETRICS = {
    0: "white is 0",
    1: "black is 0",
    2: "RGB",
    3: "palette",
    4: "mask",
    5: "separated",
    6: "YCbCr",
    8: "CIE L*a*b*",
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "colour filter array",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw",
}
FORMATS = {1: "unsigned integer", 2: "signed integer", 3: "float", 4: "undefined", 5: "complex integer", 6: "complex"}
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
DEPTHS = {UNSIGNED: {*range(1, 17), 24, 32, 64}, SIGNED: {8, 16, 32, 64}, FLOAT: {16, 32, 64}}
PREMULTIPLIED, ALPHA, COREL_ALPHA = 1, 2, 999
MAX_EXTRA = 8
"""Samples per pixel that are not colours."""

NUMERIC = 24
"""An unsigned integer of more bits has no agreed white."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a directory says of the samples. A strip is a tile as wide as the picture."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    tiled: bool
    bits: int
    format: int
    samples: int
    photometric: int
    compression: int
    predictor: int
    planar: bool
    reversed_bits: bool
    extra: tuple[int, ...]
    mixed: str
    """The depths, or the formats, that differ from sample to sample; else ""."""

    ink_set: int
    subsampled: bool

    @classmethod
    def of(cls, directory: tags.Directory) -> "Layout":
        """Raises nothing: `check` says what is wrong."""
        one, numbers = directory.one, directory.numbers
        compression = one(tags.COMPRESSION, 1)
        photometric = 6 if compression == OLD_JPEG else one(tags.PHOTOMETRIC, 0)
        samples = one(tags.SAMPLES, 3 if compression == OLD_JPEG else len(numbers.get(tags.BITS, (1,))))
        width, height = one(tags.WIDTH, 0), one(tags.HEIGHT, 0)
        tiled = tags.TILE_OFFSETS in numbers or (tags.TILE_WIDTH in numbers and tags.STRIP_OFFSETS not in numbers)
        bits, formats = (numbers.get(tag, (1,))[: max(1, samples)] for tag in (tags.BITS, tags.SAMPLE_FORMAT))
        differing = next((kinds for kinds in (set(bits), set(formats)) if len(kinds) > 1), set())
        mixed = ", ".join(map(str, sorted(differing)[:4]))
        declared = numbers.get(tags.EXTRA_SAMPLES, ())
        spare = min(MAX_EXTRA + 1, max(0, samples - COLOURS.get(photometric, samples)))  # a claim, not checked yet
        if not declared and photometric == 2 and samples == 4:
            declared = (ALPHA,)  # many writers leave the tag out
        subsampling = directory.entries.get(tags.SUBSAMPLING)
        return cls(
            width,
            height,
            one(tags.TILE_WIDTH, 0) if tiled else width,
            one(tags.TILE_HEIGHT, 0) if tiled else min(height, one(tags.ROWS_PER_STRIP, height)),
            tiled,
            bits[0],
            formats[0] if formats[0] != 4 else UNSIGNED,
            samples,
            photometric,
            compression,
            one(tags.PREDICTOR, 1),
            one(tags.PLANES, 1) == 2 and samples > 1,
            one(tags.FILL_ORDER, 1) == 2,
            (declared + (0,) * spare)[:spare],
            mixed,
            one(tags.INK_SET, 1),
            subsampling is None or subsampling[1] != 2,
        )

    @property
    def colours(self) -> int:
        """Samples per pixel that are colours."""
        return COLOURS[self.photometric]

    @property
    def alpha_at(self) -> int | None:
        """Which of the extra samples is alpha."""
        return next((i for i, kind in enumerate(self.extra) if kind in (PREMULTIPLIED, ALPHA, COREL_ALPHA)), None)

    @property
    def alpha_is_premultiplied(self) -> bool:
        return self.alpha_at is not None and self.extra[self.alpha_at] == PREMULTIPLIED

    @property
    def numeric(self) -> bool:
        """Whether samples are numbers without an agreed white, rather than levels."""
        return self.format != UNSIGNED or self.bits > NUMERIC

    @property
    def reduced(self) -> str:
        """What the samples were, if they are not kept as they are."""
        if self.numeric:
            return f"{self.bits}-bit {FORMATS[self.format]} samples"
        return f"{self.bits}-bit samples" if self.bits > 8 else ""

    def described(self) -> str:
        """All of it in words, for an error."""
        compression = {**PLAIN, **CODED, **UNREAD}.get(self.compression, str(self.compression))
        meaning = PHOTOMETRICS.get(self.photometric, f"photometric interpretation {self.photometric}")
        kind = FORMATS.get(self.format, f"format {self.format}")
        planes = " in separate planes" if self.planar else ""
        return f"{self.samples} samples of {self.bits} bits ({kind}){planes}, {meaning}, compression {compression}"

    def check(self) -> None:
        """Raises InvalidInput, saying what was found and what is read, unless the layout can be read right."""
        if self.compression not in PLAIN and self.compression not in CODED:
            raise self._unread(f"compression {', '.join(dict.fromkeys([*PLAIN.values(), *CODED.values()]))}")
        if self.photometric not in COLOURS:
            raise self._unread("grey, RGB, palette, CMYK, YCbCr or L*a*b*")
        if self.mixed or not self.colours <= self.samples <= self.colours + MAX_EXTRA:
            found = f", found {self.mixed}" if self.mixed else ""
            raise self._unread(f"{self.colours} to {self.colours + MAX_EXTRA} samples of one kind{found}")
        if self.bits not in DEPTHS.get(self.format, ()):
            raise self._unread(
                "unsigned integers of 1 to 16, 24, 32 or 64 bits, signed of 8 to 64, or floats of 16 to 64"
            )
        if self.compression in CODED or self.photometric == 6:
            self._check_coded()
        else:
            self._check_plain()

    def _check_plain(self) -> None:
        if self.photometric == 3 and (self.bits > 16 or self.format != UNSIGNED):
            raise self._unread("a palette of 1 to 16 bits")
        if self.photometric == 5 and (self.bits < 8 or self.numeric or self.ink_set != 1):
            raise self._unread("CMYK of 8 to 16 bits")
        if self.photometric in (8, 9) and (self.bits not in (8, 16) or self.format == FLOAT):
            raise self._unread("L*a*b* of 8 or 16 bits")
        if self.alpha_at is not None and self.photometric in (5, 8, 9):
            raise self._unread("alpha beside grey, RGB or a palette")
        if self.numeric and self.alpha_at is not None:
            raise self._unread("alpha beside unsigned integers of up to 24 bits")
        predictors = {1: True, 2: self.bits in (8, 16, 32, 64), 3: self.format == FLOAT}
        if self.predicted and not predictors.get(self.predictor, False):
            raise self._unread(f"predictor 1, 2 or 3 (floats), not {self.predictor}")

    @property
    def predicted(self) -> bool:
        """Whether samples are stored as differences; only these compressions have a predictor."""
        return self.predictor != 1 and PLAIN.get(self.compression) in ("LZW", "deflate", "LZMA", "Zstandard")

    def _check_coded(self) -> None:
        """Only what libtiff and Pillow are known to decode right."""
        if self.compression == GROUP_4:
            right = self.photometric in (0, 1) and self.bits == self.samples == 1
            expected = "one bit of black and white"
        else:
            right = self.bits == 8 and self.format == UNSIGNED and not self.extra
            right = right and (self.photometric in (0, 1, 2, 6)) and (not self.planar or self.photometric != 6)
            expected = "grey, RGB or YCbCr of 8 bits in one plane"
        if not right:
            raise self._unread(expected)

    def _unread(self, expected: str) -> InvalidInput:
        return InvalidInput(f"the TIFF has {self.described()}; expected {expected}")
