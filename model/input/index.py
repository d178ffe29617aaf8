"""The index beside a shard: where each record lies and how large its picture is."""

import dataclasses
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ground.errors import DatasetError
from ground.files import atomic_path


@dataclasses.dataclass(frozen=True)
class ShardIndex:
    """One entry a record, in the shard's order.

    Attributes:
        offset: int64 [R], of the record's payload in the file, in bytes.
        length: int64 [R], of the payload.
        height: int32 [R], of the stored picture.
        width: int32 [R].
        image_id: int64 [R].
        num_objects: int32 [R], crowds included.
        mask_side: int32 [R], the longest side of the record's bitmaps; 0 without any.
    """

    offset: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    height: npt.NDArray[np.int32]
    width: npt.NDArray[np.int32]
    image_id: npt.NDArray[np.int64]
    num_objects: npt.NDArray[np.int32]
    mask_side: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.offset)


_DTYPES = {
    "offset": np.int64,
    "length": np.int64,
    "height": np.int32,
    "width": np.int32,
    "image_id": np.int64,
    "num_objects": np.int32,
    "mask_side": np.int32,
}


def index_path(examples_dir: str | os.PathLike[str], split: str, shard: int, shards: int) -> Path:
    """Returns where the index of one shard lies."""
    return Path(examples_dir) / "index" / f"{split}-{shard:05d}-of-{shards:05d}.npz"


def write_index(path: str | os.PathLike[str], rows: list[dict[str, int]]) -> None:
    """Writes the index of a shard from one dict a record; the same rows give the same bytes."""
    arrays: dict[str, Any] = {
        name: np.asarray([row[name] for row in rows], dtype) for name, dtype in _DTYPES.items()
    }
    packed = io.BytesIO()  # of a file that cannot be written, zipfile would leave a traceback
    np.savez(packed, **arrays)
    with atomic_path(path) as partial:
        partial.write_bytes(packed.getbuffer())


def read_index(path: str | os.PathLike[str]) -> ShardIndex:
    """Returns the index of a shard.

    Raises:
        DatasetError: the file is missing, damaged or lacks an array.
    """
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return ShardIndex(**{name: arrays[name] for name in _DTYPES})
    except FileNotFoundError:
        raise DatasetError(
            f"{path}: no such index; training reads the folder that CocoTransform wrote"
        ) from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: not a shard index ({error})") from None


def joined(indexes: list[ShardIndex]) -> ShardIndex:
    """Returns one index of all shards' records, in the order of the shards."""
    return ShardIndex(
        **{
            name: np.concatenate([np.zeros(0, dtype), *(getattr(i, name) for i in indexes)])
            for name, dtype in _DTYPES.items()
        }
    )
