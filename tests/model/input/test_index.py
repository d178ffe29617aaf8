import numpy as np
import pytest

from ground.errors import DatasetError
from model.input.index import index_path, joined, read_index, write_index

ROW = {
    "offset": 12,
    "length": 5_000_000_000,
    "height": 480,
    "width": 640,
    "image_id": 2**40,
    "num_objects": 3,
    "mask_side": 112,
}


def test_index_round_trips(tmp_path):
    path = index_path(tmp_path, "train", 3, 8)
    assert path == tmp_path / "index" / "train-00003-of-00008.npz"
    write_index(path, [ROW, ROW | {"width": 10}])
    index = read_index(path)
    assert len(index) == 2
    assert index.length.dtype == np.int64
    assert index.length.tolist() == [5_000_000_000] * 2
    assert index.width.tolist() == [640, 10]
    assert index.image_id.tolist() == [2**40] * 2


def test_same_rows_give_the_same_bytes(tmp_path):
    write_index(tmp_path / "a.npz", [ROW])
    write_index(tmp_path / "b.npz", [ROW])
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_joined_keeps_the_order_of_shards_and_empty_ones(tmp_path):
    for name, rows in (("a", [ROW]), ("b", []), ("c", [ROW | {"height": 7}])):
        write_index(tmp_path / f"{name}.npz", rows)
    index = joined([read_index(tmp_path / f"{name}.npz") for name in "abc"])
    assert index.height.tolist() == [480, 7]
    assert len(joined([])) == 0


def test_damaged_index_is_named(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(DatasetError, match=r"a\.npz: not a shard index"):
        read_index(path)
    np.savez(path, offset=[1])
    with pytest.raises(DatasetError, match=r"a\.npz: not a shard index"):
        read_index(path)
