import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model.input import resize
from model.input.resize import decode_picture, resize_picture, resize_values, resized_size
from model.input.sizes import resized_sides

SIDE = st.integers(1, 3000)


@given(SIDE, SIDE, st.integers(32, 1000), st.floats(1, 3))
def test_tensorflow_and_numpy_agree_on_sizes(height, width, short, ratio):
    long = int(short * ratio)
    expected = [int(side) for side in resized_sides(height, width, short, long)]
    assert [int(side) for side in resized_size(height, width, short, long)] == expected


def test_bilinear_with_half_pixel_centres_by_hand():
    row = tf.constant([[[0, 0, 0], [100, 100, 100]]], tf.uint8)
    # Output centres at 0.25, 0.75, 1.25, 1.75 of input pixels whose centres are 0.5 and 1.5:
    # weights of the second are 0 (clamped), 0.25, 0.75, 1.
    assert resize_picture(row, 1, 4)[0, :, 0].numpy().tolist() == [0, 25, 75, 100]


def test_halves_round_up():
    row = tf.constant([[[0] * 3, [1] * 3, [0] * 3]], tf.uint8)
    # One pixel of two columns: centres at 0.75 and 2.25 -> 0.25 and 0.25; of one: centre 1.5 -> 1.
    assert resize_picture(row, 1, 1)[0, 0, 0].numpy() == 1
    row = tf.constant([[[0] * 3, [1] * 3]], tf.uint8)
    assert resize_picture(row, 1, 1)[0, 0, 0].numpy() == 1  # 0.5


def test_downscaling_does_not_smooth():
    row = tf.constant([[[0] * 3, [200] * 3, [0] * 3, [0] * 3, [0] * 3, [0] * 3]], tf.uint8)
    # 6 -> 2: centres at 1.5 and 4.5, each exactly on a pixel
    assert resize_picture(row, 1, 2)[0, :, 0].numpy().tolist() == [200, 0]


def test_same_size_is_identity_eager_and_in_a_dataset():
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    assert (resize_picture(picture, 7, 9).numpy() == picture).all()
    larger = tf.data.Dataset.from_tensors(picture).map(lambda p: resize_picture(p, 11, 14))
    assert (next(iter(larger)).numpy() == resize_picture(picture, 11, 14).numpy()).all()


def test_batch_of_pictures_is_resized_alike():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 7, 9, 3), np.uint8)
    together = resize_picture(pictures, 10, 12).numpy()
    assert (together[1] == resize_picture(pictures[1], 10, 12).numpy()).all()


def encoded(mode, format_, **options):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    stream = io.BytesIO()
    picture.save(stream, format_, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("mode", "format_", "options"),
    [
        ("RGB", "JPEG", {"quality": 75}),
        ("RGB", "JPEG", {"quality": 95, "subsampling": 0}),
        ("L", "JPEG", {}),
        ("RGB", "PNG", {}),
        ("RGBA", "PNG", {}),
        ("L", "PNG", {}),
    ],
)
def test_pixels_are_those_of_pillow(mode, format_, options):
    source = encoded(mode, format_, **options)
    expected = np.asarray(Image.open(io.BytesIO(source)).convert("RGB"))
    assert (decode_picture(source).numpy() == expected).all()


def test_what_is_no_picture_is_refused():
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_picture(b"<html>404</html>")
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_picture(encoded("RGB", "JPEG")[:500])


@pytest.mark.parametrize("picture", [0, 1])
def test_torchvision_resizes_alike(shared_data, picture):
    stored = np.load(shared_data / "parity" / "components.npz")
    pixels = stored[f"transform/picture_{picture}"].transpose(1, 2, 0)
    height, width = resized_size(*pixels.shape[:2], 48, 80)
    assert [int(height), int(width)] == stored["transform/image_sizes"][picture].tolist()
    # torchvision normalises first; a resize is linear and its weights sum to one.
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    deviation = np.array([0.229, 0.224, 0.225], np.float32)
    resized = (resize_values(pixels, height, width).numpy() - mean) / deviation
    expected = stored["transform/batch"][picture].transpose(1, 2, 0)[:height, :width]
    np.testing.assert_allclose(resized, expected, atol=2e-5 * np.abs(expected).max())
    boxes = stored[f"transform/boxes_{picture}"]
    factors = np.array([int(width) / pixels.shape[1], int(height) / pixels.shape[0]] * 2)
    after = stored[f"transform/boxes_after_{picture}"]
    np.testing.assert_allclose(boxes * factors, after, rtol=2e-5)


def test_large_pictures_are_resized_without_floats_to_the_same_pixels(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (61, 90, 3), np.uint8)
    for size in ((17, 33), (61, 90), (100, 100)):
        small = resize_picture(noise, *size).numpy()
        monkeypatch.setattr(resize, "_MAX_PIXELS_AS_FLOATS", 61 * 90 - 1)
        large = resize_picture(noise, *size).numpy()
        monkeypatch.undo()
        assert (small == large).mean() > 0.999  # halves may fall to either side
        assert np.abs(small.astype(int) - large).max() <= 1
