"""The EXIF orientations: how a stored picture, its boxes and its masks are turned upright."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Turn:
    """Mirrors first, then swaps rows and columns.

    Attributes:
        flips_rows: the first row becomes the last.
        flips_columns: the first column becomes the last.
        transposes: rows become columns, after the flips.
    """

    flips_rows: bool = False
    flips_columns: bool = False
    transposes: bool = False

    def pixels(self, values: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Returns the turned array, [H, W] or [H, W, C]."""
        if self.flips_rows:
            values = values[::-1]
        if self.flips_columns:
            values = values[:, ::-1]
        return values.swapaxes(0, 1) if self.transposes else values

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the height and width of the turned picture."""
        return (width, height) if self.transposes else (height, width)

    def boxes(self, boxes: Floats, height: float, width: float) -> Floats:
        """Returns the boxes in the turned picture.

        Args:
            boxes: [n, 4] float64, yxyx, pixels of the picture as stored.
            height: height of the picture as stored.
            width: width of the picture as stored.
        """
        ymin, xmin, ymax, xmax = boxes.T
        if self.flips_rows:
            ymin, ymax = height - ymax, height - ymin
        if self.flips_columns:
            xmin, xmax = width - xmax, width - xmin
        if self.transposes:
            ymin, xmin, ymax, xmax = xmin, ymin, xmax, ymax
        return np.stack([ymin, xmin, ymax, xmax], axis=1)


UPRIGHT = Turn()

# By the value of the EXIF tag 0x0112 (EXIF 2.3, section 4.6.4); 6 is a quarter turn clockwise.
TURNS = {
    1: UPRIGHT,
    2: Turn(flips_columns=True),
    3: Turn(flips_rows=True, flips_columns=True),
    4: Turn(flips_rows=True),
    5: Turn(transposes=True),
    6: Turn(flips_rows=True, transposes=True),
    7: Turn(flips_rows=True, flips_columns=True, transposes=True),
    8: Turn(flips_columns=True, transposes=True),
}
