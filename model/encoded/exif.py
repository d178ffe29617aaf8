"""The one thing that EXIF is read for: how a stored picture is turned upright.

No other tag is looked at, so none can do harm; what cannot be read asks for no turn.
"""

from PIL import Image

UPRIGHT = 1
QUARTER_TURNS = (5, 6, 7, 8)
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_TAG = 0x0112
_BYTES_OF_TYPE = {1: 1, 3: 2, 4: 4}  # byte, short, long
_NAME = b"Exif\0\0"


def orientation(exif: bytes) -> int:
    r"""Returns the orientation, 1 to 8, that an EXIF block asks for; 1 where it asks for none.

    The first entry for it in the first directory counts; one that is no integer, or not one of
    the eight, counts as none.

    >>> orientation(b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0")
    6

    Args:
        exif: a TIFF structure, as in a JPEG's EXIF segment or a PNG's eXIf chunk.

    Reference: EXIF 2.3, section 4.6.4; TIFF 6.0, section 2.
    """
    while exif.startswith(_NAME):
        exif = exif[len(_NAME) :]
    order = {b"II": "little", b"MM": "big"}.get(exif[:2])
    if order is None:
        return UPRIGHT

    def number(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], order)  # type: ignore[arg-type]

    directory = number(4, 4)
    for entry in range(number(directory, 2)):
        at = directory + 2 + 12 * entry
        if at + 12 > len(exif):
            break
        if number(at, 2) == _TAG:
            size = _BYTES_OF_TYPE.get(number(at + 2, 2), 0)
            value = number(at + 8, size)
            return value if value in range(1, 9) else UPRIGHT
    return UPRIGHT


def turned(picture: Image.Image, orientation: int) -> Image.Image:
    """Returns a picture turned as the orientation asks."""
    if orientation == UPRIGHT:
        return picture
    return picture.transpose(TRANSPOSITIONS[orientation])


def turned_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Returns height and width of the picture after the turn."""
    return (width, height) if orientation in QUARTER_TURNS else (height, width)
