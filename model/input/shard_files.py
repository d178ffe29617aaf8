"""Reads records of shards by their offsets."""

import os
import threading
from collections.abc import Sequence

from model.tfrecord import read_payload


class ShardFiles:
    """Reads records by offset; a shard is opened when it is first needed."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._descriptors: dict[int, int] = {}
        self._opening = threading.Lock()

    def read(self, shard: int, offset: int, length: int) -> bytes:
        """Returns the payload of one record.

        Raises:
            DatasetError: the shard ends before the record does, or the record is damaged.
        """
        with self._opening:
            if shard not in self._descriptors:
                self._descriptors[shard] = os.open(self._paths[shard], os.O_RDONLY)
        return read_payload(self._descriptors[shard], self._paths[shard], offset, length)

    def __del__(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
