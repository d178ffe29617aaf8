"""The shapes on docs/model.md are those of the detector that its config builds."""

import functools
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import model.detector
import model.layers.box_head
import model.layers.mask_head
import model.layers.resnet
import model.layers.rois
import model.layers.rpn
from configs.loader import load_config
from model.batch import batch_specs
from model.input.resize import resized_size
from model.input.sizes import padded_sides
from model.layers.fpn import FeaturePyramid
from model.ops.mask_paste import paste_mask

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "model.md"
CONFIG = ROOT / "configs" / "mask_rcnn_r50_fpn_1x_coco.yaml"
HEIGHT, WIDTH, OBJECTS, CLASSES = 480, 640, 100, 80
STORED_MASK = 113  # transform.mask_size, and a border
INFERENCE, TRAINING = "From a picture to detections", "What training adds"
# Where the detector looks each function up.
LOOKED_UP = {
    model.detector: (
        "pyramid_anchors propose sample_training_rois roi_align rpn_loss_terms box_loss_terms "
        "mask_loss_term"
    ),
    model.layers.resnet: "normalize_pixels",
    model.layers.resnet.ResNet: "call",
    FeaturePyramid: "call",
    model.layers.rpn.RpnHead: "call",
    model.layers.rpn: "match_anchors sample_anchors decode_deltas nms_keep",
    model.layers.rois: "iou_matrix match_boxes sample_rois",
    model.layers.box_head.BoxHead: "call",
    model.layers.box_head: "multiclass_nms",
    model.layers.mask_head.MaskHead: "call",
    model.layers.mask_head: "mask_targets",
}


def shape_text(result):
    """Shapes as the page writes them: `c2 [1, 200, 272, 256]`, one a tensor."""
    if isinstance(result, tf.Tensor):
        return str(result.shape.as_list())
    if hasattr(result, "_asdict"):
        result = result._asdict()
    if isinstance(result, dict):
        tensors = {k: v for k, v in result.items() if not isinstance(v, int)}
        return ", ".join(f"{name} {shape_text(value)}" for name, value in tensors.items())
    return ", ".join(shape_text(value) for value in result)


@pytest.fixture(scope="module")
def traced():
    """{(section, function): shapes of each call}, from tracing training and inference."""
    config = load_config(CONFIG)
    recorded, section = {}, None

    def recording(name, function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            result = function(*args, **kwargs)
            shapes = recorded.setdefault((section, name), [])
            if shape_text(result) not in shapes:
                shapes.append(shape_text(result))
            return result

        return call

    sides = resized_size(HEIGHT, WIDTH, config.input.short_side_px, config.input.long_side_px)
    height, width = (int(s) for s in padded_sides([int(s) for s in sides], 32))
    with pytest.MonkeyPatch.context() as patch:
        for place, names in LOOKED_UP.items():
            for name in names.split():
                label = place.__name__ if isinstance(place, type) else name
                patch.setattr(place, name, recording(label, getattr(place, name)))
        detector = model.detector.build_detector(config.model, CLASSES, jit=True)
        spec = batch_specs((height, width), 1, OBJECTS, STORED_MASK)
        section = INFERENCE
        recorded[section, "resized_size"] = [str([int(side) for side in sides])]
        recorded[section, "padded_sides"] = [str([height, width])]
        detect = functools.partial(detector.detect, compiled=True)
        found = tf.function(detect, autograph=False).get_concrete_function(
            spec.images, spec.image_sizes
        )
        recorded[section, "Detector.detect"] = [shape_text(found.structured_outputs)]
        window = paste_mask(np.ones((28, 28), np.float32), [100, 200, 300, 500], HEIGHT, WIDTH)[2]
        recorded[section, "paste_mask"] = [str(list(window.shape))]
        section = TRAINING
        terms = tf.function(
            lambda batch: detector.loss_terms(batch, 0, tf.constant(0, tf.int64)), autograph=False
        ).get_concrete_function(spec)
        recorded[section, "Detector.loss_terms"] = [", ".join(terms.structured_outputs)]
    return recorded


def rows_of(section):
    """(file, function, shapes) of each row of a section's table."""
    text = PAGE.read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\|[^|]*\| `([\w/.]+)` `([\w.]+)` \| ([^|]*) \|", text, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| [^|]*\| `", text, re.MULTILINE))
    return rows


@pytest.mark.parametrize("section", [INFERENCE, TRAINING])
def test_shapes_on_the_page_are_the_detectors(traced, section):
    shown = {}
    for _, function, shapes in rows_of(section):
        shown.setdefault(function, []).extend(shapes.split("; "))
    for function, shapes in shown.items():
        assert shapes == traced[section, function], function
    recorded = {function for of, function in traced if of == section}
    # Training's table leaves out what is as at inference.
    same = {f for f in recorded if traced[section, f] == traced.get((INFERENCE, f))}
    assert recorded - shown.keys() <= (same if section == TRAINING else set())


@pytest.mark.parametrize("section", [INFERENCE, TRAINING])
def test_functions_on_the_page_are_in_their_files(section):
    for file, function, _ in rows_of(section):
        name = function.split(".")[-1]
        assert re.search(rf"^ *(def|class) {name}\b", (ROOT / file).read_text(), re.MULTILINE), file


def test_every_module_of_the_model_is_on_the_page():
    text = PAGE.read_text()
    for folder in ("layers", "ops"):
        for path in sorted((ROOT / "model" / folder).glob("[a-z]*.py")):
            if path.stem not in ("layer", "initializers"):
                assert f"`{folder}/{path.name}`" in text, path
