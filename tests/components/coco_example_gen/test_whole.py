"""Whole conversions with Beam in this process: records, rejects, and nothing half-written."""

import errno
import io
import json
import os
import shutil

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from PIL import Image

from components import shard_file
from components.beam_options import beam_arguments
from components.coco_example_gen import whole
from components.coco_example_gen.source import SplitSource
from components.coco_example_gen.whole import convert
from configs.schema import DataConfig
from ground.errors import ConfigError, DatasetError
from ground.files import file_digest
from model import records
from model.evaluation.ground_truth import ground_truth_from_json, ground_truth_from_records
from model.examples import iterate_records, read_categories, read_manifest, shard_paths
from model.input.index import index_path, read_index
from model.tf_example import decode_example
from model.tfrecord import read_tfrecord
from tests.components.coco_example_gen.small_dataset import (
    annotation,
    image,
    jpeg,
    png,
    write_dataset,
)

OPTIONS = PipelineOptions(beam_arguments(["--direct_running_mode=in_memory"]))


def new_pipeline():
    return beam.Pipeline(options=OPTIONS)


def run(folder, out, shards=2, beam_args=("--direct_running_mode=in_memory",), **data):
    """Converts a data set of `write_dataset` as the split `train`; returns its summary."""
    source = SplitSource("train", folder / "instances.json", folder / "pictures", shards)
    return run_sources([source], out, beam_args, **data)["splits"]["train"]


def run_sources(sources, out, beam_args=("--direct_running_mode=in_memory",), **data):
    options = PipelineOptions(beam_arguments(beam_args))
    return convert(
        sources,
        out / "examples",
        out / "rejects",
        DataConfig(**data),
        lambda: beam.Pipeline(options=options),
        lambda line: None,
    )


def records_of(out, split="train"):
    """Returns the decoded records by image id."""
    decoded = [decode_example(r) for r in iterate_records(out / "examples", split)]
    return {int(record[records.SOURCE_ID][0]): record for record in decoded}


def rejects_of(out, split="train"):
    lines = (out / "rejects" / f"Split-{split}" / "rejects.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def files_of(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): file_digest(path) for path in paths}


def coco_like(folder, count=30):
    """Writes a data set with several objects, a crowd, empty pictures and a PNG."""
    images = [image(7 * n, height=16 + n % 3, width=24) for n in range(count)]
    images[4]["file_name"] = "28.png"
    annotations = [annotation(n, 7 * (n % (count - 2))) for n in range(2 * count)]
    annotations[5].update(
        iscrowd=1, segmentation={"size": [18, 24], "counts": [3, 4, 425]}, category_id=8
    )
    pictures = {i["file_name"]: jpeg(i["height"], i["width"], i["id"]) for i in images}
    pictures["28.png"] = png(images[4]["height"], 24)
    return write_dataset(folder, images, annotations, pictures=pictures)


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
    from components.coco_example_gen.spool import shard_of

    run(coco_like(tmp_path / "set"), tmp_path / "out", shards=3, seed=4)
    ids = list(records_of(tmp_path / "out"))
    assert ids == sorted(ids, key=lambda id_: (shard_of(id_, 4, 3), id_))


@pytest.mark.parametrize(
    "beam_args",
    [
        ("--direct_running_mode=in_memory", "--shard_processes=2"),
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


# What is wrong -------------------------------------------------------------------------------


def broken(folder):
    """Writes 12 pictures of which 5 are broken, each in its own way, and objects likewise."""
    images = [image(n) for n in range(12)]
    images[3]["height"] = 21
    images[4]["file_name"] = "../instances.json"
    images[5] = {"id": 5, "file_name": "5.jpg"}
    pictures = {f"{n}.jpg": jpeg(seed=n) for n in range(12) if n != 1}
    pictures["2.jpg"] = pictures["2.jpg"][:300]
    annotations = [annotation(n, n) for n in range(12)] + [
        annotation(20, 6, category_id=9),
        annotation(21, 6, bbox=[-5, 3, 8, 8]),
        annotation(22, 99),
        annotation(0, 6),
        "nothing",
    ]
    images += [image(6, "again.jpg"), image("x")]
    return write_dataset(folder, images, annotations, pictures=pictures)


def test_what_is_left_out_is_kept_whole_with_its_reason(tmp_path):
    folder = broken(tmp_path / "set")
    summary = run(folder, tmp_path / "out", max_rejected_fraction=1)
    assert summary == {
        "pictures": {"read": 14, "written": 7, "rejected": 7},
        # Written: of pictures 0 and 6 to 11 one each, and two more of picture 6.
        "objects": {"read": 17, "written": 9, "rejected": 8},
        "reasons": {
            "bad_annotation": 1,
            "bad_picture_record": 2,
            "box_crosses_border": 1,
            "duplicate_annotation_id": 1,
            "duplicate_image_id": 1,
            "path_outside_folder": 1,
            "picture_missing": 1,
            "picture_size_differs": 1,
            "picture_unreadable": 1,
            "unknown_category": 1,
            "unknown_image": 1,
        },
        "crowds": 0,
        "masks": {"read": 16, "written": 9},
        "rejected": {
            "pictures": {
                "bad_picture_record": 2,
                "duplicate_image_id": 1,
                "path_outside_folder": 1,
                "picture_missing": 1,
                "picture_size_differs": 1,
                "picture_unreadable": 1,
            },
            "objects": {"bad_annotation": 1, "unknown_category": 1, "unknown_image": 1},
            "objects_with_pictures": {
                "bad_picture_record": 1,
                "path_outside_folder": 1,
                "picture_missing": 1,
                "picture_size_differs": 1,
                "picture_unreadable": 1,
            },
        },
        "mended": {"box_crosses_border": 1},
        "lost": {"pictures": {}, "objects": {}, "masks": {}},
        "notes": ["no objects of 'dog' (id 8)"],
    }
    assert json.loads((tmp_path / "out/rejects/counts.json").read_text()) == {
        "splits": {"train": summary}
    }
    content = json.loads((folder / "instances.json").read_text())
    rejects = rejects_of(tmp_path / "out")
    pictures = {line["image"]["id"]: line for line in rejects if "image" in line}
    assert {id_: line["reason"] for id_, line in pictures.items()} == {
        1: "picture_missing",
        2: "picture_unreadable",
        3: "picture_size_differs",
        4: "path_outside_folder",
        5: "bad_picture_record",
        6: "duplicate_image_id",
        "x": "bad_picture_record",
    }
    for id_ in (1, 2, 3, 4, 5):
        assert pictures[id_]["image"] == content["images"][id_]
        assert pictures[id_]["annotations"] == [content["annotations"][id_]]
        assert pictures[id_]["policy"] == "refuse"
        assert pictures[id_]["detail"]
    objects = [line for line in rejects if "annotation" in line]
    assert sorted((line["reason"], str(line["annotation"])) for line in objects) == [
        ("bad_annotation", "nothing"),
        ("unknown_category", str(content["annotations"][12])),
        ("unknown_image", str(content["annotations"][14])),
    ]


def test_too_many_refused_pictures_end_the_run_with_counts_and_an_example(tmp_path):
    with pytest.raises(DatasetError) as error:
        run(broken(tmp_path / "set"), tmp_path / "out")
    message = str(error.value)
    assert "7 of 14 pictures are refused" in message
    assert "bad_picture_record 2" in message
    assert "picture_missing 1" in message
    assert "image id 5 (5.jpg)" in message or "image id 'x'" in message
    assert "data.max_rejected_fraction 0.01" in message
    assert "the file names 1.jpg, the folder holds " in message
    assert "\n" not in message
    assert list((tmp_path / "out").iterdir()) == []


def test_limit_is_inclusive_and_dropped_pictures_have_one_of_their_own(tmp_path):
    images = [image(n) for n in range(10)]
    folder = write_dataset(tmp_path / "set", images, [annotation(1, 1)])
    (folder / "pictures" / "4.jpg").unlink()
    assert run(folder, tmp_path / "a", max_rejected_fraction=0.1)["pictures"]["rejected"] == 1
    with pytest.raises(DatasetError, match="1 of 10"):
        run(folder, tmp_path / "b", max_rejected_fraction=0.09)
    policies = {"picture_missing": "drop"}
    summary = run(folder, tmp_path / "c", max_rejected_fraction=0, policies=policies)
    assert summary["pictures"]["rejected"] == 1
    assert rejects_of(tmp_path / "c")[0]["policy"] == "drop"
    with pytest.raises(
        DatasetError, match=r"1 of 10 pictures is dropped.* for picture_missing"
    ) as e:
        run(folder, tmp_path / "d", max_dropped_fraction=0.09, policies=policies)
    assert "or raise data.max_dropped_fraction" in str(e.value)


def flawed(folder, count, **fields):
    """Writes 4 pictures with 5 objects each, `count` of which have other `fields`."""
    annotations = [annotation(n, n % 4) for n in range(20)]
    for entry in annotations[:count]:
        entry.update(fields)
    return write_dataset(folder, [image(n) for n in range(4)], annotations)


@pytest.mark.parametrize(
    ("fields", "count", "words"),
    [
        (
            {"category_id": 99},
            3,
            [
                "3 of 20 objects are dropped",
                "for unknown_category",
                "data.max_lost_objects_fraction 0.1",
                "annotation id ",
                ": category_id 99",
                "or raise data.max_lost_objects_fraction",
            ],
        ),
        (
            {"bbox": [50, 50, 3, 3]},
            20,
            ["none of 20 objects is left (box_outside 20)", "bbox [50.0, 50.0, 3.0, 3.0]"],
        ),
        (
            {"bbox": [50, 50, 3, 3]},
            3,
            ["for box_outside", "set data.policies.box_outside=accept, or raise"],
        ),
        (
            {"segmentation": {"size": [1, 1], "counts": [1]}},
            3,
            [
                "3 of 20 masks are lost for bad_segmentation",
                "data.max_lost_masks_fraction 0.1",
                "annotation id ",
            ],
        ),
    ],
)
def test_objects_and_masks_lost_for_one_reason_stop_the_run(tmp_path, fields, count, words):
    with pytest.raises(DatasetError) as error:
        run(flawed(tmp_path / "set", count, **fields), tmp_path / "out")
    message = str(error.value)
    assert [word for word in words if word not in message] == [], message
    assert "\n" not in message
    assert "instances.json" in message
    assert list((tmp_path / "out").iterdir()) == []


def test_losses_up_to_the_limit_are_counted(tmp_path):
    summary = run(flawed(tmp_path / "a", 2, category_id=99), tmp_path / "out")
    assert summary["objects"] == {"read": 20, "written": 18, "rejected": 2}
    assert summary["rejected"]["objects"] == {"unknown_category": 2}
    folder = flawed(tmp_path / "b", 2, segmentation=[[1, 2]])
    assert run(folder, tmp_path / "out")["masks"]["read"] == 20
    folder = flawed(tmp_path / "c", 20, segmentation={"size": [1, 1], "counts": [1]})
    summary = run(folder, tmp_path / "out", max_lost_masks_fraction=1)
    assert summary["lost"]["masks"] == {"bad_segmentation": 20}
    assert summary["masks"] == {"read": 20, "written": 0}


@pytest.mark.parametrize(
    "fields",
    [
        {"area": None},
        {"id": None},
        {"bbox": [-4, -4, 12, 12]},
        {"segmentation": [[2, 3, 12, 3, 12, 12, 2, 12], [1, 2, 3, 4]]},
    ],
)
def test_what_loses_nothing_has_no_limit(tmp_path, fields):
    limits = {"max_lost_objects_fraction": 0, "max_lost_masks_fraction": 0}
    summary = run(flawed(tmp_path / "set", 20, **fields), tmp_path / "out", **limits)
    assert summary["objects"] == {"read": 20, "written": 20, "rejected": 0}


def test_objects_lost_with_their_pictures_do_not_count_twice(tmp_path):
    folder = flawed(tmp_path / "set", 0)
    (folder / "pictures" / "1.jpg").unlink()
    summary = run(folder, tmp_path / "out", max_rejected_fraction=0.25, max_lost_objects_fraction=0)
    assert summary["objects"] == {"read": 20, "written": 15, "rejected": 5}
    assert summary["rejected"]["objects_with_pictures"] == {"picture_missing": 5}


@pytest.mark.parametrize(
    ("annotations", "note"),
    [
        ([], "no objects: training cannot use it"),
        (
            [annotation(1, 1, iscrowd=1, segmentation={"size": [20, 30], "counts": [0, 9, 591]})],
            "nothing but 1 crowd region: training cannot use it",
        ),
    ],
)
def test_split_without_objects_to_learn_is_noted(tmp_path, annotations, note):
    folder = write_dataset(tmp_path / "set", [image(1)], annotations)
    assert run(folder, tmp_path / "out")["notes"][0] == note


def test_object_flaw_may_refuse_the_whole_picture(tmp_path):
    annotations = [annotation(1, 1), annotation(2, 1, bbox=[50, 50, 1, 1]), annotation(3, 2)]
    folder = write_dataset(tmp_path / "set", [image(1), image(2)], annotations)
    summary = run(
        folder, tmp_path / "out", max_rejected_fraction=0.5, policies={"box_outside": "refuse"}
    )
    assert summary["pictures"] == {"read": 2, "written": 1, "rejected": 1}
    assert summary["objects"] == {"read": 3, "written": 1, "rejected": 2}
    (line,) = rejects_of(tmp_path / "out")
    assert line["reason"] == "box_outside"
    assert len(line["annotations"]) == 2


def test_dropped_object_leaves_its_picture_without_objects(tmp_path):
    annotations = [annotation(1, 1, bbox=[1, 1, 0, 4]), annotation(2, 2)]
    folder = write_dataset(tmp_path / "set", [image(1), image(2)], annotations)
    run(folder, tmp_path / "out", max_lost_objects_fraction=0.5)
    assert records_of(tmp_path / "out")[1][records.ANNOTATION_ID] == []


def test_mended_size_is_that_of_the_file(tmp_path):
    folder = write_dataset(
        tmp_path / "set", [image(1, height=99)], [annotation(1, 1)], pictures={"1.jpg": jpeg()}
    )
    run(folder, tmp_path / "out", policies={"picture_size_differs": "mend"})
    record = records_of(tmp_path / "out")[1]
    assert (record[records.HEIGHT], record[records.WIDTH]) == ([20], [30])
    assert record[records.BOX_YMAX] == [np.float32(12.2 / 20)]


def test_turned_picture_is_stored_as_its_boxes_see_it(tmp_path):
    stored = {"1.jpg": jpeg(20, 30, orientation=6), "2.jpg": jpeg(20, 30, orientation=6)}
    images = [image(1, height=20, width=30), image(2, height=30, width=20)]
    folder = write_dataset(
        tmp_path / "set", images, [annotation(1, 1), annotation(2, 2)], pictures=stored
    )
    summary = run(folder, tmp_path / "out", policies={})
    assert summary["reasons"] == {"exif_size_swapped": 1, "exif_turned": 1}
    found = records_of(tmp_path / "out")
    assert found[1][records.ENCODED] == [stored["1.jpg"]]
    turned = Image.open(io.BytesIO(found[2][records.ENCODED][0]))
    assert turned.size == (20, 30)
    assert turned.getexif().get(0x0112, 1) == 1
    assert (found[2][records.HEIGHT], found[2][records.WIDTH]) == ([30], [20])


def test_picture_outside_the_folder_is_used_only_where_that_is_accepted(tmp_path):
    folder = write_dataset(tmp_path / "set", [image(1)], [annotation(1, 1)], pictures={})
    (tmp_path / "elsewhere.jpg").write_bytes(jpeg())
    (folder / "pictures" / "1.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    with pytest.raises(DatasetError, match=r"path_outside_folder 1.*elsewhere\.jpg"):
        run(folder, tmp_path / "a")
    summary = run(folder, tmp_path / "b", policies={"path_outside_folder": "accept"})
    assert summary["pictures"]["written"] == 1


def test_picture_folder_may_itself_be_a_link(tmp_path):
    folder = write_dataset(tmp_path / "set", [image(1)], [annotation(1, 1)])
    (folder / "pictures").rename(tmp_path / "real")
    (folder / "pictures").symlink_to(tmp_path / "real")
    assert run(folder, tmp_path / "out")["reasons"] == {}


def test_flaws_are_beam_counters_too(tmp_path):
    kept = []

    def make_pipeline():
        kept.append(beam.Pipeline(options=OPTIONS))
        return kept[0]

    folder = broken(tmp_path / "set")
    source = SplitSource("train", folder / "instances.json", folder / "pictures", 2)
    data = DataConfig(max_rejected_fraction=1)
    convert([source], tmp_path / "e", tmp_path / "r", data, make_pipeline, lambda line: None)
    counters = kept[0].result.metrics().query(MetricsFilter().with_namespace(whole.NAMESPACE))
    found = {c.key.metric.name: c.committed for c in counters["counters"]}
    assert found["pictures_written"] == 7
    assert found["objects_written"] == 9
    assert found["picture_missing"] == 1


def test_nothing_left_is_an_error(tmp_path):
    folder = write_dataset(tmp_path / "a", [image(1)], [annotation(1, 1, category_id=77)])
    with pytest.raises(DatasetError, match=r"none of 1 object is left \(unknown_category 1\)"):
        run(folder, tmp_path / "out")
    folder = write_dataset(tmp_path / "b", [image(1)], [annotation(1, 1)], pictures={})
    with pytest.raises(DatasetError, match=r"none of 1 picture is left \(picture_missing 1\)"):
        run(folder, tmp_path / "out", policies={"picture_missing": "drop"})


def test_pictures_that_share_a_file_are_noted(tmp_path):
    images = [image(1, "a.jpg"), image(2, "a.jpg"), image(3, "a.jpg"), image(4)]
    folder = write_dataset(tmp_path / "set", images, [annotation(1, 1)])
    note, _ = run(folder, tmp_path / "out")["notes"]
    assert note.startswith("2 pictures share their files with an earlier one (such as 'a.jpg')")


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


# The run as a whole ---------------------------------------------------------------------------


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


def test_each_shard_is_reported_once(tmp_path):
    folder = coco_like(tmp_path / "set")
    source = SplitSource("train", folder / "instances.json", folder / "pictures", 3)
    lines = []
    places = tmp_path / "out" / "examples", tmp_path / "out" / "rejects"
    convert([source], *places, DataConfig(), new_pipeline, lines.append)
    assert lines[0] == "train: 30 pictures and 60 objects listed"
    shares = [int(line.rsplit(" ", 2)[1]) for line in lines[1:]]
    assert len(shares) == 3
    assert sum(shares) == 30
