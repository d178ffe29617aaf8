"""Stored bitmaps give the mask head the targets of whole masks."""

import numpy as np
import pytest
from apache_beam import Pipeline

from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.whole import transform_examples
from configs.schema import Config
from model.input.input_pipeline import TrainingInput
from model.ops.masks import mask_targets
from tests.components.coco_transform.sources import (
    encoded_picture,
    source_record,
    write_source_folder,
)

HEIGHT, WIDTH = 48, 64
# Spans of rows and columns: inside, and at each border of the picture.
SPANS = [((10, 30), (20, 41)), ((0, 17), (0, 23)), ((31, 48), (40, 64)), ((0, 48), (0, 64))]


def blob(rows, columns):
    """Returns a ragged mask that touches all four sides of its spans."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    y, x = np.mgrid[rows[0] : rows[1], columns[0] : columns[1]]
    mask[rows[0] : rows[1], columns[0] : columns[1]] = np.sin(y * 1.3) + np.cos(x * 0.7) > -0.4
    mask[rows[0], columns[0] : columns[1]] = mask[rows[1] - 1, columns[0] : columns[1]] = True
    mask[rows[0] : rows[1], columns[0]] = mask[rows[0] : rows[1], columns[1] - 1] = True
    return mask


def read_batch(folder, source, frame, scale, flip):
    """Returns the one batch of a split with one picture."""
    config = Config.model_validate(
        {
            "name": "tiny",
            "transform": {"mask_frame": frame},
            "input": {
                "short_side_px": HEIGHT * scale,
                "long_side_px": WIDTH * scale,
                "max_objects": len(SPANS),
                "flip_probability": flip,
            },
        }
    )
    settings = CocoTransformSettings.of(config)
    transform_examples(source, folder / "examples", folder / "report", settings, Pipeline)
    training_input = TrainingInput(folder / "examples", "train", config.input, True, 1, 1, seed=0)
    (batch,) = training_input.dataset(0).take(1)
    return batch


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("frame", ["box", "picture"])
def test_targets_are_those_of_the_whole_mask(tmp_path, frame, scale, flip):
    masks = [blob(*spans) for spans in SPANS]
    record = source_record(
        encoded_picture(np.full((HEIGHT, WIDTH, 3), 99, np.uint8)),
        HEIGHT,
        WIDTH,
        [[c[0], r[0], c[1] - c[0], r[1] - r[0]] for r, c in SPANS],
        masks=masks,
    )
    source = write_source_folder(tmp_path / "source", {"train": [[record]]})
    batch = read_batch(tmp_path, source, frame, scale, flip)
    assert batch.gt_masks.valid.numpy().all()
    boxes = batch.gt_boxes.numpy()[0]
    limits = np.array([HEIGHT, WIDTH, HEIGHT, WIDTH], np.float32) * scale
    shifted = np.clip(boxes + np.array([-3.3, 2.1, 4.7, -1.9], np.float32) * scale, 0, limits)
    rois = np.concatenate([boxes, shifted])[None].astype(np.float32)
    index = np.tile(np.arange(len(SPANS), dtype=np.int32), 2)[None]
    stored = mask_targets(batch.gt_masks.bitmaps, batch.gt_masks.boxes, rois, index, 28).numpy()
    whole = np.stack(masks)[None].astype(np.uint8)
    whole = whole[..., ::-1] if flip else whole
    covered = np.tile(limits * [0, 0, 1, 1], (1, len(SPANS), 1)).astype(np.float32)
    expected = mask_targets(whole, covered, rois, index, 28).numpy()
    assert 0.3 < expected.mean() < 0.95
    np.testing.assert_allclose(stored, expected, atol=2e-4)
