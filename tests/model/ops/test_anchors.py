import numpy as np
import tensorflow as tf

from model.ops.anchors import base_anchors, level_anchors


def test_base_anchors_by_hand():
    # Area 16 x 16; height / width = 1/4 gives 8 x 32.
    expected = [[-4, -16, 4, 16], [-8, -8, 8, 8], [-16, -4, 16, 4]]
    np.testing.assert_array_equal(base_anchors(16, (0.25, 1.0, 4.0), rounded=False), expected)


def test_rounding_goes_to_the_even_number():
    # 5 / 2 = 2.5 -> 2; height 5 sqrt(1/2) = 3.54, half of it 1.77 -> 2; width 7.07 -> 4
    expected = [[-2, -2, 2, 2], [-2, -4, 2, 4]]
    np.testing.assert_array_equal(base_anchors(5, (1.0, 0.5), rounded=True), expected)


def test_areas_and_ratios_are_as_asked():
    ratios = np.array([0.5, 1.0, 2.0])
    sides = np.diff(base_anchors(40, ratios, rounded=False).reshape(3, 2, 2), axis=1)[:, 0]
    np.testing.assert_allclose(sides.prod(axis=1), 1600, rtol=1e-6)
    np.testing.assert_allclose(sides[:, 0] / sides[:, 1], ratios, rtol=1e-6)


def test_order_is_row_column_anchor():
    base = np.array([[-1, -2, 1, 2], [-3, -3, 3, 3]], np.float32)
    anchors = level_anchors(2, 3, 8, base, offset=0.0).numpy()
    assert anchors.shape == (12, 4)
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    expected = [[y, x] for y in (0, 8) for x in (0, 8, 16) for _ in base]
    np.testing.assert_array_equal(centers, expected)
    np.testing.assert_array_equal(
        anchors[1::2] - np.tile(centers[1::2], 2), np.tile(base[1], (6, 1))
    )


def test_offset_is_in_strides():
    anchors = level_anchors(1, 2, 16, [[0, 0, 0, 0]], offset=0.5)
    np.testing.assert_array_equal(anchors, [[8, 8, 8, 8], [8, 24, 8, 24]])


def test_a_dynamic_size_gives_the_same():
    base = base_anchors(32, (0.5, 1.0, 2.0), rounded=True)

    @tf.function(input_signature=[tf.TensorSpec([None, None])])
    def anchors_of(feature):
        height, width = tf.unstack(tf.shape(feature))
        return level_anchors(height, width, 4, base, offset=0.5)

    np.testing.assert_array_equal(anchors_of(tf.zeros([3, 5])), level_anchors(3, 5, 4, base, 0.5))
