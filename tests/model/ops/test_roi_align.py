import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st

from model.ops.roi_align import assign_levels, roi_align, roi_align_on_levels
from tests import strategies
from tests.reference import detection as reference

WAYS = {
    "sparse eager": ("sparse", lambda function: function),
    "sparse graph": ("sparse", tf.function),
    "gather eager": ("gather", lambda function: function),
    "gather jit": ("gather", lambda function: tf.function(function, jit_compile=True)),
}
SHAPES = {"p2": (16, 24), "p3": (8, 12), "p4": (4, 6), "p5": (2, 3)}  # 64 x 96 px


def random_pyramid(channels=3, num_images=2, dtype=np.float32):
    rng = np.random.default_rng(0)
    maps = {n: rng.normal(size=(num_images, *s, channels)) for n, s in SHAPES.items()}
    return {name: tf.constant(values.astype(dtype)) for name, values in maps.items()}


def filled_pyramid(value_of):
    """Maps of one picture whose cells hold value_of(y, x), in pixels at the cells' centres."""
    maps = {}
    for number, (name, (height, width)) in enumerate(SHAPES.items(), start=2):
        ys, xs = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        values = value_of((ys + 0.5) * 2**number, (xs + 0.5) * 2**number)
        maps[name] = tf.constant(np.float32(values)[None, ..., None])
    return maps


# Some beyond each border, a point, a line, one wholly outside.
ROIS = np.float32(
    [
        [[4, 8, 30, 40], [-20, -9, 20, 30], [40, 60, 90, 120], [10, 10, 10, 10], [5, 5, 5, 60]],
        [[0, 0, 64, 96], [300, 10, 320, 40], [1, 2, 3, 4], [-50, -60, -30, -20], [60, 90, 64, 96]],
    ]
)
LEVELS = np.int32([[2, 3, 4, 2, 3], [5, 2, 2, 3, 4]])


def test_levels_change_at_powers_of_two_of_224():
    sides = np.float32([0, 10, 111.9, 112, 223.9, 224, 447.9, 448, 895, 896, 5000])
    rois = np.stack([0 * sides, 0 * sides, sides, sides], axis=-1)[None]
    assert assign_levels(rois).numpy().tolist() == [[2, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5]]


def test_levels_go_by_the_area():
    assert assign_levels(tf.constant([[[0.0, 0, 112, 448], [0, 0, 2000, 1]]])).numpy().tolist() == [
        [4, 2]  # 224 squared; 44.7 squared
    ]


@pytest.mark.parametrize(("shift", "size_shift"), [(1e-6, 0), (0, 1e-8), (0, 1e-6), (0.1, 0.2)])
def test_levels_are_those_of_the_formula_with_its_additions(shift, size_shift):
    # A few float32 steps around each border: 224 px * (1 - 1e-6) is 15 steps below 224.
    sizes = np.concatenate([size * (1 + 6e-8 * np.arange(-40, 40)) for size in (112, 224, 448)])
    sizes = np.concatenate([sizes, np.linspace(50, 600, 100)]).astype(np.float32)
    octaves = np.log2(sizes.astype(float) / 224 + size_shift)
    expected = np.clip(np.floor(4 + octaves + shift), 2, 5)
    rois = np.stack([0 * sizes, 0 * sizes, sizes, sizes], axis=-1)[None]
    levels = assign_levels(tf.constant(rois), shift, size_shift)[0].numpy()
    far = np.abs(4 + octaves + shift - np.round(4 + octaves + shift)) > 2e-7  # rounding
    np.testing.assert_array_equal(levels[far], expected[far])
    assert far.mean() > 0.8


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("resolution, sampling_ratio", [(7, 2), (3, 1), (2, 3)])
def test_agrees_with_a_loop_over_samples(way, aligned, resolution, sampling_ratio):
    body, wrap = WAYS[way]
    features = random_pyramid()
    pool = wrap(
        lambda features, rois, levels: roi_align_on_levels(
            features, rois, levels, resolution, sampling_ratio, aligned, body
        )
    )
    pooled = pool(features, tf.constant(ROIS), tf.constant(LEVELS)).numpy()
    for image, roi in np.ndindex(*LEVELS.shape):
        level = LEVELS[image, roi]
        feature = features[f"p{level}"].numpy()[image]
        expected = reference.roi_align(
            feature, ROIS[image, roi], 2**level, resolution, sampling_ratio, aligned
        )
        np.testing.assert_allclose(pooled[image, roi], expected, atol=1e-5)


@pytest.mark.parametrize("aligned", [True, False])
def test_adaptive_sampling_agrees_with_a_loop(aligned):
    features = random_pyramid()
    pooled = roi_align_on_levels(features, ROIS, LEVELS, 3, 0, aligned).numpy()
    for image, roi in np.ndindex(*LEVELS.shape):
        level = LEVELS[image, roi]
        feature = features[f"p{level}"].numpy()[image]
        expected = reference.roi_align(feature, ROIS[image, roi], 2**level, 3, 0, aligned)
        np.testing.assert_allclose(pooled[image, roi], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("way", "sampling_ratio"), [*((way, 2) for way in WAYS), ("sparse graph", 0)]
)
def test_a_box_that_is_not_a_number_spoils_itself_alone(way, sampling_ratio):
    body, compiled = WAYS[way]
    pyramid = random_pyramid()
    align = compiled(lambda rois: roi_align(pyramid, rois, 3, sampling_ratio, True, body))
    rois = ROIS.copy()
    expected = align(tf.constant(rois)).numpy()
    rois[0, 2] = np.nan
    pooled = align(tf.constant(rois)).numpy()
    assert np.isnan(pooled[0, 2]).all()
    pooled[0, 2] = expected[0, 2]
    np.testing.assert_array_equal(pooled, expected)


def test_adaptive_sampling_is_refused_where_it_cannot_be():
    with pytest.raises(ValueError, match="sampling_ratio 0"):
        roi_align(random_pyramid(), ROIS, 3, 0, True, "gather")


@given(strategies.boxes(), st.booleans())
@example(np.float32([[64, 0, 64, 0]]), False)
def test_keeps_a_constant_map(rois, aligned):
    # Unaligned RoIs are at least a cell of p2 long, so 4 pixels less; beyond the map are zeros.
    rois = rois * np.float32(60 / 64)
    features = filled_pyramid(lambda y, x: np.full_like(y, 2.5))
    pooled = roi_align(features, rois[None], 2, 2, aligned)
    np.testing.assert_allclose(pooled, np.full(pooled.shape, 2.5), rtol=1e-6)


@given(strategies.boxes())
def test_reads_a_ramp_at_bin_centres(rois):
    # Within the centres of p2's border cells the ramp is not cut off.
    rois = 4 + rois * np.float32([52 / 64, 80 / 64] * 2)
    features = filled_pyramid(lambda y, x: y + 100 * x)
    pooled = roi_align_on_levels(
        features, rois[None], np.full([1, len(rois)], 2), 2, 2, aligned=True
    )
    bins = np.array([0.25, 0.75])
    ys = rois[:, :1] + bins * (rois[:, 2:3] - rois[:, :1])
    xs = rois[:, 1:2] + bins * (rois[:, 3:] - rois[:, 1:2])
    expected = ys[:, :, None] + 100 * xs[:, None, :]
    np.testing.assert_allclose(pooled[0, ..., 0], expected, atol=5e-3)  # of up to 9,600


def test_each_roi_is_read_from_its_own_level_and_picture():
    maps = {
        name: tf.constant(
            np.float32([10 * int(name[1]), 10 * int(name[1]) + 1])[:, None, None, None]
        )
        + tf.zeros([2, *shape, 1])
        for name, shape in SHAPES.items()
    }
    sides = np.float32([50, 150, 300, 600])
    rois = np.tile(np.stack([0 * sides, 0 * sides, sides, sides], axis=-1), (2, 1, 1))
    pooled = roi_align(maps, rois / 1, 1, 1, aligned=True)
    # The larger ones reach beyond these small maps: their one sample is outside, 0.
    np.testing.assert_array_equal(assign_levels(rois), [[2, 3, 4, 5]] * 2)
    inside = np.array([True, False, False, False])
    np.testing.assert_array_equal(pooled.numpy()[:, inside].ravel(), [20, 21])
    levels = np.array([[2, 3, 4, 5]] * 2)
    pooled = roi_align_on_levels(maps, rois * 0 + [8, 8, 40, 40], levels, 1, 1, aligned=True)
    np.testing.assert_array_equal(
        pooled.numpy().reshape(2, 4), [[20, 30, 40, 50], [21, 31, 41, 51]]
    )


@pytest.mark.parametrize("aligned", [True, False])
def test_gradients_of_all_ways_are_equal_and_those_of_the_sum(aligned):
    features = random_pyramid()
    upstream = np.random.default_rng(1).normal(size=(2, 5, 3, 3, 3)).astype(np.float32)

    def gradients(features, rois, levels, body):
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = roi_align_on_levels(features, rois, levels, 3, 2, aligned, body)
            loss = tf.reduce_sum(pooled * upstream)
        return loss, tape.gradient(loss, features)

    results = {}
    for way, (body, wrap) in WAYS.items():
        function = wrap(lambda f, r, levels, body=body: gradients(f, r, levels, body))
        results[way] = function(features, tf.constant(ROIS), tf.constant(LEVELS))
    loss, expected = results["sparse eager"]
    # Pooling is linear, so features times gradients sum up to the value itself.
    products = sum(tf.reduce_sum(features[name] * expected[name]) for name in SHAPES)
    assert float(products) == pytest.approx(float(loss), rel=1e-4)
    for name in SHAPES:
        assert np.abs(expected[name]).max() > 0.01
        for _, ours in results.values():
            np.testing.assert_allclose(ours[name], expected[name], atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "limit_in_channels", "widths"),
    [(3, 2.5, [2, 1]), (3, 0.5, [1, 1, 1]), (80, 40, [32, 32, 16]), (64, 64, [64])],
)
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("wrap", [lambda function: function, tf.function], ids=["eager", "graph"])
def test_products_beyond_a_gpus_limit_are_made_in_parts_of_the_same_bits(
    monkeypatch, wrap, sampling_ratio, channels, limit_in_channels, widths
):
    features = random_pyramid(channels)
    places, parts, most = [], [], [2**31 - 2]
    multiply = tf.raw_ops.SparseTensorDenseMatMul

    def checked(**given):
        """As TensorFlow's kernel on a GPU, which refuses what is too much."""
        size, width = tf.size(given["a_values"]), tf.shape(given["b"])[1]
        places.append(given["a_values"].shape[0])
        parts.append(given["b"].shape[1])
        with tf.control_dependencies([tf.debugging.assert_less_equal(size * width, most[0])]):
            return multiply(**given)

    def value_and_gradients(features):
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = roi_align_on_levels(features, ROIS, LEVELS, 3, sampling_ratio, True)
            loss = tf.reduce_sum(pooled**2)
        return pooled, tape.gradient(loss, features)

    monkeypatch.setattr(tf.raw_ops, "SparseTensorDenseMatMul", checked)
    expected, expected_gradients = value_and_gradients(features)
    assert parts == [channels, channels]  # forwards and backwards
    limit = int(places[0] * limit_in_channels)
    most[0] = places[0] * max(widths)  # one channel is the least that there is
    monkeypatch.setattr("model.ops.roi_align._MOST_PRODUCTS", limit)
    parts.clear()
    pooled, gradients = wrap(value_and_gradients)(features)
    if sampling_ratio or wrap is not tf.function:
        assert parts == widths * 2
    np.testing.assert_array_equal(pooled, expected)
    for name in SHAPES:
        np.testing.assert_array_equal(gradients[name], expected_gradients[name])


def test_gradient_by_finite_differences():
    features = random_pyramid(channels=1, num_images=1)
    rois, levels = ROIS[:1], np.full([1, 5], 5)  # p5 has six cells

    def value(feature):
        pooled = roi_align_on_levels({**features, "p5": feature}, rois, levels, 2, 2, True)
        return tf.reduce_sum(pooled**2)

    theoretical, numerical = tf.test.compute_gradient(value, [features["p5"]], delta=1e-2)
    np.testing.assert_allclose(theoretical[0], numerical[0], rtol=1e-2, atol=1e-2)
    assert np.abs(theoretical[0]).max() > 1


@pytest.mark.parametrize("body", ["sparse", "gather"])
def test_no_gradient_flows_to_rois(body):
    rois = tf.constant(ROIS)
    with tf.GradientTape() as tape:
        tape.watch(rois)
        loss = tf.reduce_sum(roi_align(random_pyramid(), rois, 2, 2, True, body))
    assert tape.gradient(loss, rois) is None


@pytest.mark.parametrize("way", WAYS)
def test_low_precision_features_are_summed_in_float32(way):
    body, wrap = WAYS[way]
    features = {name: tf.cast(v, tf.bfloat16) for name, v in random_pyramid(num_images=1).items()}
    # The same 257 RoIs: a sum in bfloat16 would stop growing at 256.
    rois = tf.tile(tf.constant([[[8.0, 8, 24, 24]]]), [1, 257, 1])

    def gradient(features, rois):
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = roi_align(features, rois, 1, 1, True, body)
        return pooled, tape.gradient(pooled, features["p2"])

    pooled, gradients = wrap(gradient)(features, rois)
    assert pooled.dtype == gradients.dtype == tf.bfloat16
    exact = {name: tf.cast(values, tf.float32) for name, values in features.items()}
    exact_pooled, exact_gradients = gradient(exact, rois)
    np.testing.assert_allclose(tf.cast(pooled, tf.float32), exact_pooled, rtol=1 / 128)
    np.testing.assert_allclose(tf.cast(gradients, tf.float32), exact_gradients, rtol=1 / 128)
    assert exact_gradients.numpy().max() == 257 / 4  # between four cells


@pytest.mark.parametrize("body", ["sparse", "gather"])
def test_sizes_known_only_when_run_give_the_same(body):
    features = random_pyramid()
    signature = [
        {name: tf.TensorSpec([None, None, None, 3]) for name in SHAPES},
        tf.TensorSpec([None, None, 4]),
    ]
    pool = tf.function(lambda f, r: roi_align(f, r, 3, 2, True, body), input_signature=signature)
    pooled = pool(features, tf.constant(ROIS))
    assert pool.get_concrete_function().output_shapes.as_list() == [None, None, 3, 3, 3]
    np.testing.assert_allclose(pooled, roi_align(features, ROIS, 3, 2, True, body), atol=1e-5)
    assert pool(features, tf.zeros([2, 0, 4])).shape == (2, 0, 3, 3, 3)
