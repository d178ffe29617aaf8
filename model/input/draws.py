"""What is random about a picture beside its size: functions of (seed, epoch, image id)."""

import numpy as np
import numpy.typing as npt

from configs.augmentation_schema import ColorJitterConfig
from model.input.color import color_maps
from model.input.hashing import Purpose, hashes, uniforms
from model.input.plan import FILLER

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Draws:
    """Colours, turns, and which other pictures come in.

    Args:
        image_ids: int64 [R], what a picture's random numbers hang on.
        seed: seed of all that is random.
    """

    def __init__(self, image_ids: Ints, seed: int) -> None:
        self._image_ids = image_ids
        self._by_id = np.argsort(image_ids, kind="stable")
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

    def partners(self, probability: float, epoch: int, records: Ints) -> Ints:
        """Returns int64 [n], the record whose objects each is given; FILLER for none."""
        ids = self._image_ids[records]
        is_given = uniforms(self._seed, epoch, Purpose.IS_PASTED_ON, ids) < probability
        partners = self._any_record(uniforms(self._seed, epoch, Purpose.PARTNER, ids))
        return np.where(is_given & (records != FILLER), partners, FILLER)

    def paste_seeds(self, epoch: int, records: Ints) -> npt.NDArray[np.int32]:
        """Returns int32 [n, 2], seeds of which objects are pasted."""
        ids = self._image_ids[records]
        return hashes(self._seed, epoch, Purpose.PASTED_OBJECTS, ids).view(np.int32).reshape(-1, 2)

    def mosaics(
        self, probability: float, epoch: int, records: Ints
    ) -> tuple[npt.NDArray[np.bool_], Ints]:
        """Returns which records become mosaics, bool [n], and of what, int64 [n, 4].

        Its own record is first; where it becomes none, all are FILLER.
        """
        ids = self._image_ids[records]
        is_one = uniforms(self._seed, epoch, Purpose.IS_MOSAIC, ids) < probability
        is_one &= records != FILLER
        chance = self._chances(3, epoch, Purpose.MEMBER, ids)
        members = np.concatenate([records[:, np.newaxis], self._any_record(chance)], axis=1)
        return is_one, np.where(is_one[:, np.newaxis], members, FILLER)

    def mosaic_places(self, epoch: int, records: Ints) -> tuple[Floats, Floats]:
        """Returns where the parts meet, [n, 2], and each part's window lies, [n, 4, 2], in 0-1."""
        ids = self._image_ids[records]
        places = self._chances(8, epoch, Purpose.PLACE, ids)
        return self._chances(2, epoch, Purpose.CENTRE, ids), places.reshape(-1, 4, 2)

    def _chances(self, number: int, epoch: int, purpose: Purpose, ids: Ints) -> Floats:
        """Returns [n, number] in [0, 1)."""
        return uniforms(self._seed, epoch, purpose, ids[:, np.newaxis], np.arange(number))

    def _any_record(self, chance: Floats) -> Ints:
        """Returns a record for each number in [0, 1), whatever their order in the shards."""
        chosen: Ints = self._by_id[(chance * len(self._by_id)).astype(np.int64)]
        return chosen
