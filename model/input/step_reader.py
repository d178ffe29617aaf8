"""What each picture of a step is made of: the records, and how their pictures are seen.

In NumPy, and a function of (seed, epoch, image id) alone. A picture that is pasted from is seen as
the epoch has it; the parts of a mosaic fill their quarters.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from configs.schema import InputConfig
from model.input.draws import Draws
from model.input.index import ShardIndex
from model.input.mosaic import PARTS, quarter_sources, quarters
from model.input.plan import FILLER, Plan
from model.input.scene import Source, source_specs
from model.input.shard_files import ShardFiles

Ints = npt.NDArray[np.int64]


class Planned(NamedTuple):
    """What the plan says of each picture of a step; () is what the settings leave out.

    Attributes:
        source: the record, and how it is seen.
        bucket: int32 [2], height and width of the batch.
        image_id: int64, -1 for a filler.
        pasted: the record whose objects are pasted; its payload is empty where none are.
        paste_seed: int32 [2], chooses among them.
        others: the other parts of a mosaic, [3, ...]; payloads are empty where it is none.
        quarters: int32 [4, 4], top, left, height, width of the parts, the picture's own first.
    """

    source: Any
    bucket: Any
    image_id: Any
    pasted: Any = ()
    paste_seed: Any = ()
    others: Any = ()
    quarters: Any = ()


def planned_specs(config: InputConfig) -> Planned:
    """Returns the shape and dtype of each column of one picture."""
    one = source_specs(config)
    several = tf.nest.map_structure(
        lambda spec: tf.TensorSpec([PARTS - 1, *spec.shape], spec.dtype), one
    )
    return Planned(
        source=one,
        bucket=tf.TensorSpec([2], tf.int32),
        image_id=tf.TensorSpec([], tf.int64),
        pasted=one if config.copy_paste else (),
        paste_seed=tf.TensorSpec([2], tf.int32) if config.copy_paste else (),
        others=several if config.mosaic else (),
        quarters=tf.TensorSpec([PARTS, 4], tf.int32) if config.mosaic else (),
    )


class StepReader:
    """Reads what the pictures of a step are made of.

    Args:
        config: sizes and augmentation.
        plan: which pictures are in which step, and their sizes.
        index: index of all shards' records.
        shards: int64 [R], the shard of each record.
        files: the shards.
        seed: seed of all that is random.
    """

    def __init__(
        self,
        config: InputConfig,
        plan: Plan,
        index: ShardIndex,
        shards: Ints,
        files: ShardFiles,
        seed: int,
    ) -> None:
        self._config = config
        self._plan = plan
        self._index = index
        self._shards = shards
        self._files = files
        self._draws = Draws(index.image_id, seed)

    def step(self, step: int, worker: int) -> Planned:
        """Returns the columns [B, ...] of one worker's step."""
        epoch, step_in_epoch = divmod(step, self._plan.steps_per_epoch)
        bucket, chosen = self._plan.batch(epoch, step_in_epoch, worker)
        shape = np.asarray(self._plan.buckets[bucket], np.int32)
        planned = Planned(
            self._sources(epoch, chosen, shape),
            bucket=np.tile(shape, (len(chosen), 1)),
            image_id=np.where(chosen != FILLER, self._index.image_id[chosen], -1),
        )
        if self._config.copy_paste is not None:
            partners = self._draws.partners(self._config.copy_paste.probability, epoch, chosen)
            planned = planned._replace(
                pasted=self._sources(epoch, partners, shape),
                paste_seed=self._draws.paste_seeds(epoch, chosen),
            )
        return self._with_mosaics(planned, epoch, chosen, shape)

    def _with_mosaics(
        self, planned: Planned, epoch: int, chosen: Ints, shape: npt.NDArray[np.int32]
    ) -> Planned:
        """Returns the columns with some pictures made of four; unchanged without the setting."""
        if self._config.mosaic is None:
            return planned
        is_one, members = self._draws.mosaics(self._config.mosaic.probability, epoch, chosen)
        centres, places = self._draws.mosaic_places(epoch, chosen)
        parts = quarters(shape, centres)
        own_and_others = []
        for part in range(PARTS):
            records = members[:, part]
            stored = [self._index.height[records], self._index.width[records]]
            sizes = np.stack(stored, axis=1).astype(np.int64)
            source = quarter_sources(
                self._sources(epoch, records, shape), sizes, parts[:, part], places[:, part]
            )
            own_and_others.append(source)
        own = tf.nest.map_structure(
            lambda of_mosaic, alone: np.where(_aligned(is_one, alone), of_mosaic, alone),
            own_and_others[0],
            planned.source,
        )
        others = tf.nest.map_structure(lambda *parts: np.stack(parts, axis=1), *own_and_others[1:])
        return planned._replace(source=own, others=others, quarters=parts.astype(np.int32))

    def _sources(self, epoch: int, records: Ints, shape: npt.NDArray[np.int32]) -> Source:
        """Returns the columns [n, ...] of some records as the epoch has them."""
        used = records != FILLER
        heights, widths = self._plan.sizes(epoch, records)
        whole = np.asarray([0, 0, *shape])
        crops = np.where(used[:, np.newaxis], self._plan.crops(epoch, records), whole)
        jitter, degrees = self._config.color_jitter, self._config.rotation_degrees
        return Source(
            payload=np.asarray([self._payload(i) for i in records], object),
            height=np.where(used, heights, shape[0]).astype(np.int32),
            width=np.where(used, widths, shape[1]).astype(np.int32),
            flip=self._plan.flips(epoch, records) & used,
            crop=crops.astype(np.int32),
            color_map=self._draws.color_maps(jitter, epoch, records) if jitter else (),
            turn=self._draws.turns(degrees, epoch, records) if degrees else (),
        )

    def _payload(self, record: int) -> bytes:
        """Returns the record of a number, of FILLER nothing."""
        if record == FILLER:
            return b""
        index = self._index
        return self._files.read(self._shards[record], index.offset[record], index.length[record])


def _aligned(flags: npt.NDArray[np.bool_], values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Returns flags [n] as [n, 1, ...] of as many axes as `values`."""
    return flags.reshape([-1] + [1] * (values.ndim - 1))
