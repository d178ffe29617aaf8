"""A hash of what a picture looks like: pictures that look alike have hashes with few bits between.

The difference hash (dHash): whether each of 8 x 8 parts is brighter than its neighbour, aside and
below. It stays where a picture is compressed anew, resized, or made brighter.
"""

import numpy as np
from PIL import Image

from model.encoded.flaw import PictureFlaw
from model.encoded.pixels import opened

_SIDE = 8
_DECODED_PX = 32  # the decoder leaves out what a smaller picture does not need
# In grey values: a picture with less in it has a hash of its noise.
_LEAST_DEVIATION = 3.0
# Of the 128 differences, those of two grey values or more: on a plain ground most are 0, and bits
# that are not set say nothing. One shape of 20 to 90 px on 640 x 480 px of white has 17 of them at
# most, of up to 200 px 30 (without the limit 26 and 4 % of such pictures' pairs are alike); photos
# of coco_tiny have 56 or more, those of blood_cells 101, bright nuclei on black 13.
_LEAST_DIFFERENCE, _FEWEST_DIFFERENCES = 2, 32
NO_HASH = (0, 0)


def picture_hash(jpeg: bytes) -> tuple[int, int]:
    """Returns the two halves of the hash of a JPEG; `NO_HASH` where there is too little to see.

    Args:
        jpeg: a file that can be decoded; of a damaged one there is no hash.
    """
    import simplejpeg

    least = {"min_height": _DECODED_PX, "min_width": _DECODED_PX, "min_factor": 1}
    try:
        grey = simplejpeg.decode_jpeg(jpeg, "GRAY", **least)[..., 0]
        return hash_of(Image.fromarray(grey))
    except ValueError:  # what it does not know, such as CMYK, Pillow does
        return _hash_by_pillow(jpeg)


def _hash_by_pillow(jpeg: bytes) -> tuple[int, int]:
    try:
        picture = opened(jpeg)
        picture.draft("L", (_DECODED_PX, _DECODED_PX))
        return hash_of(picture)
    except (PictureFlaw, OSError, ValueError, SyntaxError):
        return NO_HASH


def hash_of(picture: Image.Image) -> tuple[int, int]:
    """Returns the hash of a picture, of any size; `NO_HASH` where too little of it differs."""
    grey = picture.convert("L")
    aside, below = (
        np.asarray(grey.resize(size, Image.Resampling.BOX), np.int16)
        for size in ((_SIDE + 1, _SIDE), (_SIDE, _SIDE + 1))
    )
    if aside.std() < _LEAST_DEVIATION:
        return NO_HASH
    differences = [np.diff(aside, axis=1), np.diff(below, axis=0)]
    number = sum(np.count_nonzero(np.abs(half) >= _LEAST_DIFFERENCE) for half in differences)
    if number < _FEWEST_DIFFERENCES:
        return NO_HASH
    bits = [half > 0 for half in differences]
    first, second = (int.from_bytes(np.packbits(half).tobytes(), "big") for half in bits)
    # A picture that gets darker all the way has no bit set, as `NO_HASH`: it gets one.
    return (first, second) if first or second else (first, 1)
