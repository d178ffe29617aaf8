import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from absl import logging

from configs.schema import InputConfig, LargeScaleJitterConfig
from ground.errors import DatasetError
from model.batch import arrays_of, named_arrays
from model.input.input_pipeline import TrainingInput
from model.input.resize import decode_picture, resize_picture
from tests.model.input.handmade import example, jpeg, write_folder

CONFIG = InputConfig(short_side_px=32, long_side_px=64, max_objects=4, flip_probability=0.0)


def picture(height, width, seed=0):
    """Returns a smooth picture, so that JPEG and resizing change little."""
    rows, columns = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin((rows + (k + 1) * columns + seed) / 9) for k in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def open_input(folder, config=CONFIG, workers=1, batch=2, seed=0, with_masks=False):
    return TrainingInput(folder, "train", config, with_masks, workers, batch, seed)


def batches(training_input, count, worker=0, first_step=0):
    dataset = training_input.dataset(worker, first_step, threads=2).take(count)
    return [arrays_of(batch) for batch in dataset]


@pytest.fixture(scope="module")
def mixed_folder(tmp_path_factory):
    """Lying, upright, square and tiny pictures; one without objects, one with a crowd."""
    square = np.ones((5, 7), bool)
    examples = [
        example(
            picture(40, 60, 1), [[4, 6, 20, 30]], [1], bitmaps=[square], mask_boxes=[[4, 6, 9, 13]]
        ),
        example(picture(60, 40, 2), [[0, 0, 60, 40], [10, 10, 50, 30]], [2, 3], crowds=[1, 0]),
        example(picture(48, 48, 3)),
        example(picture(9, 5, 4), [[1, 1, 8, 4]], [3]),
        example(picture(40, 60, 5), [[i, i, i + 9, i + 9] for i in range(3)], [1, 1, 2]),
    ]
    return write_folder(tmp_path_factory.mktemp("mixed"), examples, CONFIG, shards=2)


def test_batches_have_the_static_shapes_of_their_bucket(mixed_folder):
    training_input = open_input(mixed_folder, with_masks=True)
    assert training_input.num_pictures == 5
    assert training_input.num_classes == 3
    for step, batch in enumerate(batches(training_input, training_input.steps_per_epoch)):
        bucket, _ = training_input.plan.batch(0, step, worker=0)
        height, width = training_input.buckets[bucket]
        shapes = {
            key: (value.dtype.name, value.shape) for key, value in named_arrays(batch).items()
        }
        assert shapes == {
            "images": ("uint8", (2, height, width, 3)),
            "image_sizes": ("float32", (2, 2)),
            "image_ids": ("int64", (2,)),
            "valid": ("bool", (2,)),
            "gt_boxes": ("float32", (2, 4, 4)),
            "gt_classes": ("int32", (2, 4)),
            "gt_valid": ("bool", (2, 4)),
            "gt_is_crowd": ("bool", (2, 4)),
            "gt_masks.bitmaps": ("uint8", (2, 4, 8, 8)),
            "gt_masks.boxes": ("float32", (2, 4, 4)),
            "gt_masks.valid": ("bool", (2, 4)),
        }


def test_padding_and_fillers_are_zero(mixed_folder):
    training_input = open_input(mixed_folder, batch=4)
    fillers = 0
    for batch in batches(training_input, training_input.steps_per_epoch):
        for i in range(4):
            height, width = batch.image_sizes[i].astype(int)
            assert not batch.images[i, height:].any()
            assert not batch.images[i, :, width:].any()
            assert batch.images[i].any() == batch.valid[i]
            if not batch.valid[i]:
                fillers += 1
                assert batch.image_ids[i] == -1
                assert not batch.gt_valid[i].any()
                assert (height, width) == batch.images.shape[1:3]
            unused = ~batch.gt_valid[i]
            assert not batch.gt_boxes[i][unused].any()
            assert not batch.gt_classes[i][unused].any()
    assert fillers == 4 * training_input.steps_per_epoch - 5


def test_picture_is_decoded_and_resized_as_the_exported_model_does(tmp_path):
    pixels = picture(40, 60)
    folder = write_folder(tmp_path, [example(pixels)], CONFIG)
    (batch,) = batches(open_input(folder, batch=1), 1)
    expected = resize_picture(decode_picture(jpeg(pixels)), 32, 48).numpy()
    assert (batch.images[0, :32, :48] == expected).all()


def test_boxes_scale_with_the_picture(tmp_path):
    folder = write_folder(tmp_path, [example(picture(40, 60), [[4, 6, 20, 30]], [2])], CONFIG)
    (batch,) = batches(open_input(folder, batch=1), 1)
    # 40 x 60 -> 32 x 48, a factor of 0.8
    np.testing.assert_allclose(batch.gt_boxes[0, 0], [3.2, 4.8, 16, 24], rtol=1e-6)
    assert batch.gt_classes[0].tolist() == [2, 0, 0, 0]
    assert batch.image_sizes[0].tolist() == [32, 48]


def test_crowds_are_rows_with_their_mark(mixed_folder):
    training_input = open_input(mixed_folder, batch=1)
    by_id = {
        int(batch.image_ids[0]): batch
        for batch in batches(training_input, training_input.steps_per_epoch)
    }
    assert sorted(by_id) == [1, 2, 3, 4, 5]
    assert by_id[2].gt_is_crowd[0].tolist() == [True, False, False, False]
    assert by_id[2].gt_valid[0].tolist() == [True, True, False, False]
    assert not by_id[3].gt_valid.any()
    assert by_id[3].valid.all()


def test_flip_turns_picture_and_boxes(tmp_path):
    folder = write_folder(tmp_path, [example(picture(40, 60), [[4, 6, 20, 30]], [1])], CONFIG)
    flipping = CONFIG.model_copy(update={"flip_probability": 1.0})
    (plain,) = batches(open_input(folder, batch=1), 1)
    (flipped,) = batches(open_input(folder, flipping, batch=1), 1)
    content = np.s_[0, :32, :48]
    mirrored = plain.images[content][:, ::-1].astype(int)
    # It is turned before it is resized, so that a rounding may go the other way.
    assert np.abs(flipped.images[content] - mirrored).max() <= 1
    np.testing.assert_allclose(flipped.gt_boxes[0, 0], [3.2, 24, 16, 43.2], rtol=1e-5)


def scene_with_mask(height, width, random):
    """Returns a record whose second object is exactly the white pixels, and a bitmap of 20 x 20."""
    top, left = random.integers(0, height - 9), random.integers(0, width - 13)
    tall, wide = random.integers(4, 9), random.integers(4, 13)
    bitmap = np.ones((tall, wide), bool)
    bitmap[: random.integers(1, tall), : random.integers(1, wide)] = False  # not symmetric
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[top : top + tall, left : left + wide] = 255 * bitmap[..., None]
    box = [top, left, top + tall, left + wide]
    unmasked = [0, 0, 2, 2]
    crowd = [0, 0, 9, 9]
    return example(
        pixels,
        [unmasked, box, crowd],
        [1, 2, 3],
        crowds=[0, 0, 1],
        bitmaps=[None, bitmap, np.ones((20, 20), bool)],
        mask_boxes=[[0, 0, 0, 0], box, crowd],
    )


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_masks_stay_on_their_objects_through_resize_and_flip(tmp_path, flip):
    random = np.random.default_rng(int(flip))
    # 32 x 48 stays as it is, 16 x 24 is doubled: its edges stay where the bitmap's are.
    shapes = [(32, 48), (48, 32), (16, 24), (24, 16)] * 5
    config = CONFIG.model_copy(update={"flip_probability": flip})
    folder = write_folder(tmp_path, [scene_with_mask(*s, random) for s in shapes], config)
    training_input = open_input(folder, config, batch=1, with_masks=True)
    for batch in batches(training_input, training_input.steps_per_epoch):
        assert batch.gt_masks.valid[0].tolist() == [False, True, True, False]
        assert batch.gt_masks.bitmaps.shape == (1, 4, 21, 21)
        assert not batch.gt_masks.bitmaps[0, [0, 3]].any()
        assert batch.gt_masks.bitmaps[0, 2].sum() == 20 * 20
        drawn = drawn_mask(batch, 1)
        assert (drawn == white_pixels(batch)).all()
        top, left, bottom, right = batch.gt_boxes[0, 1].round().astype(int)
        assert drawn[top:bottom, left:right].sum() == drawn.sum()


def drawn_mask(batch, row):
    """Looks the bitmap of a row up at every pixel centre of the input frame."""
    rows, columns = batch.image_sizes[0].astype(int)
    ymin, xmin, ymax, xmax = batch.gt_masks.boxes[0, row]
    y = np.floor((np.arange(rows) + 0.5 - ymin) / (ymax - ymin) * 21).astype(int)
    x = np.floor((np.arange(columns) + 0.5 - xmin) / (xmax - xmin) * 21).astype(int)
    inside = ((y >= 0) & (y < 21))[:, None] & ((x >= 0) & (x < 21))
    return batch.gt_masks.bitmaps[0, row][np.clip(y, 0, 20)[:, None], np.clip(x, 0, 20)] & inside


def white_pixels(batch):
    rows, columns = batch.image_sizes[0].astype(int)
    return batch.images[0, :rows, :columns, 0] > 127


def jittered(low, high, side_px=32, **changes):
    jitter = LargeScaleJitterConfig(side_px=side_px, range=(low, high))
    return CONFIG.model_copy(update={"large_scale_jitter": jitter, **changes})


def test_large_scale_jitter_resizes_then_crops_or_pads(tmp_path):
    # As Detectron2's ResizeScale and FixedSizeCrop, from the sizes and windows of the plan.
    config = jittered(0.1, 2.0)
    pixels = [picture(40, 60, n) for n in range(6)]
    folder = write_folder(tmp_path, [example(p) for p in pixels], config)
    training_input = open_input(folder, config, batch=1)
    assert training_input.buckets == [(32, 32)]
    seen = {"cropped": 0, "padded": 0}
    for step, batch in enumerate(batches(training_input, 12)):
        epoch, (record,) = step // 6, [int(batch.image_ids[0]) - 1]
        # The index lists the records of the only shard in the order they were written.
        (height,), (width,) = training_input.plan.sizes(epoch, [record])
        ((top, left, rows, columns),) = training_input.plan.crops(epoch, [record])
        resized = resize_picture(decode_picture(jpeg(pixels[record])), height, width).numpy()
        expected = np.zeros([32, 32, 3], np.uint8)
        expected[:rows, :columns] = resized[top : top + rows, left : left + columns]
        assert (batch.images[0] == expected).all()
        assert batch.image_sizes[0].tolist() == [rows, columns] == [
            min(height, 32), min(width, 32),
        ]  # fmt: skip
        seen["cropped" if width > 32 else "padded"] += 1
    assert min(seen.values()) >= 2


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_boxes_and_masks_follow_a_crop(tmp_path, flip):
    random = np.random.default_rng(int(flip) + 2)
    config = jittered(2.0, 2.0, flip_probability=flip)
    # 16 x 32 becomes 32 x 64, of which 32 x 32 are kept: pixels' edges stay where bitmaps' are.
    scenes = [scene_with_mask(*shape, random) for shape in [(16, 32), (32, 16)] * 12]
    training_input = open_input(
        write_folder(tmp_path, scenes, config), config, batch=1, with_masks=True
    )
    gone = cut = 0
    for batch in batches(training_input, training_input.steps_per_epoch):
        (rows,) = np.nonzero(batch.gt_classes[0] == 2)
        shown = white_pixels(batch)
        if not len(rows):
            gone += 1
            assert not shown.any()
            continue
        [row] = rows
        assert batch.gt_valid[0, row] and batch.gt_masks.valid[0, row]
        assert (drawn_mask(batch, row) == shown).all()
        top, left, bottom, right = batch.gt_boxes[0, row]
        assert 0 <= top < bottom <= 32 and 0 <= left < right <= 32
        inside = shown[int(top) : int(bottom), int(left) : int(right)]
        assert inside.sum() == shown.sum()
        cut += bool({top, left} & {0.0} or {bottom, right} & {32.0})
        # The rows in use come first and hold something; the crowd keeps its mark.
        used = batch.gt_valid[0]
        assert (np.diff(used.astype(int)) <= 0).all()
        sides = batch.gt_boxes[0, :, 2:] - batch.gt_boxes[0, :, :2]
        assert (sides[used] > 0).all() and not sides[~used].any()
        assert (batch.gt_is_crowd[0] == (batch.gt_classes[0] == 3)).all()
    assert gone >= 2 and cut >= 2


def test_what_a_crop_leaves_out_makes_room_for_what_it_shows(tmp_path):
    # Windows of 32 columns show the five large objects or the small one; there are four rows.
    boxes = [*([[0, 0, 32, 8]] * 5), [28, 40, 32, 64]]
    config = jittered(2.0, 2.0)
    record = example(picture(32, 64), boxes, [1, 1, 1, 1, 1, 2])
    training_input = open_input(write_folder(tmp_path, [record] * 12, config), config, batch=1)
    seen = {tuple(batch.gt_classes[0].tolist()) for batch in batches(training_input, 24)}
    assert {(1, 1, 1, 1), (2, 0, 0, 0)} <= seen <= {(1, 1, 1, 1), (2, 0, 0, 0), (0, 0, 0, 0)}


def test_the_shorter_side_is_one_of_the_choices(tmp_path):
    config = CONFIG.model_copy(update={"short_side_choices_px": (20, 24, 32)})
    folder = write_folder(tmp_path, [example(picture(40, 60))] * 12, config)
    training_input = open_input(folder, config, batch=1)
    seen = {int(batch.image_sizes[0, 0]) for batch in batches(training_input, 24)}
    assert seen == {20, 24, 32}


def test_largest_objects_are_kept_and_crowds_go_first(tmp_path):
    boxes = [[0, 0, 8, side] for side in (5, 30, 10, 20, 40, 15)]
    record = example(picture(32, 48), boxes, [1] * 6, crowds=[0, 0, 0, 0, 1, 0])
    training_input = open_input(write_folder(tmp_path, [record], CONFIG), batch=1)
    (batch,) = batches(training_input, 1)
    # Widths of the four largest that are no crowd, in the record's order.
    assert batch.gt_boxes[0, :, 3].tolist() == [30, 10, 20, 15]
    assert training_input.overflow == 2


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_masks_stay_with_their_boxes_where_objects_are_left_out(tmp_path, flip):
    # Each object is marked by how many rows of its bitmap are set; the second and last are crowded
    # out, the third has no mask.
    widths = [5, 4, 30, 10, 20, 3]
    bitmaps = [np.arange(10)[:, None] < n + np.zeros((1, 10)) for n in range(1, 7)]
    bitmaps[2] = None
    boxes = [[0, 0, 8, width] for width in widths]
    record = example(picture(32, 48), boxes, [1] * 6, bitmaps=bitmaps, mask_boxes=boxes)
    config = CONFIG.model_copy(update={"flip_probability": flip})
    folder = write_folder(tmp_path, [record], config)
    (batch,) = batches(open_input(folder, config, batch=1, with_masks=True), 1)
    widths, mask_widths = (
        boxes[0, :, 3] - boxes[0, :, 1] for boxes in (batch.gt_boxes, batch.gt_masks.boxes)
    )
    np.testing.assert_allclose(widths, [5, 30, 10, 20])
    # A bitmap of 10 x 10 is stored with one more row and column.
    np.testing.assert_allclose(mask_widths, np.multiply(widths, [1.1, 0, 1.1, 1.1]), rtol=1e-5)
    assert batch.gt_masks.valid[0].tolist() == [True, False, True, True]
    assert batch.gt_masks.bitmaps[0].any(axis=2).sum(axis=1).tolist() == [1, 0, 4, 5]


def test_overflow_is_logged_once(tmp_path, caplog):
    record = example(picture(32, 48), [[0, 0, 8, 8]] * 6, [1] * 6)
    folder = write_folder(tmp_path, [record], CONFIG)
    with caplog.at_level("WARNING", logger="absl"):
        logging.get_absl_logger().propagate = True
        training_input = open_input(folder, batch=1)
        batches(training_input, 3)
    found = [line.getMessage() for line in caplog.records if "max_objects" in line.getMessage()]
    assert found == [
        "input: 2 objects in 1 pictures exceed input.max_objects 4; the largest of each picture "
        "are kept"
    ]


JITTER = CONFIG.model_copy(update={"flip_probability": 0.5, "scale_jitter": (0.7, 1.0)})


def equal(batch, other):
    one, two = named_arrays(batch), named_arrays(other)
    return all((one[key] == two[key]).all() for key in one)


def test_resumed_run_goes_on_bit_by_bit(mixed_folder):
    training_input = open_input(mixed_folder, JITTER, with_masks=True)
    whole = batches(training_input, 9)
    for first_step in (1, 4, 8):
        rest = batches(
            open_input(mixed_folder, JITTER, with_masks=True), 9 - first_step, 0, first_step
        )
        assert all(equal(a, b) for a, b in zip(whole[first_step:], rest, strict=True))


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_together_see_what_one_sees(mixed_folder, workers):
    alone = open_input(mixed_folder, JITTER, batch=workers)
    together = open_input(mixed_folder, JITTER, workers=workers, batch=1)
    assert together.steps_per_epoch == alone.steps_per_epoch
    steps = alone.steps_per_epoch
    parts = [batches(together, steps, worker) for worker in range(workers)]
    for step, whole in enumerate(batches(alone, steps)):
        assert len({part[step].images.shape for part in parts}) == 1
        for key, value in named_arrays(whole).items():
            joined = np.concatenate([named_arrays(part[step])[key] for part in parts])
            assert (joined == value).all(), key


def test_epochs_follow_each_other(mixed_folder):
    training_input = open_input(mixed_folder, batch=2)
    for epoch in itertools.islice(itertools.count(), 2):
        found = batches(
            training_input,
            training_input.steps_per_epoch,
            0,
            epoch * training_input.steps_per_epoch,
        )
        ids = np.concatenate([batch.image_ids[batch.valid] for batch in found])
        assert sorted(ids) == [1, 2, 3, 4, 5]


def test_missing_index_is_told(mixed_folder, tmp_path):
    folder = write_folder(tmp_path, [example(picture(32, 48))], CONFIG)
    os.remove(folder / "index" / "train-00000-of-00001.npz")
    with pytest.raises(DatasetError, match="no such index; training reads the folder that"):
        open_input(folder)


def test_truncated_and_damaged_shards_are_told(tmp_path):
    folder = write_folder(tmp_path, [example(picture(32, 48))], CONFIG)
    (shard,) = (folder / "Split-train").iterdir()
    whole = shard.read_bytes()
    opened = open_input(folder)
    shard.write_bytes(whole[:100])
    with pytest.raises(tf.errors.OpError, match="ends at byte 100, within the record at byte 12"):
        batches(opened, 1)  # cut off since
    with pytest.raises(DatasetError, match="ends at byte 100, within the record at byte 12"):
        open_input(folder)
    shard.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    with pytest.raises(tf.errors.OpError, match="damaged data of the record at byte 12"):
        batches(open_input(folder), 1)


def test_datasets_one_after_another_leave_no_more_files_open(tmp_path):
    folder = write_folder(tmp_path, [example(picture(32, 48))] * 4, CONFIG, shards=2)

    def open_shards() -> int:
        links = [Path(link) for link in Path("/proc/self/fd").iterdir()]
        return sum(os.path.realpath(link).startswith(str(folder)) for link in links)

    training_input = open_input(folder)
    for _ in range(3):  # as validation does
        batches(training_input, training_input.steps_per_epoch)
        assert open_shards() == 2
