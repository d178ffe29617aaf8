"""One shard while it is written: its records, what is known of each, and its index."""

import contextlib
import os
from collections.abc import Iterator

from components.handovers import Written, check_file
from components.shard_job import ShardJob
from ground.files import atomic_path
from model.examples import Shard
from model.input.index import write_index
from model.tfrecord import RECORD_HEADER_BYTES, DigestingStream, write_tfrecord

_BUFFER_BYTES = 1 << 20


class ShardFile:
    """The records of a shard, in order.

    Attributes:
        rows: rows of the index, a dict a record.
    """

    def __init__(self, job: ShardJob, stream: DigestingStream) -> None:
        self._job = job
        self._stream = stream
        self._written: list[Written] = []
        self.rows: list[dict[str, int]] = []

    def add(
        self,
        payload: bytes,
        *,
        image_id: int,
        height: int,
        width: int,
        num_objects: int,
        mask_side: int = 0,
    ) -> int:
        """Writes a record; returns the offset of its payload in the file, in bytes.

        Args:
            payload: the serialized example.
            image_id: id of the picture.
            height: height of the stored picture, in pixels.
            width: width of the stored picture, in pixels.
            num_objects: that the record holds, crowds too.
            mask_side: longest side of the bitmaps, 0 without any.
        """
        offset = self._stream.tell() + RECORD_HEADER_BYTES
        write_tfrecord(self._stream, payload)
        self._written.append(Written.of(image_id, payload))
        self.rows.append(
            {
                "offset": offset,
                "length": len(payload),
                "height": height,
                "width": width,
                "image_id": image_id,
                "num_objects": num_objects,
                "mask_side": mask_side,
            }
        )
        return offset

    @property
    def num_objects(self) -> int:
        """Objects in all records."""
        return sum(row["num_objects"] for row in self.rows)

    def check(self) -> None:
        """Checks that the file holds what was written into it.

        Raises:
            DatasetError: it does not, with image ids.
        """
        check_file(self._job, self._job.partial_path, self._written)

    def publish(self) -> Shard:
        """Gives the checked records their place and their index; returns the manifest's line."""
        self._job.path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._job.partial_path, self._job.path)
        write_index(self._job.index_path, self.rows)
        return {
            "file": self._job.file,
            "records": len(self.rows),
            "bytes": self._job.path.stat().st_size,
            "sha256": self._stream.sha256(),
        }


@contextlib.contextmanager
def opened(job: ShardJob) -> Iterator[ShardFile]:
    """Yields the file of a shard for its records; after the block it is to be checked.

    Not in the split's folder: TFX reads everything there, and what a killed worker leaves behind
    would be read as a shard when another one has done its work.

    Raises:
        OSError: the disk is full; with the file's name.
    """
    try:
        with (
            atomic_path(job.partial_path) as partial,
            open(partial, "wb", buffering=_BUFFER_BYTES) as stream,
        ):
            yield ShardFile(job, DigestingStream(stream))
    except OSError as error:
        if error.filename is None:  # a failed write does not say of which file
            error.filename = str(job.path)
        raise
