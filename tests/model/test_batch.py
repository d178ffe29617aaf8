"""A batch is a structure to whatever it passes through, with masks and without."""

import numpy as np
import pytest
import tensorflow as tf

from model.batch import Batch, arrays_of, batch_of_arrays, named_arrays, row_of, split_batch
from tests.model.small_detector import small_batch


@pytest.fixture(params=["with masks", "without"])
def batch(request) -> Batch:
    batch = small_batch(4)
    return batch if request.param == "with masks" else batch._replace(gt_masks=None)


def same(one: Batch, other: Batch) -> bool:
    first, second = named_arrays(one), named_arrays(other)
    return first.keys() == second.keys() and all((first[k] == second[k]).all() for k in first)


def test_arrays_by_name_make_the_batch_again(batch, tmp_path):
    np.savez(tmp_path / "kept.npz", **named_arrays(batch))
    with np.load(tmp_path / "kept.npz") as kept:
        again = batch_of_arrays(kept)
    assert same(again, batch)
    assert (again.gt_masks is None) == (batch.gt_masks is None)


def test_parts_hold_every_picture_once_and_in_order(batch):
    parts = split_batch(batch, 2)
    assert [part.images.shape[0] for part in parts] == [2, 2]
    joined = {
        k: np.concatenate([named_arrays(part)[k] for part in parts]) for k in named_arrays(batch)
    }
    assert all((joined[k] == array).all() for k, array in named_arrays(batch).items())


def test_one_row_is_without_the_axis_of_pictures(batch):
    row = row_of(arrays_of(batch), 1)
    assert row.gt_boxes.shape == (4, 4) and int(row.image_ids) == 101


@pytest.mark.parametrize("jit", [False, True])
def test_a_function_and_a_dataset_pass_it_whole(batch, jit):
    function = tf.function(lambda given: given, autograph=False, jit_compile=jit)
    assert same(function(batch), batch)
    dataset = tf.data.Dataset.from_tensors(batch).map(lambda given: given).batch(1)
    [read] = dataset
    assert isinstance(read, Batch) and same(row_of(read, 0), batch)
