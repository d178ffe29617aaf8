"""Validation: whose pictures, which numbers, when. Whole runs: tests/model/launch."""

import numpy as np
import pytest
import tensorflow as tf
from pycocotools import mask as coco_mask

from configs.augmentation_schema import ColorJitterConfig
from configs.schema import InputConfig, TrainConfig
from ground.errors import DatasetError
from model.batch import Found
from model.evaluation.transformed import drawn, ground_truth_of_examples
from model.training.distribution import Distribution
from model.training.validation import (
    CocoValidation,
    is_validation_step,
    validate,
)
from tests.model.input.handmade import example, write_folder

INPUT = InputConfig(
    short_side_px=64,
    long_side_px=96,
    max_objects=4,
    flip_probability=1.0,
    rotation_degrees=45,
    crop_min_share=0.5,
    color_jitter=ColorJitterConfig(),
)
# Height and width of the pictures: of several shapes, the last two twice as large as the input.
SIZES = [(64, 96), (96, 64), (64, 80), (64, 64), (64, 96), (128, 192), (192, 128)]


def box_of(number):
    return [10, 20 + 2 * number, 42, 44 + 2 * number]  # yxyx, pixels of the picture


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Black pictures with one white rectangle each, but for the last one: it has none."""
    records = []
    for number, (height, width) in enumerate(SIZES):
        pixels = np.zeros([height, width, 3], np.uint8)
        y0, x0, y1, x1 = box = box_of(number)
        bitmap = np.ones([y1 - y0, x1 - x0], bool)
        if number + 1 < len(SIZES):
            pixels[y0:y1, x0:x1] = 255
            records.append(example(pixels, [box], [2], None, [bitmap], [box]))
        else:
            records.append(example(pixels))
    folder = tmp_path_factory.mktemp("validation") / "examples"
    ids = [100 + number for number in range(len(SIZES))]
    return write_folder(folder, records, INPUT, ids, shards=2, split="eval")


class RectangleFinder:
    """Finds what is white; eager only."""

    has_masks = True

    def __init__(self, offset_px=0.0):
        self._offset_px = offset_px

    def detect(self, images, image_sizes):
        count = images.shape[0]
        boxes, num = np.zeros([count, 3, 4], np.float32), np.zeros(count, np.int32)
        for n, image in enumerate(images.numpy()):
            rows, columns = np.nonzero(image.mean(axis=-1) > 127)
            if len(rows):
                box = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
                boxes[n, 0], num[n] = np.add(box, self._offset_px), 1
        found = Found(
            boxes=boxes,
            scores=np.where(np.arange(3) < num[:, None], 0.9, 0.0).astype(np.float32),
            classes=np.where(np.arange(3) < num[:, None], 2, 0).astype(np.int32),
            num=num,
            masks=np.ones([count, 3, 28, 28], np.float32),
        )
        return tf.nest.map_structure(tf.constant, found)


def validation(examples, batch="1x2", **changes):
    train = TrainConfig(batch=batch, validate_every_epochs=1)
    return CocoValidation(RectangleFinder(**changes), examples, INPUT, train, eager=True)


def test_perfect_detections_score_one(examples):
    asked = []
    metrics = validate(validation(examples), Distribution(), lambda: asked.append(1), bool)
    # A pasted mask ends half a pixel within its box: 31 x 23 of 32 x 24 px, IoU 0.928, is a match
    # at all thresholds but 0.95.
    assert {name: round(value, 6) for name, value in metrics.items()} == {
        "box/AP": 1.0, "box/AP50": 1.0, "box/AP75": 1.0, "box/AR100": 1.0,
        "mask/AP": 0.9, "mask/AP50": 1.0, "mask/AP75": 1.0, "mask/AR100": 0.9,
    }  # fmt: skip
    assert len(asked) >= 4  # seven pictures in twos, and the scoring


def test_shifted_detections_score_what_their_overlap_is_worth(examples):
    # 32 x 24 px moved by 3 px in both axes: 29 * 21 = 609 of 2 * 768 - 609 = 927, IoU 0.657; moved
    # by 6 px in the one picture that is twice as large as the input: 26 * 18 = 468 of 1068, IoU
    # 0.438. So five of six are found at the thresholds 0.50 ... 0.65. All score the same; the false
    # one comes last, so precision is 1 up to recall 5/6: 84 of COCO's 101 recalls.
    one = validation(examples, offset_px=3.0)
    metrics = one.score(one.detect(0, lambda: True))
    assert metrics["box/AP75"] == 0.0
    assert metrics["box/AR100"] == pytest.approx(5 / 6 * 4 / 10)
    assert metrics["box/AP50"] == pytest.approx(84 / 101, abs=0.01)


def test_validations_one_after_another_see_the_same_from_one_dataset(examples, monkeypatch):
    one, made = validation(examples), []
    dataset = one._input.dataset
    monkeypatch.setattr(one._input, "dataset", lambda *args: made.append(args) or dataset(*args))
    first = one.detect(0, lambda: True)
    assert one.detect(0, lambda: True) == first
    assert len(first) == 6
    assert made == [(0, 0, 0)]


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_each_picture_is_detected_by_one_worker(examples, workers):
    one = validation(examples, f"{workers}x2")
    found = [one.detect(worker, lambda: True) for worker in range(workers)]
    ids = sorted(result["image_id"] for part in found for result in part)
    assert ids == [100, 101, 102, 103, 104, 105]
    assert one.score([result for part in found for result in part])["box/AP"] == pytest.approx(1.0)


def test_a_stop_that_is_asked_for_gives_no_numbers(examples):
    one = validation(examples)
    assert validate(one, Distribution(), lambda: None, lambda: True) is None


def test_a_split_that_is_missing_is_named(examples):
    train = TrainConfig(validation_split="val", validate_every_epochs=1)
    with pytest.raises(DatasetError, match="val"):
        CocoValidation(RectangleFinder(), examples, INPUT, train, eager=True)


def test_ground_truth_has_coco_s_form(examples):
    truth = ground_truth_of_examples(examples, "eval")
    assert [image["id"] for image in truth.images] == [100, 102, 104, 106, 101, 103, 105]
    by_image = {annotation["image_id"]: annotation for annotation in truth.annotations}
    assert len(truth.annotations) == len(SIZES) - 1
    assert len({annotation["id"] for annotation in truth.annotations}) == len(SIZES) - 1
    for number, (height, width) in enumerate(SIZES[:-1]):
        y0, x0, y1, x1 = box_of(number)
        annotation = by_image[100 + number]
        assert annotation["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=1e-4)
        assert (annotation["category_id"], annotation["iscrowd"]) == (14, 0)
        mask = np.zeros([height, width], bool)
        mask[y0:y1, x0:x1] = True
        np.testing.assert_array_equal(coco_mask.decode(annotation["segmentation"]), mask)
        assert annotation["area"] == mask.sum()


def test_a_bitmap_is_drawn_by_its_nearest_pixels():
    bitmap = np.asarray([[True, False], [False, True]])
    y0, x0, window = drawn(bitmap, [1.0, 2.0, 3.0, 4.0], 8, 8)  # as large as it is
    assert (y0, x0) == (1, 2)
    np.testing.assert_array_equal(window, bitmap)
    _, _, window = drawn(bitmap, [0.0, 0.0, 4.0, 6.0], 8, 8)  # enlarged by 2 and 3
    np.testing.assert_array_equal(window, np.kron(bitmap, np.ones([2, 3])) > 0)


@pytest.mark.parametrize(
    ("every_epochs", "steps"),
    [(0.0, []), (1.0, [5, 10, 12]), (0.5, [3, 5, 8, 10, 12]), (2.0, [10, 12]), (9.0, [12])],
)
def test_validations_are_due_every_so_many_epochs_and_at_the_end(every_epochs, steps):
    due = [done for done in range(13) if is_validation_step(done, every_epochs, 5, 12)]
    assert due == steps


def test_a_part_of_an_epoch_that_binary_cannot_hold_is_not_late():
    due = [done for done in range(54, 60) if is_validation_step(done, 0.1, 19, 999)]
    assert due == [54, 56, 57, 59]  # 28 to 31 times 1.9, rounded up
