"""Sabotage between CocoExampleGen's folder and CocoTransform's, and the limits on what is lost."""

import re
import shutil

import numpy as np
import pytest
from apache_beam import Pipeline
from apache_beam.options.pipeline_options import PipelineOptions

from components import shard_file
from components.coco_transform import shard as shard_module
from components.coco_transform import whole
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.whole import transform_examples
from configs.schema import Config
from ground.errors import DatasetError
from ground.files import file_digest, write_json
from model.examples import read_categories, read_manifest, shard_paths
from model.tfrecord import read_tfrecord, write_tfrecord
from tests.components.coco_transform.sources import (
    encoded_picture,
    source_record,
    write_source_folder,
)

GREY = np.full((40, 60, 3), 128, np.uint8)
MASK = np.zeros((40, 60), bool)
MASK[5:15, 5:15] = True
EMPTY = np.zeros((40, 60), bool)
WHOLE = Config.model_validate(
    {"name": "a", "input": {"short_side_px": 40, "long_side_px": 60, "max_objects": 2}}
)
CONFIG = CocoTransformSettings.of(WHOLE)


def new_pipeline():
    return Pipeline(options=PipelineOptions(["--direct_running_mode=in_memory"]))


def record(image_id, encoded=None, masks=(MASK, MASK)):
    boxes = [[5, 5, 10, 10]] * len(masks)
    encoded = encoded_picture(GREY) if encoded is None else encoded
    return source_record(encoded, 40, 60, boxes, masks=list(masks), image_id=image_id)


def source(folder, shards=((1, 2, 3), (4, 5, 6))):
    return write_source_folder(folder, {"train": [[record(n) for n in ids] for ids in shards]})


def run(folder, out, config=CONFIG):
    return transform_examples(folder, out / "examples", out, config, new_pipeline, print)


def fails(folder, out, *words):
    with pytest.raises(DatasetError) as error:
        run(folder, out)
    message = str(error.value)
    assert [word for word in words if not re.search(word, message)] == [], message
    assert "\n" not in message
    assert not (out / "examples").exists()


def rewrite(folder, number, keep, honest=False):
    """Writes a shard anew with the payloads that `keep` returns; also its manifest if `honest`."""
    path = shard_paths(folder, "train")[number]
    payloads = keep([payload for _, payload in read_tfrecord(path)])
    with open(path, "wb") as stream:
        for payload in payloads:
            write_tfrecord(stream, payload)
    if honest:
        manifest = read_manifest(folder)
        line = manifest["splits"]["train"]["shards"][number]
        manifest["splits"]["train"]["records"] += len(payloads) - line["records"]
        line.update(records=len(payloads), sha256=file_digest(path))
        write_json(folder / "manifest.json", manifest)


def test_sound_folder_passes_and_the_manifest_counts_what_can_be_learnt(tmp_path):
    report = run(source(tmp_path / "source"), tmp_path)
    assert report["splits"]["train"]["pictures"] == {"kept": 6, "read": 6, "written": 6}
    assert report["splits"]["train"]["objects"]["read"] == 12
    split = read_manifest(tmp_path / "examples")["splits"]["train"]
    assert (split["objects"], split["crowds"], split["masks"]) == (12, 0, 12)


@pytest.mark.parametrize("honest", [False, True])
@pytest.mark.parametrize(
    ("keep", "ids"),
    [
        (lambda all_: [all_[0], all_[2]], r"\(missing: image id 5\)"),
        (lambda all_: all_[:1], r"\(missing: image ids 5, 6\)"),
        (lambda all_: [*all_, all_[1]], r"\(too often: image id 5\)"),
        (lambda all_: [all_[0], all_[1], all_[1]], "missing: image id 6; too often: image id 5"),
        (lambda all_: all_[::-1], "other bytes|3 with 6 read"),
    ],
)
def test_shard_of_other_records_with_right_checksums(tmp_path, keep, ids, honest):
    folder = source(tmp_path / "source")
    rewrite(folder, 1, keep, honest)
    fails(folder, tmp_path, "split 'train', shard 2 of 2: from the (manifest|index)", ids)


def test_doubled_shard(tmp_path):
    folder = source(tmp_path / "source")
    first, second = shard_paths(folder, "train")
    shutil.copyfile(first, second)
    words = "missing: image ids 4, 5, 6; too often: image ids 1, 2, 3"
    fails(folder, tmp_path, "shard 2 of 2", words)


def test_doubled_shard_in_a_folder_that_tells_of_nothing(tmp_path):
    folder = source(tmp_path / "source", shards=((1, 2), (2, 3)))
    shutil.rmtree(folder / "index")
    fails(folder, tmp_path, "from the manifest to the index", r"\(too often: image id 2\)")


def test_shard_that_the_manifest_lists_twice(tmp_path):
    folder = source(tmp_path / "source", shards=((1, 2),))
    shutil.rmtree(folder / "index")
    manifest = read_manifest(folder)
    split = manifest["splits"]["train"]
    split["shards"] *= 2
    split["records"] *= 2
    write_json(folder / "manifest.json", manifest)
    fails(folder, tmp_path, "too often: (file data_tfrecord-00000-of-00001|image ids? 1)")


@pytest.mark.parametrize(("times", "words"), [(0, "missing"), (2, "too often")])
def test_record_that_is_lost_or_doubled_while_written(tmp_path, monkeypatch, times, words):
    count = []

    def write_some(stream, payload):
        count.append(payload)
        for _ in range(times if len(count) == 2 else 1):
            write_tfrecord(stream, payload)

    monkeypatch.setattr(shard_file, "write_tfrecord", write_some)
    folder = source(tmp_path / "source", shards=((1, 2, 3),))
    fails(folder, tmp_path, "shard 1 of 1: from the writer to", rf"\({words}: image id 2\)")


def test_record_that_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_module, "read_tfrecord", lambda path: list(read_tfrecord(path))[1:])
    folder = source(tmp_path / "source", shards=((1, 2, 3),))
    fails(folder, tmp_path, "from the index of", r"\(missing: image id 1\)")


def test_record_that_is_neither_written_nor_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(
        shard_module, "_write_records", _without_last_record(shard_module._write_records)
    )
    folder = source(tmp_path / "source", shards=((1, 2, 3),))
    fails(folder, tmp_path, "from the writer to|read to those written", "image id 3")


def _without_last_record(write_records):
    def write(job, file, statistics):
        ids = write_records(job, file, statistics)
        del file.rows[-1], file._written[-1]
        return ids

    return write


def test_record_that_is_lost_beside_a_dropped_one_is_named(tmp_path, monkeypatch):
    write_records = shard_module._write_records

    def forget_one(*arguments):
        ids, dropped = write_records(*arguments)
        return [*ids, 9], dropped

    monkeypatch.setattr(shard_module, "_write_records", forget_one)
    monkeypatch.setattr(shard_module, "check_read", lambda *arguments: None)
    records = [record(1, b"\xff\xd8\xff nothing"), record(2)]
    folder = write_source_folder(tmp_path / "source", {"train": [records]})
    fails(folder, tmp_path, "3 read, 1 written and 1 dropped", r"\(missing: image id 9\)")


def test_object_that_is_neither_written_nor_dropped(tmp_path, monkeypatch):
    transform_record = shard_module.transform_record

    def forget_one(serialized, settings):
        result = transform_record(serialized, settings)
        result.counts["object_kept"] -= 1
        return result

    monkeypatch.setattr(shard_module, "transform_record", forget_one)
    folder = source(tmp_path / "source", shards=((1,),))
    fails(folder, tmp_path, "2 objects read, 2 written and 0 dropped")


def test_index_of_another_shard(tmp_path, monkeypatch):
    read_index = whole.read_index
    monkeypatch.setattr(
        whole,
        "read_index",
        lambda path: read_index(str(path).replace("00001-of", "00000-of")),
    )
    folder = source(tmp_path / "source")
    fails(folder, tmp_path, "manifest to the index", "too often: image ids 1, 2, 3")


# Limits ---------------------------------------------------------------------------------------


def limited(**data):
    config = Config.model_validate(WHOLE.model_dump(mode="json") | {"data": data})
    return CocoTransformSettings.of(config)


def test_pictures_that_cannot_be_used_count_against_the_limit(tmp_path):
    records = [record(1, b"\xff\xd8\xff nothing"), *(record(n) for n in range(2, 5))]
    folder = write_source_folder(tmp_path / "source", {"train": [records]})
    fails(
        folder,
        tmp_path,
        r"1 of 4 pictures is of no use for training \(picture_unreadable 1\)",
        r"data.max_rejected_fraction 0.01 allows. For example image id 1 \(1.jpg\)",
    )
    report = run(folder, tmp_path, limited(max_rejected_fraction=0.25))
    assert report["notes"][0] == "train: 1 picture cannot be used"
    assert report["splits"]["train"]["objects"]["dropped_with_picture"] == 2


def test_objects_that_cannot_be_used_count_against_the_limit(tmp_path):
    boxes = [[5, 5, 10, 10]] * 3 + [[5, 5, 0, 10]]
    records = [source_record(encoded_picture(GREY), 40, 60, boxes)]
    folder = write_source_folder(tmp_path / "source", {"train": [records]})
    fails(
        folder,
        tmp_path,
        r"1 of 4 objects is of no use for training \(without_area 1\)",
        "data.max_lost_objects_fraction 0.1 allows",
        "image id 1, annotation id 103",
    )
    report = run(folder, tmp_path, limited(max_lost_objects_fraction=0.25))
    assert "train: 1 object cannot be learnt (object_dropped_without_area 1)" in report["notes"]


def test_masks_without_a_pixel_count_against_the_limit(tmp_path):
    records = [record(1), record(2, masks=(MASK, EMPTY))]
    folder = write_source_folder(tmp_path / "source", {"train": [records]})
    fails(
        folder,
        tmp_path,
        r"1 of 4 masks is of no use for training \(mask_empty 1\)",
        "data.max_lost_masks_fraction 0.1 allows. For example image id 2, annotation id 201",
    )
    report = run(folder, tmp_path, limited(max_lost_masks_fraction=0.25))
    assert "train: 1 mask without a pixel" in report["notes"]


def test_objects_beyond_what_training_looks_at_are_noted(tmp_path):
    records = [record(1, masks=(MASK,) * 5), record(2)]
    folder = write_source_folder(tmp_path / "source", {"train": [records]})
    notes = run(folder, tmp_path)["notes"]
    assert (
        "train: 3 objects in 1 picture exceed input.max_objects 2: training sees the largest of a "
        "picture"
    ) in notes


def test_notes_and_counts_of_the_conversion_are_in_the_report(tmp_path):
    folder = source(tmp_path / "source")
    counts = {"read": 9, "written": 6, "rejected": 3}
    split = {"pictures": counts, "objects": counts, "reasons": {"bad_bbox": 7}, "notes": ["odd"]}
    part = {"asked": 0.9, "pictures": 9, "of": 10, "seed": 3}
    write_json(folder / "counts.json", {"splits": {"train": split | {"part": part}}})
    report = run(folder, tmp_path)
    assert report["notes"][0] == "train: odd"
    assert report["origin"]["train"]["reasons"] == {"bad_bbox": 7}
    page = (tmp_path / "report.html").read_text()
    assert "bad bbox 7" in page
    assert "train: 9 of 10 pictures (data.split asks for 0.9)" in page
    assert "<li>train: odd</li>" in page
    assert len(read_categories(tmp_path / "examples")) == 3
