"""The Beam graph: every shard is one element, so no picture ever travels between workers."""

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
from apache_beam.metrics import Metrics

from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.shard import ShardTask, transform_shard
from components.shard_failure import failure
from ground.errors import DatasetError
from ground.files import write_json

NAMESPACE = "coco_transform"  # of the counters


class TransformShards(beam.PTransform):
    """Writes every shard and its index; ends in the names of the shards that are done.

    Args:
        tasks: one a shard.
        settings: its transform, input and anchor settings.
    """

    def __init__(self, tasks: Sequence[ShardTask], settings: CocoTransformSettings) -> None:
        super().__init__()
        self._tasks = list(tasks)
        self._settings = settings.to_json()

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Returns a collection of shard names."""
        return (
            pipeline
            | "Shards" >> beam.Create(self._tasks, reshuffle=False)
            | "SpreadOverWorkers" >> beam.Reshuffle()
            | "TransformShard" >> beam.ParDo(_TransformShard(self._settings))
        )


class _TransformShard(beam.DoFn):
    """Transforms a shard and counts what happened to its pictures, objects and masks."""

    def __init__(self, settings: str) -> None:
        super().__init__()
        self._settings = settings

    def process(self, task: ShardTask) -> Iterator[str]:
        """Yields the shard's name when it is done."""
        try:
            statistics = transform_shard(task, CocoTransformSettings.from_json(self._settings))
        except (DatasetError, OSError) as error:
            write_json(task.summary_path, failure(error))
            raise
        _count(statistics.pictures.items(), "pictures")
        _count(statistics.objects.items(), "objects")
        yield f"{task.split}-{task.shard}"


def _count(counts: Iterable[tuple[str, int]], kind: str) -> None:
    for reason, number in counts:
        Metrics.counter(NAMESPACE, f"{kind}_{reason}").inc(number)
