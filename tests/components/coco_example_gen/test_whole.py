"""Whole conversions with Beam in this process: records, and nothing half-written."""

import errno
import json
import os
import shutil

import apache_beam as beam
import numpy as np
import pytest

from components import shard_file
from components.coco_example_gen.source import SplitSource
from components.coco_example_gen.spread import even_spread
from components.coco_example_gen.whole import convert
from configs.schema import DataConfig
from ground.errors import ConfigError, DatasetError
from ground.files import file_digest
from model import records
from model.evaluation.ground_truth import ground_truth_from_json, ground_truth_from_records
from model.examples import read_categories, read_manifest, shard_paths
from model.input.index import index_path, read_index
from model.tf_example import decode_example
from model.tfrecord import read_tfrecord
from tests.components.coco_example_gen.conversions import (
    OPTIONS,
    coco_like,
    files_of,
    new_pipeline,
    records_of,
    rejects_of,
    run,
    run_sources,
)
from tests.components.coco_example_gen.small_dataset import annotation, image, write_dataset


def test_records_say_what_the_files_say(tmp_path):
    folder = coco_like(tmp_path / "set")
    summary = run(folder, tmp_path / "out")
    assert summary == {
        "pictures": {"read": 30, "written": 30, "rejected": 0},
        "objects": {"read": 60, "written": 60, "rejected": 0},
        "reasons": {},
        "crowds": 1,
        "masks": {"read": 60, "written": 60},
        "rejected": {"pictures": {}, "objects": {}, "objects_with_pictures": {}},
        "mended": {},
        "lost": {"pictures": {}, "objects": {}, "masks": {}},
        "notes": [],
    }
    found = records_of(tmp_path / "out")
    assert found.keys() == {7 * n for n in range(30)}
    for record in found.values():
        name = record[records.FILENAME][0].decode()
        assert record[records.ENCODED] == [(folder / "pictures" / name).read_bytes()]
    assert found[28][records.FORMAT] == [b"png"]
    assert found[203][records.ANNOTATION_ID] == []  # without objects, and yet there
    assert found[35][records.ANNOTATION_ID] == [5, 33]  # in the file's order
    assert found[35][records.IS_CROWD] == [1, 0]
    assert found[35][records.CLASS_LABEL] == [2, 1]
    numbers = np.frombuffer(found[35][records.COCO_NUMBERS][0], "<f8").tolist()
    assert numbers == [2.25, 3.5, 10.1, 8.7, 80.3] * 2
    assert rejects_of(tmp_path / "out") == []


def test_folder_is_as_documented(tmp_path):
    run(coco_like(tmp_path / "set"), tmp_path / "out", shards=3)
    assert set(files_of(tmp_path / "out")) == {
        "examples/categories.json",
        "examples/manifest.json",
        *(f"examples/Split-train/data_tfrecord-0000{n}-of-00003" for n in range(3)),
        *(f"examples/index/train-0000{n}-of-00003.npz" for n in range(3)),
        "examples/counts.json",
        "rejects/Split-train/rejects.jsonl",
        "rejects/counts.json",
    }
    assert os.listdir(tmp_path / "out") in (["examples", "rejects"], ["rejects", "examples"])
    manifest = read_manifest(tmp_path / "out" / "examples")
    split = manifest["splits"]["train"]
    assert (split["records"], split["objects"]) == (30, 60)
    for path, shard in zip(
        shard_paths(tmp_path / "out" / "examples", "train"), split["shards"], strict=True
    ):
        assert file_digest(path) == shard["sha256"]
    assert [c["name"] for c in read_categories(tmp_path / "out" / "examples")] == ["cat", "dog"]


def test_records_lie_by_image_id_in_the_shard_of_their_hash(tmp_path):
    run(coco_like(tmp_path / "set"), tmp_path / "out", shards=3, seed=4)
    ids = list(records_of(tmp_path / "out"))
    shard_of = even_spread(ids, 4, 3).shard_of
    assert ids == sorted(ids, key=lambda id_: (shard_of(id_), id_))


def test_shards_of_several_processes_are_even_and_the_same(tmp_path):
    entries = [image(n, f"{n}.jpg", 20 + n % 7, 30 + n % 5) for n in range(203)]
    write_dataset(tmp_path / "set", entries, [annotation(n, n) for n in range(203)])
    run(tmp_path / "set", tmp_path / "out", 8, ("--shard_processes=2",))
    lines = read_manifest(tmp_path / "out" / "examples")["splits"]["train"]["shards"]
    assert {line["records"] for line in lines} == {25, 26}
    paths = shard_paths(tmp_path / "out" / "examples", "train")
    sizes = [path.stat().st_size for path in paths]
    assert [line["bytes"] for line in lines] == sizes
    assert max(sizes) < 1.1 * sum(sizes) / 8
    run(tmp_path / "set", tmp_path / "one", 8, ("--shard_processes=1",))
    assert files_of(tmp_path / "one") == files_of(tmp_path / "out")
    named = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    run(tmp_path / "set", tmp_path / "named", 8, named)  # the same processes of ours
    assert files_of(tmp_path / "one") == files_of(tmp_path / "named")


@pytest.mark.parametrize(
    "beam_args",
    [
        ("--direct_running_mode=multi_threading", "--direct_num_workers=3"),
        pytest.param(
            ("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
            marks=pytest.mark.e2e,
        ),
        pytest.param(
            ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"),
            marks=pytest.mark.e2e,
        ),
    ],
)
def test_bytes_are_the_same_with_other_runners_and_workers(tmp_path, beam_args):
    folder = coco_like(tmp_path / "set")
    (folder / "pictures" / "7.jpg").unlink()
    policies = {"picture_missing": "drop"}
    run(folder, tmp_path / "one", shards=5, policies=policies)
    run(folder, tmp_path / "many", shards=5, policies=policies, beam_args=beam_args)
    assert files_of(tmp_path / "many") == files_of(tmp_path / "one")
    assert len(rejects_of(tmp_path / "one")) == 1


def test_order_of_the_json_does_not_matter_to_the_pictures(tmp_path):
    folder = coco_like(tmp_path / "set")
    run(folder, tmp_path / "a")
    content = json.loads((folder / "instances.json").read_text())
    content["images"].reverse()
    turned = dict(reversed(content.items()))
    (folder / "instances.json").write_text(json.dumps(turned))
    run(folder, tmp_path / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_shared_coco_is_converted_to_the_last_digit(tmp_path, shared_data):
    folder = shared_data / "coco_tiny"
    path = folder / "annotations" / "instances_val2017.json"
    run_sources([SplitSource("val", path, folder / "val2017", 2)], tmp_path)
    stated = ground_truth_from_json(path)
    found = ground_truth_from_records(tmp_path / "examples", "val")
    # Annotations are numbered anew by both; within a picture their order is the file's.
    by_picture = [
        {
            i["id"]: [
                {k: v for k, v in a.items() if k not in ("id", "segmentation")}
                for a in truth.annotations
                if a["image_id"] == i["id"]
            ]
            for i in truth.images
        }
        for truth in (stated, found)
    ]
    assert by_picture[0] == by_picture[1]
    assert sum(map(len, by_picture[0].values())) == 432
    assert found.categories == [
        {"id": c["id"], "name": c["name"]} for c in sorted(stated.categories, key=lambda c: c["id"])
    ]


def test_index_says_where_records_lie(tmp_path):
    run(coco_like(tmp_path / "set"), tmp_path / "out", shards=3)
    examples = tmp_path / "out" / "examples"
    for number, path in enumerate(shard_paths(examples, "train")):
        index = read_index(index_path(examples, "train", number, 3))
        found = list(read_tfrecord(path))
        assert index.offset.tolist() == [offset for offset, _ in found]
        assert index.length.tolist() == [len(payload) for _, payload in found]
        decoded = [decode_example(payload) for _, payload in found]
        assert index.image_id.tolist() == [int(r[records.SOURCE_ID][0]) for r in decoded]
        assert index.num_objects.tolist() == [len(r[records.ANNOTATION_ID]) for r in decoded]
        assert index.height.tolist() == [r[records.HEIGHT][0] for r in decoded]


def test_set_without_any_object_is_fine(tmp_path):
    summary = run(write_dataset(tmp_path / "set", [image(1)], []), tmp_path / "out")
    assert summary["pictures"]["written"] == 1


def test_splits_share_one_label_map(tmp_path):
    a = write_dataset(tmp_path / "a", [image(1)], [annotation(1, 1)])
    b = write_dataset(
        tmp_path / "b",
        [image(1)],
        [annotation(1, 1)],
        [{"id": 1, "name": "bird"}, {"id": 3, "name": "cat"}],
    )
    sources = [SplitSource(f.name, f / "instances.json", f / "pictures", 1) for f in (a, b)]
    run_sources(sources, tmp_path / "out")
    assert [c["name"] for c in read_categories(tmp_path / "out" / "examples")] == [
        "bird",
        "cat",
        "dog",
    ]
    assert records_of(tmp_path / "out", "a")[1][records.CLASS_LABEL] == [2]
    content = json.loads((b / "instances.json").read_text())
    content["categories"][1]["name"] = "horse"
    (b / "instances.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="category 3 is 'horse' here, 'cat' in another split"):
        run_sources(sources, tmp_path / "other")


def test_what_is_missing_is_said_before_anything_is_read(tmp_path):
    folder = write_dataset(tmp_path / "set", [image(1)], [annotation(1, 1)])
    shutil.rmtree(folder / "pictures")
    with pytest.raises(DatasetError, match="no such picture folder for split 'train'"):
        run(folder, tmp_path / "out")
    (folder / "instances.json").unlink()
    with pytest.raises(DatasetError, match="no such annotation file for split 'train'"):
        run(folder, tmp_path / "out")
    with pytest.raises(ConfigError, match="unknown reason code"):
        run(folder, tmp_path / "out", policies={"nonsense": "drop"})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_cut_off_json_leaves_nothing_behind(tmp_path, share):
    folder = coco_like(tmp_path / "set")
    content = (folder / "instances.json").read_bytes()
    (folder / "instances.json").write_bytes(content[: int(share * len(content))])
    with pytest.raises(DatasetError, match=r"instances\.json: cut off or not JSON"):
        run(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_failed_run_leaves_an_earlier_result_alone(tmp_path):
    folder = coco_like(tmp_path / "set")
    run(folder, tmp_path / "out")
    before = files_of(tmp_path / "out")
    shutil.rmtree(folder / "pictures")
    (folder / "pictures").mkdir()
    with pytest.raises(DatasetError, match="30 of 30 pictures are refused"):
        run(folder, tmp_path / "out")
    assert files_of(tmp_path / "out") == before


def test_full_disk_is_one_line_with_the_file_and_leaves_nothing(tmp_path, monkeypatch):
    def fail(stream, record):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shard_file, "write_tfrecord", fail)
    with pytest.raises(OSError, match="No space left") as error:
        run(coco_like(tmp_path / "set"), tmp_path / "out")
    assert error.value.errno == errno.ENOSPC
    assert "data_tfrecord" in error.value.filename
    assert list((tmp_path / "out").iterdir()) == []


def test_second_conversion_into_the_same_folder_waits_its_turn(tmp_path):
    folder = coco_like(tmp_path / "set")

    def busy():
        with pytest.raises(DatasetError, match="another conversion is writing here"):
            run(folder, tmp_path / "out")
        return beam.Pipeline(options=OPTIONS)

    source = SplitSource("train", folder / "instances.json", folder / "pictures", 1)
    places = tmp_path / "out" / "examples", tmp_path / "out" / "rejects"
    summary = convert([source], *places, DataConfig(), busy, lambda line: None)
    assert summary["splits"]["train"]["pictures"]["written"] == 30


def test_progress_tells_of_all_pictures(tmp_path):
    folder = coco_like(tmp_path / "set")
    source = SplitSource("train", folder / "instances.json", folder / "pictures", 3)
    lines = []
    places = tmp_path / "out" / "examples", tmp_path / "out" / "rejects"
    convert([source], *places, DataConfig(), new_pipeline, lines.append)
    assert lines[0] == "train: 30 pictures and 60 objects listed"
    assert lines[-1].startswith("converting: 30/30 pictures")
