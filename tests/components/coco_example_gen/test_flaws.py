"""Flaws of single pictures and objects: kept with their reason, dropped, mended or accepted."""

import io
import json

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.metrics import MetricsFilter
from PIL import Image

from components.coco_example_gen import whole
from components.coco_example_gen.source import SplitSource
from components.coco_example_gen.whole import convert
from configs.schema import DataConfig
from ground.errors import DatasetError
from model import records
from model.encoded.exif import TRANSPOSITIONS
from tests.components.coco_example_gen.conversions import (
    OPTIONS,
    broken,
    records_of,
    rejects_of,
    run,
)
from tests.components.coco_example_gen.small_dataset import annotation, image, jpeg, write_dataset


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


def block(side, orientation, height=0):
    """Returns a JPEG, white where x < 8 and y < 16 once it is turned upright, else black."""
    upright = np.zeros((height or side, side, 3), np.uint8)
    upright[:16, :8] = 255
    stored = Image.fromarray(upright)
    if orientation != 1:
        stored = stored.transpose(TRANSPOSITIONS[orientation])
        if orientation in (6, 8):  # the turn back is the other one
            stored = stored.transpose(Image.Transpose.ROTATE_180)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    stored.save(stream, "JPEG", quality=95, subsampling=0, exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("height", "orientations"), [(48, range(2, 9)), (32, (2, 3, 4))], ids=["square", "wide"]
)
def test_boxes_of_the_turned_picture_agree_with_its_pixels_where_policy_says_so(
    tmp_path, height, orientations
):
    images = [image(n, height=height, width=48) for n in orientations]
    pictures = {f"{n}.jpg": block(48, n, height) for n in orientations}
    boxes = [annotation(n, n, bbox=[0, 0, 8, 16], segmentation=[]) for n in orientations]
    folder = write_dataset(tmp_path / "set", images, boxes, pictures=pictures)
    summary = run(folder, tmp_path / "out", policies={"exif_turned": "mend"})
    assert summary["mended"] == {"exif_turned": len(orientations)}
    for record in records_of(tmp_path / "out").values():
        assert (record[records.HEIGHT], record[records.WIDTH]) == ([height], [48])
        stored = Image.open(io.BytesIO(record[records.ENCODED][0]))
        assert not stored.getexif()
        rows, columns = np.nonzero(np.asarray(stored.convert("L")) > 128)
        assert (rows.max() + 1) / height == pytest.approx(record[records.BOX_YMAX][0])
        assert (columns.max() + 1) / 48 == pytest.approx(record[records.BOX_XMAX][0])
        assert (rows.min(), columns.min(), len(rows)) == (0, 0, 128)


def test_a_picture_whose_size_is_that_before_the_turn_stays_as_it_is(tmp_path):
    stored = {"1.jpg": jpeg(20, 30, orientation=6)}
    folder = write_dataset(tmp_path / "set", [image(1)], [annotation(1, 1)], pictures=stored)
    summary = run(folder, tmp_path / "out", policies={"exif_turned": "mend"})
    assert (summary["reasons"], summary["mended"]) == ({"exif_turned": 1}, {})
    assert records_of(tmp_path / "out")[1][records.ENCODED] == [stored["1.jpg"]]


@pytest.mark.parametrize(
    ("turns", "policies", "noted"),
    [
        ({1: 3, 2: 4, 3: 6}, {}, 2),  # 3 proves that the tool turns pictures
        ({1: 3, 2: 1, 3: 6}, {"exif_turned": "mend"}, 0),
        ({1: 3, 2: 4}, {}, 0),  # nothing proves it
        ({1: 3, 2: 4, 3: 6, 4: 6}, {}, 0),  # 4 proves the opposite
        ({2: 1, 3: 6}, {}, 0),
    ],
)
def test_turns_that_keep_the_size_are_noted_where_the_tool_turns(tmp_path, turns, policies, noted):
    images = [image(n, height=30, width=20) if n == 3 else image(n) for n in turns]
    pictures = {f"{n}.jpg": jpeg(20, 30, orientation=turn) for n, turn in turns.items()}
    folder = write_dataset(tmp_path / "set", images, [annotation(1, 2)], pictures=pictures)
    summary = run(folder, tmp_path / "out", policies=policies)
    notes = [note for note in summary["notes"] if "exif_turned" in note]
    assert len(notes) == bool(noted)
    for note in notes:
        assert note.startswith("2 pictures (such as image id ")
        assert "stated for 1 other (exif_size_swapped) shows" in note
        assert note.endswith("set data.policies.exif_turned=mend")


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


def test_pictures_that_share_a_file_are_noted(tmp_path):
    images = [image(1, "a.jpg"), image(2, "a.jpg"), image(3, "a.jpg"), image(4)]
    folder = write_dataset(tmp_path / "set", images, [annotation(1, 1)])
    note, _ = run(folder, tmp_path / "out")["notes"]
    assert note.startswith("2 pictures share their files with an earlier one (such as 'a.jpg')")
