"""Sizes of resized and padded pictures, in NumPy; `resize.py` says the same in TensorFlow."""

import numpy as np
import numpy.typing as npt

Sides = npt.NDArray[np.int64]


def resized_sides(
    heights: npt.ArrayLike,
    widths: npt.ArrayLike,
    short_side_px: npt.ArrayLike,
    long_side_px: npt.ArrayLike,
) -> tuple[Sides, Sides]:
    """Returns the sides of pictures after resizing.

    The shorter side becomes `short_side_px` unless the longer one would exceed `long_side_px`.
    Sides are rounded down, in float64 as torchvision's: 480 x 640 becomes 800 x 1066, and 97 x 97
    becomes 799 x 799, as 97 * (800 / 97) is a little less than 800. No side is less than 1.

    Args:
        heights: int [N], at least 1.
        widths: int [N], at least 1.
        short_side_px: short side of the result; a number or one a picture.
        long_side_px: largest long side of the result; a number or one a picture.

    Returns:
        int64 [N] heights and widths.

    Reference: torchvision, `models.detection.transform._resize_image_and_masks`.
    """
    heights = np.asarray(heights, np.int64)
    widths = np.asarray(widths, np.int64)
    short, long = np.minimum(heights, widths), np.maximum(heights, widths)
    scales = np.minimum(np.divide(short_side_px, short), np.divide(long_side_px, long))
    new_heights = np.maximum(np.floor(heights * scales), 1).astype(np.int64)
    new_widths = np.maximum(np.floor(widths * scales), 1).astype(np.int64)
    return new_heights, new_widths


def padded_sides(sides: npt.ArrayLike, multiple_px: int) -> Sides:
    """Returns int64 `sides`, each rounded up to a multiple of `multiple_px`."""
    return -(-np.asarray(sides, np.int64) // multiple_px) * multiple_px
