"""From the 28x28 mask of a detection to the run-length code of its picture. NumPy alone.

The mask is drawn into the window that its box needs, never into an array of the picture's size.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

_BORDER = 1  # of zeros around a mask, so that it fades out at the edge of its box

Window = tuple[int, int, npt.NDArray[Any]]


def paste_mask(
    mask: npt.NDArray[np.float32],
    box_orig: npt.ArrayLike,
    height: int,
    width: int,
    threshold: float = 0.5,
) -> Window:
    """Returns which pixels of the picture an object covers, in the window of its box.

    Args:
        mask: [S, S] float32 probabilities, covering the box.
        box_orig: [4] yxyx, pixels of the picture.
        height: height of the picture.
        width: width of the picture.
        threshold: a pixel above it is covered.

    Returns:
        (first row, first column, [h, w] bool), within the picture; the window may be empty.
    """
    y0, x0, probabilities = paste_probabilities(mask, box_orig, height, width)
    return y0, x0, probabilities > threshold


def paste_probabilities(
    mask: npt.NDArray[np.float32], box_orig: npt.ArrayLike, height: int, width: int
) -> Window:
    """Returns the mask drawn to the picture's pixels, in the window of its box.

    As torchvision's `paste_masks_in_image`: the mask gets a border of zeros and the box grows
    with it, its corners are cut to whole numbers, both being part of the window.

    Args:
        mask: [S, S] float32, covering the box.
        box_orig: [4] yxyx, pixels of the picture.
        height: height of the picture.
        width: width of the picture.

    Returns:
        (first row, first column, [h, w] float32), within the picture; the window may be empty.
    """
    padded = np.pad(np.asarray(mask, np.float32), _BORDER)
    ymin, xmin, ymax, xmax = _grown(box_orig, padded.shape[0] / mask.shape[0])
    rows, y0 = _axis_weights(ymin, ymax, height, padded.shape[0])
    columns, x0 = _axis_weights(xmin, xmax, width, padded.shape[1])
    return y0, x0, rows @ padded @ columns.T


def _grown(box: npt.ArrayLike, scale: float) -> list[int]:
    """Returns the corners of a box that is `scale` times as large, cut to whole numbers."""
    ymin, xmin, ymax, xmax = np.asarray(box, np.float32)
    half = np.float32(0.5)
    center_y, center_x = (ymin + ymax) * half, (xmin + xmax) * half
    half_height = (ymax - ymin) * half * np.float32(scale)
    half_width = (xmax - xmin) * half * np.float32(scale)
    return [
        int(center_y - half_height),
        int(center_x - half_width),
        int(center_y + half_height),
        int(center_x + half_width),
    ]


def _axis_weights(
    first: int, last: int, limit: int, length: int
) -> tuple[npt.NDArray[np.float32], int]:
    """Returns the bilinear weights [pixels, length] of mask rows in the picture's, and the first.

    The pixels are `first` to `last`, both included, but cut to 0 ... limit - 1.
    """
    extent = max(last - first + 1, 1)
    start, end = max(first, 0), min(last + 1, limit)
    pixels = np.arange(start, max(start, end), dtype=np.float32) - np.float32(first)
    positions = (pixels + np.float32(0.5)) * np.float32(length / extent) - np.float32(0.5)
    positions = np.clip(positions, 0, length - 1)
    distances = np.abs(positions[:, None] - np.arange(length, dtype=np.float32))
    return np.maximum(1 - distances, 0).astype(np.float32), start


def encode_window(
    window: npt.NDArray[np.bool_], y0: int, x0: int, height: int, width: int
) -> dict[str, Any]:
    """Returns the run-length code of a mask that is False outside a window.

    Args:
        window: [h, w] bool, within the picture.
        y0: the picture's row that is the window's first.
        x0: the picture's column that is the window's first.
        height: height of the picture.
        width: width of the picture.

    Returns:
        COCO's compressed form, {"size": [height, width], "counts": str}.
    """
    from pycocotools import mask as coco_mask

    columns = np.pad(window.T.astype(np.int8), [[0, 0], [1, 1]])
    changes = np.diff(columns, axis=1)
    first_of_column = (x0 + np.arange(window.shape[1]))[:, None] * height + y0
    places = first_of_column + np.arange(window.shape[0] + 1)
    starts, ends = places[changes == 1], places[changes == -1]
    # A run to the bottom of a column goes on at the top of the next.
    joined = np.flatnonzero(ends[:-1] == starts[1:])
    starts, ends = np.delete(starts, joined + 1), np.delete(ends, joined)
    edges = np.stack([starts, ends], axis=1).ravel()
    counts = np.diff(edges, prepend=0, append=height * width)
    if len(edges) and edges[-1] == height * width:
        counts = counts[:-1]  # No run of zeros follows the last pixel.
    uncompressed = {"size": [height, width], "counts": counts.tolist()}
    code = coco_mask.frPyObjects(uncompressed, height, width)
    return {"size": [height, width], "counts": code["counts"].decode("ascii")}
