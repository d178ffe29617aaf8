"""What is random about a picture beside its size: functions of (seed, epoch, image id)."""

import numpy as np
import numpy.typing as npt

from configs.augmentation_schema import ColorJitterConfig
from model.input.color import color_maps
from model.input.hashing import Purpose, uniforms

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Draws:
    """Colours and turns.

    Args:
        image_ids: int64 [R], what a picture's random numbers hang on.
        seed: seed of all that is random.
    """

    def __init__(self, image_ids: Ints, seed: int) -> None:
        self._image_ids = image_ids
        self._seed = seed

    def color_maps(
        self, jitter: ColorJitterConfig, epoch: int, records: Ints
    ) -> npt.NDArray[np.float32]:
        """Returns float32 [n, 3, 4], as `color.color_maps`."""
        ids = self._image_ids[records]
        changes = uniforms(self._seed, epoch, Purpose.IS_RECOLORED, ids) < jitter.probability

        def drawn(purpose: Purpose, strength: float) -> Floats:
            """Returns [n] in [-strength, strength], 0 where nothing changes."""
            way = 2 * uniforms(self._seed, epoch, purpose, ids) - 1
            return np.where(changes, strength * way, 0.0)

        return color_maps(
            1 + drawn(Purpose.BRIGHTNESS, jitter.brightness),
            1 + drawn(Purpose.CONTRAST, jitter.contrast),
            1 + drawn(Purpose.SATURATION, jitter.saturation),
            drawn(Purpose.HUE, jitter.hue),
        )

    def turns(self, degrees: float, epoch: int, records: Ints) -> npt.NDArray[np.float32]:
        """Returns float32 [n, 2], cosine and sine of each record's angle within +-`degrees`."""
        way = 2 * uniforms(self._seed, epoch, Purpose.ROTATION, self._image_ids[records]) - 1
        angles = np.deg2rad(degrees) * way
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
