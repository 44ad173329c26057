"""Which format some bytes are in. Only the bytes decide, never a declared type."""

import re

from app.errors import UnsupportedPicture

READ = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WebP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "AVIF": re.compile(rb".{4}ftyp(avif|avis|(mif1|msf1|miaf).{4}(.{4}){0,6}?avi[fs])", re.DOTALL),
}
"""The formats that are read. A phone's multi-picture JPEG (MPO) is read as the JPEG that it begins with."""

UNREAD = {
    "a HEIC picture": re.compile(rb".{4}ftyp(hei[cxms]|hev[cxm]|mif1|msf1)", re.DOTALL),
    "a JPEG XL picture": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
    "a JPEG 2000 picture": re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    "an SVG drawing": re.compile(rb"(\xef\xbb\xbf)?\s{0,100}<(svg\b|(\?xml|!--|!DOCTYPE\s+svg)[\s\S]{0,1000}<svg\b)"),
    "a web page (HTML)": re.compile(rb"(\xef\xbb\xbf)?\s{0,100}<(!doctype\s+html|html|head|body)\b", re.I),
    "an XML document": re.compile(rb"(\xef\xbb\xbf)?\s*<\?xml"),
    "a JSON document": re.compile(rb'\s*[{\[]\s*["{\[\]}\d]'),
    "a PDF document": re.compile(rb"%PDF-"),
    "PostScript (EPS)": re.compile(rb"%!PS|\xc5\xd0\xd3\xc6"),
    "a Photoshop document (PSD)": re.compile(rb"8BP[SB]"),
    "a Windows icon (ICO)": re.compile(rb"\0\0\x01\0[^\0]\0"),
    "a Windows cursor (CUR)": re.compile(rb"\0\0\x02\0[^\0]\0"),
    "an Apple icon (ICNS)": re.compile(rb"icns"),
    "a netpbm picture (PPM)": re.compile(rb"P[1-7Ff][\s#]"),
    "a QOI picture": re.compile(rb"qoif"),
    "a DDS texture": re.compile(rb"DDS "),
    "an OpenEXR picture": re.compile(rb"\x76\x2f\x31\x01"),
    "a Radiance HDR picture": re.compile(rb"#\?(RADIANCE|RGBE)"),
    "a FITS file": re.compile(rb"SIMPLE  ="),
    "a DICOM file": re.compile(rb".{128}DICM", re.DOTALL),
    "a GIMP picture (XCF)": re.compile(rb"gimp xcf"),
    "a PCX picture": re.compile(rb"\x0a[\x00-\x05]\x01[\x01\x02\x04\x08]"),
    "an SGI picture": re.compile(rb"\x01\xda[\0\x01][\x01\x02]"),
    "an XPM drawing": re.compile(rb"/\* XPM \*/"),
    "an XBM drawing": re.compile(rb"\s{0,100}#define\s{1,9}\w{1,99}_width\s"),
    "a Sun raster picture": re.compile(rb"\x59\xa6\x6a\x95"),
    "a BLP texture": re.compile(rb"BLP[12]"),
    "an FTEX texture": re.compile(rb"FTEX"),
    "an FLI animation": re.compile(rb".{4}[\x11\x12]\xaf", re.DOTALL),
    "a DCX picture": re.compile(rb"\xb1\x68\xde\x3a"),
    "an IFUNC picture (IM)": re.compile(rb"Image type:"),
    "a GRIB file": re.compile(rb"GRIB"),
    "an HDF5 file": re.compile(rb"\x89HDF\r\n\x1a\n"),
    "a Truevision picture (TGA)": re.compile(
        rb".([\0\x01][\x01\x09]|\0[\x02\x03\x0a\x0b]).{13}[\x08\x0f\x10\x18\x20][\0-\x2f]", re.DOTALL
    ),
    "a Windows metafile (WMF or EMF)": re.compile(rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", re.DOTALL),
    "a BPG picture": re.compile(rb"BPG\xfb"),
    "a FLIF picture": re.compile(rb"FLIF"),
    "a JPEG XR picture": re.compile(rb"II\xbc"),
    "a raw photograph": re.compile(rb"FUJIFILMCCD-RAW|IIRO|IIRS|MMOR|IIU\0|\0MRM|FOVb"),
    "a raw photograph (CR3)": re.compile(rb".{4}ftypcrx ", re.DOTALL),
    "a video": re.compile(rb".{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI |\0\0\x01\xba|.{4}(moov|mdat)", re.DOTALL),
    "a ZIP archive": re.compile(rb"PK[\x03\x05\x07]"),
    "gzip data": re.compile(rb"\x1f\x8b"),
    "an npy array": re.compile(rb"\x93NUMPY"),
    "Base64 text": re.compile(rb"data:image/|iVBORw0KGgo|/9j/|R0lGOD|UklGR"),  # of a PNG, JPEG, GIF and WebP
}
"""Formats that people send and that are not read, in the order in which they are tried."""

ADVICE = {
    "a HEIC picture": (
        "convert it to JPEG first (an iPhone takes JPEG with Settings, Camera, Formats, Most Compatible)"
    ),
    "an SVG drawing": "render it as PNG first",
    "a PDF document": "render the page as PNG first",
    "an npy array": "send it as application/x-npy",
    "Base64 text": 'send the bytes that it stands for, or JSON: {"images": ["<base64>"]}',
}


def kind(data: bytes) -> str:
    """The name in READ of the format that `data` begins with.

    Raises UnsupportedPicture, naming the format or, if it is unknown, the first bytes.
    """
    for name, beginning in READ.items():
        if beginning.match(data):
            return name
    expected = f"expected {', '.join(READ)}"
    for name, beginning in UNREAD.items():
        if beginning.match(data):
            advice = f"; {ADVICE[name]}" if name in ADVICE else ""
            raise UnsupportedPicture(f"the picture is {name}; {expected}{advice}")
    raise UnsupportedPicture(f"the picture {_beginning(data)}; {expected}")


def _beginning(data: bytes) -> str:
    if not data:
        return "is empty"
    first = data[:16]
    if all(32 <= byte < 127 for byte in first):
        return f'begins with the text "{first.decode("ascii")}"'
    return f"begins with the bytes {first.hex(' ')}"
