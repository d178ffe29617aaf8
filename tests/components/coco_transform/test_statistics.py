import itertools
import json

import numpy as np

from components.coco_transform.record import (
    DroppedPictureError,
    RecordForm,
    transform_record,
)
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.statistics import (
    ASPECT_EDGES,
    EXAMPLE_PICTURES,
    OBJECTS_EDGES,
    SIDE_EDGES,
    SplitStatistics,
)
from configs.schema import Config
from tests.components.coco_transform.sources import encoded_picture, source_record

CONFIG = CocoTransformSettings.of(
    Config.model_validate({"name": "a", "input": {"short_side_px": 80, "long_side_px": 160}})
)
SETTINGS = RecordForm.of(CONFIG.input, CONFIG.transform)
ENCODED = encoded_picture(np.full((40, 60, 3), 128, np.uint8))


def record(xywh, labels, crowds=None, image_id=1):
    source = source_record(ENCODED, 40, 60, xywh, labels, crowds, image_id=image_id)
    return transform_record(source, SETTINGS)


def counted(*records):
    statistics = SplitStatistics(CONFIG, num_classes=3)
    for number, one in enumerate(records):
        statistics.add(one, shard=0, offset=100 * number, length=99)
    return statistics


def test_counts_by_hand():
    statistics = counted(
        record([[0, 0, 20, 10], [5, 5, 8, 8], [0, 0, 60, 40]], [1, 1, 3], [0, 0, 1]),
        record([[0, 0, 4, 16]], [2], image_id=2),
        record([], [], image_id=3),
    )
    statistics.add_dropped(DroppedPictureError("picture_unreadable", 4, "4.jpg", objects=5))
    assert statistics.lost == {"picture_unreadable": "image id 4 (4.jpg)"}
    assert statistics.objects["read"] == 3 + 1 + 0 + 5
    assert statistics.objects["dropped_with_picture"] == 5
    assert statistics.pictures == {
        "read": 4,
        "written": 3,
        "kept": 3,
        "without_objects": 1,
        "picture_unreadable": 1,
    }
    assert statistics.objects["object_kept"] == 3
    assert statistics.objects["crowd_kept"] == 1
    histograms = statistics.histograms
    assert histograms["objects_by_class"].tolist() == [2, 1, 0]
    assert histograms["pictures_by_class"].tolist() == [1, 1, 0]
    assert dict(
        zip(OBJECTS_EDGES, histograms["objects_per_picture"], strict=False)
    ) == dict.fromkeys(OBJECTS_EDGES[:-1], 0) | {0: 1, 1: 1, 2: 1}
    assert histograms["box_size"].tolist() == [3, 0, 0]  # sides 14.1, 8 and 8
    # Bins between edges come one later, as the first bin is below all edges.
    side_8, side_16 = SIDE_EDGES.index(8) + 1, SIDE_EDGES.index(16) + 1
    assert histograms["box_side"].nonzero()[0].tolist() == [side_8]
    # Doubled for training: 28.3, 16 and 16
    assert histograms["box_side_resized"][side_16] == 3
    assert histograms["box_aspect"][ASPECT_EDGES.index(4.0) + 1] == 1
    assert histograms["anchor_iou"].sum() == 3


def test_parts_add_up_in_any_order():
    records = [
        record([[0, 0, 5 + i, 9]] * (i % 3), [1 + i % 3] * (i % 3), image_id=i) for i in range(30)
    ]
    whole = counted(*records).to_json()
    parts = [counted(*records[:7]), counted(*records[7:8]), counted(*records[8:])]
    for order in itertools.permutations(parts):
        merged = SplitStatistics(CONFIG, 3)
        for part in order:
            merged.merge(
                SplitStatistics.from_json(json.loads(json.dumps(part.to_json())), CONFIG, 3)
            )
        merged_json = merged.to_json()
        for name in ("pictures", "objects", "histograms"):
            assert merged_json[name] == whole[name]
        # Offsets count from each part's begin here, so only the choice of pictures is compared.
        assert [e[0] for e in merged_json["examples"]] == [e[0] for e in whole["examples"]]


def test_examples_are_few_and_hang_on_the_image_id():
    records = [record([], [], image_id=i) for i in range(50)]
    statistics = counted(*records)
    assert len(statistics.examples) == EXAMPLE_PICTURES
    shuffled = counted(*records[::-1])
    assert [e[0] for e in shuffled.examples] == [e[0] for e in statistics.examples]
