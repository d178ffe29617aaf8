"""A training split without objects, or without masks for a mask head, does not train."""

import pytest

from configs.loader import default_config
from ground.errors import DatasetError
from model.examples import shard_file, write_manifest
from model.input.buckets import write_buckets
from model.input.index import index_path, write_index
from model.launch.launcher import train
from model.launch.trainable import check_trainable
from model.training_settings import TrainingSettings

ROW = {"offset": 12, "length": 9, "height": 8, "width": 8, "image_id": 1, "num_objects": 4}


def examples(folder, mask_side=0, **counts):
    """Writes the manifest and the index of a split of one record, and no record."""
    line = {"file": shard_file(0, 1), "records": 1, "sha256": "0" * 64}
    split = {"records": 1, "objects": 4, "shards": [line], **counts}
    write_manifest(folder, {"train": split}, [{"id": 1, "name": "a", "label": 1}])
    write_index(index_path(folder, "train", 0, 1), [ROW | {"mask_side": mask_side}])
    write_buckets(folder, [(32, 32)])
    return folder


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"objects": 0, "crowds": 0, "masks": 0}, "1 picture with 0 crowd regions"),
        ({"objects": 4, "crowds": 4, "masks": 0}, "1 picture with 4 crowd regions"),
        ({"objects": 0}, "no object to learn from"),
    ],
)
def test_split_without_objects_is_refused(tmp_path, counts, words):
    with pytest.raises(DatasetError, match=words):
        check_trainable(examples(tmp_path, **counts), "train", has_mask_head=False)


def test_mask_head_needs_masks(tmp_path):
    folder = examples(tmp_path, crowds=1, masks=0)
    assert check_trainable(folder, "train", has_mask_head=False) == ""
    with pytest.raises(DatasetError, match=r"none of 3 objects .*model\.mask_head=null"):
        check_trainable(folder, "train", has_mask_head=True)


def test_few_masks_are_said(tmp_path):
    folder = examples(tmp_path, crowds=0, masks=1)
    assert "only 1 of 4 objects of the split 'train' has a mask" in (
        check_trainable(folder, "train", has_mask_head=True)
    )
    assert check_trainable(examples(tmp_path, crowds=0, masks=2), "train", True) == ""


def test_index_tells_where_the_manifest_does_not(tmp_path):
    with pytest.raises(DatasetError, match="none of 4 objects"):
        check_trainable(examples(tmp_path), "train", has_mask_head=True)
    assert check_trainable(examples(tmp_path, mask_side=7), "train", has_mask_head=True) == ""


def test_training_ends_before_a_worker_starts(tmp_path):
    folder = examples(tmp_path / "examples", crowds=0, masks=0)
    config = TrainingSettings.of(default_config(["model.mask_head={}"]))
    with pytest.raises(DatasetError, match="none of 4 objects"):
        train(config, folder, tmp_path / "out", worker_module="there_is_no_such_module")
    assert not (tmp_path / "out").exists()
