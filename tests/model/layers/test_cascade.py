import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from configs.model_schema import BoxHeadConfig, CascadeConfig, DetectionConfig, ModelConfig
from model.detector import build_detector
from model.layers.box_head import detect_boxes
from model.layers.cascade import Stage, refine_boxes, relabel_rois, scale_gradient, stages_of
from model.layers.rois import SampledRois
from tests.model.small_detector import (
    LOSSES,
    NUM_CLASSES,
    ground_truth_batch,
    small_batch,
    small_config,
)

STEP = tf.constant(5, tf.int64)
CASCADE_LOSSES = [
    *LOSSES[:2],
    *(f"{name}_{stage}" for stage in (1, 2, 3) for name in ("roi_class", "roi_box")),
    "mask",
]


def test_three_stages_of_the_paper():
    agnostic = BoxHeadConfig(class_agnostic=True)
    assert stages_of(ModelConfig(box_head=agnostic, cascade=CascadeConfig())) == [
        Stage("box_head", "_1", 0.5, (10.0, 10.0, 5.0, 5.0)),
        Stage("box_head_2", "_2", 0.6, (20.0, 20.0, 10.0, 10.0)),
        Stage("box_head_3", "_3", 0.7, (30.0, 30.0, 15.0, 15.0)),
    ]
    assert stages_of(ModelConfig()) == [Stage("box_head", "", 0.5, (10.0, 10.0, 5.0, 5.0))]


def test_settings_that_do_not_agree_are_refused():
    with pytest.raises(ValidationError, match=r"set model\.box_head\.class_agnostic: true"):
        ModelConfig(cascade=CascadeConfig())
    with pytest.raises(ValidationError, match=r"positive_ious has 1 stages.*delta_weights 2"):
        CascadeConfig(positive_ious=(0.6,))


def test_boxes_move_by_the_weights_of_their_stage_and_stop_the_gradient():
    weights = (20.0, 20.0, 10.0, 10.0)
    boxes = tf.constant([[[0.0, 0, 10, 10], [0, 0, 10, 20]]])
    deltas = tf.constant([[[[4.0, 0, 0, 0]], [[0, 2.0, 0, 10 * np.log(2.0)]]]], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(deltas)
        refined = refine_boxes(deltas, boxes, tf.constant([[50.0, 25.0]]), weights, (None, 4.0))
    # 4 / 20 of 10 rows down; 2 / 20 of 20 columns to the right and twice as wide, then clipped.
    np.testing.assert_allclose(refined, [[[2, 0, 12, 10], [0, 0, 10, 25]]], atol=1e-5)
    assert tape.gradient(refined, deltas) is None


def sampled(is_sampled):
    zeros = tf.zeros([1, 6], tf.int32)
    return SampledRois(
        boxes=tf.zeros([1, 6, 4]),
        gt_index=zeros,
        gt_boxes=tf.zeros([1, 6, 4]),
        gt_classes=zeros,
        is_positive=tf.constant([[True] + [False] * 5]),
        is_sampled=tf.constant([is_sampled]),
        max_positives=2,
    )


@pytest.mark.parametrize(
    ("positive_iou", "positives"), [(0.6, [1, 2]), (0.7, [2]), (0.5, [0, 1, 2])]
)
def test_rois_are_labelled_anew_at_the_overlap_of_their_stage(positive_iou, positives):
    boxes = [
        [0, 0, 10, 5.5],  # IoU 0.55 with the first object; a positive of the first stage
        [0, 0, 6.5, 10],  # IoU 0.65; a negative of the first stage
        [30, 30, 40, 38],  # IoU 0.8 with the second object
        [7, 7, 7, 9],  # without area
        [62, 62, 66, 66],  # in the crowd
        [0, 0, 10, 10],  # not sampled
    ]
    batch = ground_truth_batch(
        [[[0, 0, 10, 10], [30, 30, 40, 40], [60, 60, 70, 70]]],
        gt_classes=tf.constant([[2, 3, 1]]),
        gt_is_crowd=tf.constant([[False, False, True]]),
    )
    rois = relabel_rois(
        sampled([True] * 5 + [False]), tf.constant([boxes], tf.float32), batch, positive_iou, 0.5
    )
    assert np.flatnonzero(rois.is_positive[0]).tolist() == positives
    assert rois.is_sampled[0].numpy().tolist() == [True] * 3 + [False] * 3
    classes = [2 if 0 in positives else 0, 2 if 1 in positives else 0, 3]
    assert rois.gt_classes[0].numpy().tolist()[:3] == classes
    np.testing.assert_array_equal(rois.gt_boxes[0, 2], [30, 30, 40, 40])
    assert rois.max_positives == 6


def test_gradient_is_scaled_and_the_value_is_not():
    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = scale_gradient(x, 1 / 3)
        total = tf.reduce_sum(y * [3.0, 6.0])
    np.testing.assert_array_equal(y, x)
    np.testing.assert_allclose(tape.gradient(total, x), [1.0, 2.0], rtol=1e-6)


def test_scores_are_the_mean_of_the_stages():
    stages = [[0.1, 0.9, 0.0], [0.4, 0.2, 0.4], [0.4, 0.4, 0.2]]
    found = detect_boxes(
        [tf.math.log(tf.constant([[probabilities]]) + 1e-9) for probabilities in stages],
        tf.zeros([1, 1, 1, 4]),
        tf.constant([[[0.0, 0, 10, 10]]]),
        tf.constant([[True]]),
        tf.constant([[41.0, 100.0]]),
        (30.0, 30.0, 15.0, 15.0),
        (None, 4.0),
        DetectionConfig(max_detections=2),
    )
    np.testing.assert_allclose(found.scores, [[0.5, 0.2]], rtol=1e-5)
    assert found.classes.numpy().tolist() == [[1, 2]]


@pytest.fixture(scope="module")
def detector():
    box_head = BoxHeadConfig(hidden_units=16, class_agnostic=True)
    config = small_config(box_head=box_head, cascade=CascadeConfig())
    return build_detector(config, NUM_CLASSES, seed=1)


def test_a_stage_trains_its_own_head_and_what_lies_below_all(detector):
    with tf.GradientTape(persistent=True) as tape:
        terms = detector.loss_terms(small_batch(2), 0, STEP)
    assert list(terms) == CASCADE_LOSSES
    heads = [head.class_logits.kernel.value for head in detector.box_heads]
    lateral = detector.fpn.laterals["c2"].kernel.value
    for stage in range(3):
        *own, below = tape.gradient(terms[f"roi_class_{stage + 1}"].sum, [*heads, lateral])
        assert [gradient is not None for gradient in own] == [n == stage for n in range(3)]
        assert np.abs(below).max() > 0


def test_losses_fall_and_detections_have_the_shapes_of_a_plain_detector(detector):
    batch = small_batch(2)
    variables = detector.trainable_variables

    @tf.function(autograph=False)
    def train():
        with tf.GradientTape() as tape:
            terms = detector.loss_terms(batch, 0, STEP)
            losses = [term.sum / tf.maximum(term.denominator, 1.0) for term in terms.values()]
            total = tf.add_n(losses)
        gradients = tape.gradient(total, [variable.value for variable in variables])
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.assign_sub(0.02 * tf.clip_by_norm(tf.convert_to_tensor(gradient), 1.0))
        return tf.add_n(losses[2:-1])  # of the three box heads

    box_losses = [float(train()) for _ in range(20)]
    assert np.isfinite(box_losses).all()
    assert np.mean(box_losses[-3:]) < 0.8 * box_losses[0]
    found = detector.detect(batch.images, batch.image_sizes)
    assert found.boxes.shape == (2, 6, 4)
    assert found.masks.shape == (2, 6, 8, 8)
    assert (found.num.numpy() > 0).all()
