"""Training batches with what changes pictures at random: masks, boxes, data at the edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.augmentation_schema import ColorJitterConfig, CopyPasteConfig, MosaicConfig
from configs.schema import InputConfig, LargeScaleJitterConfig
from ground.errors import DatasetError
from model.batch import arrays_of, named_arrays
from model.input.input_pipeline import TrainingInput
from tests.model.input.handmade import example, write_folder

CONFIG = InputConfig(short_side_px=64, long_side_px=128, max_objects=6, flip_probability=0.0)
COLORS = {"color_jitter": ColorJitterConfig(probability=1.0, hue=0.2)}
TURNS = {"rotation_degrees": 30.0}
CROPS = {"crop_min_share": 0.5}
SQUARE = {"large_scale_jitter": LargeScaleJitterConfig(side_px=64, range=(0.5, 2.0))}
PASTE = {"copy_paste": CopyPasteConfig(object_probability=1.0)}
MOSAIC = {"mosaic": MosaicConfig(probability=1.0)}
EACH = {"turns": TURNS, "crops": CROPS, "square": SQUARE, "paste": PASTE, "mosaic": MOSAIC}
MIXED = {"copy_paste": CopyPasteConfig(probability=0.7), "mosaic": MosaicConfig(probability=0.5)}
ALL = {**COLORS, **TURNS, **MIXED, "flip_probability": 0.5}


def changed(changes):
    return CONFIG.model_copy(update=changes)


def open_input(folder, config, workers=1, batch=1, with_masks=True, seed=0):
    return TrainingInput(folder, "train", config, with_masks, workers, batch, seed)


def batches(training_input, count=None, worker=0, first_step=0):
    count = training_input.steps_per_epoch if count is None else count
    dataset = training_input.dataset(worker, first_step, threads=2).take(count)
    return [arrays_of(batch) for batch in dataset]


def disc(height, width, random, crowd=False):
    """Returns a record: a white ellipse, its mask exactly, and a crowd region without one."""
    tall, wide = random.integers(12, height // 2), random.integers(12, width // 2)
    top, left = random.integers(0, height - tall), random.integers(0, width - wide)
    rows, columns = np.mgrid[:tall, :wide] + 0.5
    bitmap = np.hypot(rows / tall * 2 - 1, columns / wide * 2 - 1) < 1
    bitmap[: tall // 2, : wide // 2] = False  # not symmetric
    pixels = np.full((height, width, 3), 20, np.uint8)
    pixels[top : top + tall, left : left + wide][bitmap] = 240
    box = [top, left, top + tall, left + wide]
    margin = np.pad(bitmap, 1)  # as CocoTransform stores it, where that lies in the picture
    covered = [top - 1, left - 1, top + tall + 1, left + wide + 1]
    if min(covered) < 0 or covered[2] > height or covered[3] > width:
        margin, covered = bitmap, box
    if not crowd:
        return example(pixels, [box], [1], bitmaps=[margin], mask_boxes=[covered])
    return example(
        pixels, [box, [0, 0, 5, 9]], [1, 2], crowds=[0, 1], bitmaps=[margin, None],
        mask_boxes=[covered, [0, 0, 0, 0]],
    )  # fmt: skip


def drawn_mask(batch, row):
    """Looks the bitmap of a row up at every pixel centre of the content."""
    rows, columns = batch.image_sizes[0].astype(int)
    ymin, xmin, ymax, xmax = batch.gt_masks.boxes[0, row]
    side = batch.gt_masks.bitmaps.shape[-1]
    y = np.floor((np.arange(rows) + 0.5 - ymin) / (ymax - ymin) * side).astype(int)
    x = np.floor((np.arange(columns) + 0.5 - xmin) / (xmax - xmin) * side).astype(int)
    inside = ((y >= 0) & (y < side))[:, None] & ((x >= 0) & (x < side))
    grid = np.clip(y, 0, side - 1)[:, None], np.clip(x, 0, side - 1)
    return (batch.gt_masks.bitmaps[0, row][grid] > 0) & inside


def white_pixels(batch):
    rows, columns = batch.image_sizes[0].astype(int)
    return batch.images[0, :rows, :columns].mean(axis=-1) > 128


def iou(one, other):
    return (one & other).sum() / max(1, (one | other).sum())


def is_sound(batch):
    """Whether everything that training takes for granted of a batch holds."""
    for n in range(len(batch.valid)):
        rows, columns = batch.image_sizes[n].astype(int)
        used = batch.gt_valid[n]
        boxes = batch.gt_boxes[n][used]
        masks = batch.gt_masks
        assert not batch.images[n, rows:].any() and not batch.images[n, :, columns:].any()
        assert (np.diff(used.astype(int)) <= 0).all()
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= batch.image_sizes[n]).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (batch.gt_classes[n] > 0).tolist() == used.tolist()
        assert not batch.gt_boxes[n][~used].any() and not (batch.gt_is_crowd[n] & ~used).any()
        if masks is not None:
            assert not (masks.valid[n] & ~used).any()
            assert not masks.boxes[n][~masks.valid[n]].any()
            assert masks.bitmaps[n].any(axis=(1, 2)).tolist() == masks.valid[n].tolist()
        assert np.isfinite(batch.gt_boxes[n]).all()
    return True


@pytest.mark.parametrize("name", EACH)
def test_masks_and_boxes_stay_on_their_objects(tmp_path, name):
    random = np.random.default_rng(1)
    config = changed({**EACH[name], "flip_probability": 0.5})
    scenes = [disc(*shape, random) for shape in [(64, 96), (96, 64), (32, 48), (64, 64)] * 4]
    training_input = open_input(write_folder(tmp_path, scenes, config), config)
    overlaps, objects = [], 0
    for batch in batches(training_input):
        assert is_sound(batch)
        shown, number = white_pixels(batch), int(batch.gt_valid[0].sum())
        masks = [drawn_mask(batch, row) for row in range(number)]
        if not masks:
            assert shown.sum() < 30
            continue
        overlaps.append(iou(np.any(masks, axis=0), shown))
        objects += number
        assert sum(mask.sum() for mask in masks) <= 1.1 * np.any(masks, axis=0).sum()
        # A box is that of the mask in view, to what half a cell and smooth outlines leave open.
        for box, mask in zip(batch.gt_boxes[0], masks, strict=False):
            rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
            if min(len(rows), len(columns)) > 8:
                tight = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
                np.testing.assert_allclose(box, tight, atol=2.6)
    assert len(overlaps) > 10
    assert objects > 1.5 * len(overlaps) or name not in ("paste", "mosaic")
    assert np.median(overlaps) > 0.93 and min(overlaps) > 0.6


def test_without_a_mask_a_turned_box_holds_the_object(tmp_path):
    random = np.random.default_rng(2)
    config = changed(TURNS)
    folder = write_folder(tmp_path, [disc(64, 96, random) for _ in range(8)], config)
    with_masks, no_masks = open_input(folder, config), open_input(folder, config, with_masks=False)
    # Masks are read for the boxes, whatever the model has.
    for one, other in zip(batches(with_masks), batches(no_masks), strict=True):
        assert other.gt_masks is None and one.gt_masks is not None
        assert (one.gt_boxes == other.gt_boxes).all()
    boxes_only = [example(np.full((64, 96, 3), 9, np.uint8), [[20, 30, 40, 60]], [1])] * 8
    folder = write_folder(tmp_path / "boxes", boxes_only, config)
    for batch in batches(open_input(folder, config, with_masks=False)):
        [ymin, xmin, ymax, xmax] = batch.gt_boxes[0, 0]
        assert ymax - ymin >= 20 and xmax - xmin >= 30 * np.cos(np.deg2rad(30))
        assert [(ymin + ymax) / 2, (xmin + xmax) / 2] == pytest.approx([30, 45], abs=8)


def test_colors_change_pixels_alone(tmp_path):
    random = np.random.default_rng(3)
    scenes = [disc(64, 96, random, crowd=True) for _ in range(6)]
    folder = write_folder(tmp_path, scenes, CONFIG)
    plain = batches(open_input(folder, CONFIG))
    recolored = batches(open_input(folder, changed(COLORS)))
    for one, other in zip(plain, recolored, strict=True):
        assert (one.images != other.images).any()
        arrays, others = named_arrays(one), named_arrays(other)
        assert all((arrays[key] == others[key]).all() for key in arrays if key != "images")


def test_what_leaves_every_picture_alone_is_as_good_as_off(tmp_path):
    random = np.random.default_rng(4)
    scenes = [disc(64, 96, random, crowd=True) for _ in range(6)]
    folder = write_folder(tmp_path, scenes, CONFIG)
    almost_never = {"color_jitter": ColorJitterConfig(probability=1e-12)}
    plain, other = batches(open_input(folder, CONFIG)), batches(
        open_input(folder, changed(almost_never))
    )  # fmt: skip
    assert all(equal(*pair) for pair in zip(plain, other, strict=True))


def equal(batch, other):
    one, two = named_arrays(batch), named_arrays(other)
    return all(np.array_equal(one[key], two[key]) for key in one)


def zoo(random):
    """Pictures at the edges: empty, all one object, crowds alone, too many, tiny, panoramas."""
    grey = np.full((40, 60, 3), 128, np.uint8)
    full = np.ones((20, 30), bool)
    many = [[2 * n, 3 * n, 2 * n + 9, 3 * n + 9] for n in range(12)]
    return [
        example(grey),
        example(grey, [[0, 0, 40, 60]], [3], bitmaps=[full], mask_boxes=[[0, 0, 40, 60]]),
        example(grey, [[0, 0, 40, 60]], [3], crowds=[1]),
        example(grey, many, [1] * 12, bitmaps=[full] * 12, mask_boxes=many),
        example(np.full((1, 1, 3), 255, np.uint8), [[0, 0, 1, 1]], [1]),
        example(np.full((3, 90, 3), 7, np.uint8), [[0, 80, 3, 90]], [2]),
        example(np.full((90, 3, 3), 7, np.uint8), [[80, 0, 90, 3]], [2]),
        disc(64, 64, random, crowd=True),
        disc(48, 96, random),
    ]


@pytest.fixture(scope="module")
def zoo_folders(tmp_path_factory):
    random = np.random.default_rng(5)
    return {
        kind: write_folder(
            tmp_path_factory.mktemp(kind), zoo(random), changed(changes), shards=2
        )
        for kind, changes in {"wide": {"scale_jitter": (0.7, 1.2)}, "square": SQUARE}.items()
    }  # fmt: skip


KINDS = {"wide": ALL | CROPS | {"scale_jitter": (0.7, 1.2)}, "square": ALL | SQUARE}


@pytest.mark.parametrize("kind", ["wide", pytest.param("square", marks=pytest.mark.slow)])
def test_pictures_at_the_edges_give_sound_batches(zoo_folders, kind):
    training_input = open_input(zoo_folders[kind], changed(KINDS[kind]), batch=2)
    for batch in batches(training_input, 2 * training_input.steps_per_epoch):
        assert is_sound(batch)


@pytest.mark.slow
def test_a_resumed_run_and_any_split_of_the_batch_see_the_same_bits(zoo_folders):
    config, folder = changed(KINDS["wide"]), zoo_folders["wide"]
    whole = batches(open_input(folder, config, batch=2), 5)
    rest = batches(open_input(folder, config, batch=2), 2, first_step=3)
    assert all(equal(*pair) for pair in zip(whole[3:], rest, strict=True))
    together = open_input(folder, config, workers=2)
    parts = [batches(together, 5, worker) for worker in range(2)]
    for step, batch in enumerate(whole):
        for key, value in named_arrays(batch).items():
            joined = np.concatenate([named_arrays(part[step])[key] for part in parts])
            assert (joined == value).all(), key


@given(st.integers(0, 2**20))
def test_any_seed_gives_sound_batches(zoo_folders, seed):
    training_input = open_input(zoo_folders["wide"], changed(KINDS["wide"]), batch=9, seed=seed)
    plan = training_input.plan
    sizes, crops = np.stack(plan.sizes(seed % 7, range(9)), axis=1), plan.crops(seed % 7, range(9))
    assert (crops[:, :2] + crops[:, 2:] <= sizes).all() and (crops >= 0).all()
    # The share of a side, from the setting's to all; a side is rounded down twice.
    assert (crops[:, 2:] + 1 >= 0.5 * sizes - 1).all()


def test_pasting_asks_for_masks(tmp_path):
    folder = write_folder(
        tmp_path, [example(np.zeros((64, 64, 3), np.uint8), [[0, 0, 9, 9]], [1])], CONFIG
    )
    with pytest.raises(DatasetError, match="no object of the split train has one: leave it out"):
        open_input(folder, changed(PASTE))


@pytest.mark.slow
def test_no_more_is_pasted_than_there_are_rows(tmp_path):
    random = np.random.default_rng(6)
    config = changed({**PASTE, **MOSAIC, "max_objects": 2})
    folder = write_folder(tmp_path, [disc(64, 96, random) for _ in range(4)], config)
    for batch in batches(open_input(folder, config)):
        assert is_sound(batch)
        assert batch.gt_valid.shape == (1, 2) and batch.gt_valid.all()
