"""A flawed COCO file measures the same by itself and as examples that CocoExampleGen made of it."""

import copy
import json
import random

import pytest

from components.coco_evaluator.decision_file import ground_truth_digest
from components.coco_evaluator.sources import AnnotationsSource, ExamplesSource
from components.coco_example_gen import whole
from components.coco_example_gen.source import SplitSource
from components.shard_results import do_job
from configs.metric_names import METRIC_NAMES
from configs.schema import DataConfig
from ground.errors import DatasetError
from model.evaluation.coco_numbers import evaluate
from tests.fuzz.annotations import LENIENT, sound_annotations, sound_results, write_pictures
from tests.fuzz.json_mutations import mutated

PICTURES = 6
SQUARE = [[10, 10, 60, 12, 55, 70, 14, 66]]
RANDOM_FILES = 25


@pytest.fixture(autouse=True)
def without_beam(monkeypatch):
    """Writes shards one after the other, without a Beam pipeline around them."""

    def write_shards(jobs, write_shard, *_):
        return {job.split: [(j, do_job(j, write_shard)) for j in jobs] for job in jobs[:1]}

    monkeypatch.setattr(whole, "write_shards", write_shards)


@pytest.fixture
def both(tmp_path):
    """Returns the two sources of a COCO file: the file, and the examples made of it."""
    write_pictures(tmp_path / "pictures", PICTURES)
    path, out = tmp_path / "instances.json", tmp_path / "out"

    def make(content, data=LENIENT):
        path.write_text(json.dumps(content), encoding="utf-8")
        source = SplitSource("eval", path, tmp_path / "pictures", 2)
        whole.convert([source], out / "examples", out / "rejects", data, None, lambda line: None)
        return AnnotationsSource(path, data=data), ExamplesSource(out / "examples", "eval")

    return make


def flawed():
    """Returns a set with several kinds of flaws at once, and sound objects among them."""
    content = sound_annotations(PICTURES)
    content["categories"].reverse()
    annotations = content["annotations"]
    changes = [
        {"bbox": ["10", 10, 50, 60]},
        {"image_id": "1", "iscrowd": None},
        {"iscrowd": True},
        {"segmentation": SQUARE[0]},
        {"bbox": None},
        {"bbox": [150, 100, 30, 40], "area": None},
        {"bbox": [-5, -7.5, 40, 30], "area": -1},
        {"category_id": 99},
        {"segmentation": [*SQUARE, [1, 2, 3]]},
        {"segmentation": [[float("inf")] * 6]},
        {"bbox": [10, 10, 0, 5]},
        {"id": "12", "area": "30.5"},
    ]
    for annotation, change in zip(annotations, changes, strict=True):
        annotation.update(change)
    annotations += [annotations[0] | {"image_id": 77}, 5, dict(annotations[1])]
    content["images"] += [dict(content["images"][2]), {"id": 50, "file_name": "1.jpg"}]
    annotations.append(annotations[0] | {"id": 90, "image_id": 50})
    annotations.reverse()
    return content


def truth_by_picture(source):
    """Returns the objects of each picture in their order, without the number that both give."""
    truth = source.ground_truth
    return {
        image["id"]: (
            image,
            [
                {key: value for key, value in annotation.items() if key != "id"}
                for annotation in truth.annotations
                if annotation["image_id"] == image["id"]
            ],
        )
        for image in truth.images
    }


def check_same(from_json, from_records):
    """Checks that both give the same ground truth, counts and numbers; returns those of boxes."""
    assert truth_by_picture(from_json) == truth_by_picture(from_records)
    assert from_json.reading == from_records.reading
    truth, other = from_json.ground_truth, from_records.ground_truth
    assert truth.categories == other.categories
    known = {image["id"] for image in truth.images}
    ids = {category["id"] for category in truth.categories}
    found = [d for d in sound_results() if d["image_id"] in known and d["category_id"] in ids]
    numbers = [evaluate(each, found, ("box", "mask")) for each in (truth, other)]
    for kind in ("box", "mask"):
        assert numbers[0].numbers(kind) == numbers[1].numbers(kind)
    assert set(numbers[0].numbers("box")) == set(METRIC_NAMES)
    return numbers[0].numbers("box")


@pytest.mark.parametrize(
    "policies",
    [
        {},
        {"box_outside": "accept", "box_without_area": "accept", "bad_ring": "refuse"},
        {"unknown_category": "refuse", "bad_area": "drop", "bad_picture_record": "drop"},
    ],
)
def test_flaws_of_several_kinds_at_once(both, policies):
    data = LENIENT.model_copy(update={"policies": policies})
    numbers = check_same(*both(flawed(), data))

    assert 0 < numbers["AP"] < 1
    reading = both(flawed(), data)[0].reading
    assert len(reading["reasons"]) > 12
    for what in ("pictures", "objects"):
        counts = reading[what]
        assert counts["read"] == counts["written"] + counts["rejected"]


def test_sound_file_is_the_same_to_the_digest_of_each_picture(both):
    from_json, from_records = both(sound_annotations(PICTURES))
    check_same(from_json, from_records)
    assert len(ground_truth_digest(from_json.ground_truth)) == 64
    assert from_json.reading["reasons"] == {}


def test_random_flaws(both, tmp_path):
    """Which files can be used at all is compared as well."""
    generator = random.Random(20)
    used = 0
    for _ in range(RANDOM_FILES):
        content = sound_annotations(PICTURES)
        content["annotations"] = mutated(content["annotations"], generator, most=12)
        content["images"].append(copy.deepcopy(generator.choice(content["images"])))
        try:
            sources = both(content)
        except DatasetError:
            with pytest.raises(DatasetError):
                AnnotationsSource(tmp_path / "instances.json", data=LENIENT).reading  # noqa: B018
            continue
        check_same(*sources)
        used += 1
    assert used > RANDOM_FILES / 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"bbox": [500, 500, 10, 10]},
            "3 of 12 objects are dropped for box_outside, more than data.max_lost_objects_fraction",
        ),
        (
            {"segmentation": [[1, 2]]},
            "3 of 12 masks are lost for bad_segmentation, more than data.max_lost_masks_fraction",
        ),
        (
            {"height": "tall"},
            "3 of 6 pictures are refused (bad_picture_record 3), more than "
            "data.max_rejected_fraction",
        ),
    ],
)
def test_limits_on_losses_hold_for_both_in_the_same_words(both, tmp_path, change, words):
    content = sound_annotations(PICTURES)
    entries = content["images" if "height" in change else "annotations"]
    for entry in entries[:3]:
        entry.update(change)
    path = tmp_path / "instances.json"
    with pytest.raises(DatasetError, match=r"data\.max_") as converted:
        both(content, DataConfig())
    with pytest.raises(DatasetError) as evaluated:
        AnnotationsSource(path).ground_truth  # noqa: B018
    assert str(evaluated.value).startswith(f"{path}: 3 of ")
    assert "\n" not in str(evaluated.value)
    words = [
        str(error.value).split(" allows. ")[0].split(": ")[-1] for error in (converted, evaluated)
    ]
    assert words[0] == words[1]
