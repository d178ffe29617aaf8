import numpy as np
import pytest
import tensorflow as tf

from configs.model_schema import AnchorConfig, RoiConfig, RpnConfig
from model.layers.rpn import RpnHead, propose, pyramid_anchors, rpn_loss_terms
from tests.model.small_detector import ground_truth_batch

LEVELS = ("p2", "p3", "p4", "p5", "p6")


def head(policy="float32", hidden_channels=8, convolutions=1):
    layer = RpnHead(8, hidden_channels, 3, 0, convolutions, dtype=policy, name="rpn")
    layer.build()
    return layer


def pyramid(side=64, channels=8):
    rng = np.random.default_rng(0)
    return {
        level: tf.constant(rng.normal(size=(2, -(-side >> n), -(-side >> n), channels)), tf.float32)
        for n, level in enumerate(LEVELS, start=2)
    }


def test_deltas_belong_to_the_anchor_of_their_place():
    layer = head()
    features = pyramid()["p3"]
    logits, deltas = layer(features)
    assert logits.shape == (2, 8 * 8 * 3)
    hidden = tf.nn.relu(layer.convolutions[0](features))
    maps = layer.deltas(hidden).numpy()  # [N, H, W, 3 anchors x 4]
    np.testing.assert_array_equal(deltas[1, (2 * 8 + 5) * 3 + 1], maps[1, 2, 5, 4:8])
    maps = layer.objectness(hidden).numpy()
    np.testing.assert_array_equal(logits[0, (7 * 8 + 0) * 3 + 2], maps[0, 7, 0, 2])


@pytest.mark.parametrize("convolutions", [1, 2])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_gradients_reach_every_weight(policy, convolutions):
    layer = head(policy, convolutions=convolutions)
    with tf.GradientTape() as tape:
        outputs = [layer(features) for features in pyramid().values()]
        loss = tf.add_n([tf.reduce_sum(x**2) for pair in outputs for x in pair])
    assert outputs[0][0].dtype == tf.float32
    weights = [variable.value for variable in layer.trainable_variables]
    for gradient in tape.gradient(loss, weights):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


def test_hidden_channels_may_differ_from_the_pyramid():
    layer = head(hidden_channels=12)
    assert layer.convolutions[0].kernel.shape == (3, 3, 8, 12)
    assert layer.deltas.kernel.shape == (1, 1, 12, 12)
    assert layer(pyramid()["p5"])[1].shape == (2, 2 * 2 * 3, 4)


def test_convolutions_stand_in_a_row():
    layer, features = head(hidden_channels=12, convolutions=3), pyramid()["p5"]
    names = ["conv", "conv2", "conv3", "objectness", "deltas"]
    expected = [f"rpn/{name}/{weight}" for name in names for weight in ("kernel", "bias")]
    assert [variable.path for variable in layer.variables] == expected
    kernels = [convolution.kernel for convolution in layer.convolutions]
    assert [kernel.shape for kernel in kernels] == [(3, 3, 8, 12), *[(3, 3, 12, 12)] * 2]
    assert np.abs(kernels[1].numpy() - kernels[2].numpy()).max() > 0  # seeds of their own
    np.testing.assert_array_equal(kernels[0], head(hidden_channels=12).convolutions[0].kernel)
    hidden = features
    for kernel in kernels:
        hidden = tf.nn.relu(tf.nn.conv2d(hidden, kernel.value, 1, "SAME"))
    expected = tf.nn.conv2d(hidden, layer.deltas.kernel.value, 1, "SAME")
    np.testing.assert_allclose(layer(features)[1], tf.reshape(expected, [2, 12, 4]), rtol=1e-4)


def test_anchors_of_all_levels():
    anchors = pyramid_anchors(AnchorConfig(), pyramid())
    assert [anchors[level].shape[0] for level in LEVELS] == [768, 192, 48, 12, 3]
    # Ratio 1 of the second cell of the first row of P3, centre (0, 8), 64 pixels a side.
    np.testing.assert_allclose(anchors["p3"][4], [-32, -24, 32, 40], atol=1e-4)


def one_level(boxes, logits):
    """Anchors, logits and zero deltas of one picture: given boxes on P2, one poor box elsewhere."""
    poor = tf.constant([[0.0, 0.0, 1.0, 1.0]])
    anchors = {level: poor for level in LEVELS} | {"p2": tf.constant(boxes, tf.float32)}
    scores = {level: tf.constant([[-9.0]]) for level in LEVELS}
    scores["p2"] = tf.constant([logits], tf.float32)
    return anchors, scores, {level: tf.zeros([1, len(anchors[level]), 4]) for level in LEVELS}


def test_proposals_are_the_best_that_no_better_one_suppresses():
    anchors, logits, deltas = one_level(
        [[0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 50, 60], [20, 0, 30, 5]], [1.0, 2.0, 3.0, 0.0]
    )
    proposals = propose(
        anchors, logits, deltas, tf.constant([[40.0, 50.0]]), RpnConfig(), training=False
    )
    boxes = proposals.boxes[0].numpy()[proposals.valid[0].numpy()]
    # Clipped to 40 x 50; [0, 0, 10, 10] overlaps its better neighbour by 90 / 110.
    expected = [[30, 30, 40, 50], [1, 0, 11, 10], [20, 0, 30, 5]]
    np.testing.assert_allclose(boxes[:3], expected, atol=1e-4)
    assert (proposals.logits[0].numpy()[:3] == [3, 2, 0]).all()
    # One poor box a level is left: suppression is within a level.
    assert len(boxes) == 3 + 4
    assert np.isneginf(proposals.logits[0].numpy()[7:]).all()


def test_size_deltas_of_proposals_are_limited_both_ways():
    anchors, logits, deltas = one_level([[40, 40, 50, 50], [0, 0, 16, 16]], [2.0, 1.0])
    deltas["p2"] = tf.constant([[[0.0, 0, 9, -9], [0, 0, -9, 0]]])
    config = RpnConfig(log_scale_limits=(np.log(0.5), np.log(4.0)))
    proposals = propose(
        anchors, logits, deltas, tf.constant([[100.0, 100.0]]), config, training=False
    )
    expected = [[25, 42.5, 65, 47.5], [4, 0, 12, 16]]
    np.testing.assert_allclose(proposals.boxes[0, :2], expected, rtol=1e-5)


@pytest.mark.parametrize("top_k", [2, 3])
def test_number_of_proposals_is_limited_a_level_and_in_all(top_k):
    anchors, logits, deltas = one_level(
        [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], [4, 3, 2, 1]
    )
    sizes = tf.constant([[100.0, 100.0]])
    config = RpnConfig(pre_nms_top_k=top_k, post_nms_top_k=3, min_box_size_px=5)
    proposals = propose(anchors, logits, deltas, sizes, config, training=True)
    assert proposals.boxes.shape == (1, 3, 4)
    kept = proposals.logits[0].numpy()[proposals.valid[0].numpy()]
    assert kept.tolist() == [4, 3, 2][:top_k]  # the poor boxes of the other levels are too small


def ground_truth(boxes, crowds):
    return ground_truth_batch(
        [boxes], gt_is_crowd=tf.constant([crowds]), image_sizes=tf.constant([[100.0, 100.0]])
    )


def test_loss_by_hand():
    anchors = tf.constant([[0.0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60], [80, 80, 90, 90]])
    batch = ground_truth([[0, 0, 10, 10], [75, 75, 95, 95]], [False, True])
    logits = tf.constant([[2.0, 1.0, -1.0, 3.0]])
    deltas = tf.constant([[[0.5, 0.0, 0.0, -0.25], *[[9.0] * 4] * 3]])
    config = RpnConfig(smooth_l1_beta=0.0, positive_iou=0.7, negative_iou=0.3)
    terms = rpn_loss_terms(anchors, logits, deltas, batch, 0, tf.constant(0), config, RoiConfig())
    # Anchor 0 is positive with deltas 0; 1 (IoU 0.5) is between; 2 negative; 3 lies in a crowd.
    expected = np.log1p(np.exp(-2.0)) + np.log1p(np.exp(-1.0))
    assert float(terms["rpn_objectness"].sum) == pytest.approx(expected, rel=1e-6)
    assert float(terms["rpn_box"].sum) == pytest.approx(0.75)
    assert float(terms["rpn_objectness"].denominator) == 2
    assert float(terms["rpn_box"].denominator) == 2


@pytest.mark.parametrize("ignored", [False, True])
def test_anchors_that_cross_the_border_can_be_left_out(ignored):
    # Both objects are best matched by an anchor across the border; the second also by one within.
    anchors = [[-1.0, 0, 9, 10], [80, 80, 100, 101], [82, 82, 98, 98], [40, 40, 50, 50]]
    batch = ground_truth([[0, 0, 10, 10], [80, 80, 100, 100]], [False, False])
    logits = tf.constant([[1.0, 2.0, 3.0, 4.0]])
    config = RpnConfig(ignore_crossing_anchors=ignored)
    terms = rpn_loss_terms(
        tf.constant(anchors),
        logits,
        tf.zeros([1, 4, 4]),
        batch,
        0,
        tf.constant(0),
        config,
        RoiConfig(),
    )
    within = np.log1p(np.exp(-3.0)) + np.log1p(np.exp(4.0))  # one positive, one negative
    crossing = np.log1p(np.exp(-1.0)) + np.log1p(np.exp(-2.0))
    # 16 x 16 of 20 x 20 is an overlap of 0.64: positive only as the best of its object.
    every = crossing + np.log1p(np.exp(4.0))
    expected = within if ignored else every
    assert float(terms["rpn_objectness"].sum) == pytest.approx(expected, rel=1e-5)
    assert float(terms["rpn_objectness"].denominator) == (2 if ignored else 3)
