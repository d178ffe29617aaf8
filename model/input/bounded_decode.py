"""Decodes a picture in the exported model's graph, after a look at what its header says."""

from typing import Any

import tensorflow as tf

from model.input.resize import decode_picture

_JPEG_START = b"\xff\xd8\xff"
_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_PNG_SIZE_AT, _PNG_SIZE_BYTES = len(_PNG_START), 8


def decode_within(encoded: tf.Tensor, number: Any, max_pixels: int) -> tf.Tensor:
    """Returns uint8 [H, W, 3] of a JPEG or PNG file that has not too many pixels.

    Nothing is decoded before the header's size is known to be within the limit: a PNG of 400 kB
    can hold 400 million pixels.

    Args:
        encoded: string scalar.
        number: number of the picture in its batch, for the error.
        max_pixels: limit of height x width.

    Raises:
        tf.errors.InvalidArgumentError: it is another kind of file (TensorFlow would take GIFs,
            too), too large, or cannot be decoded.
    """
    number = tf.convert_to_tensor(number)
    is_jpeg = _starts_with(encoded, _JPEG_START)
    is_png = _starts_with(encoded, _PNG_START) & (
        tf.strings.length(encoded) >= _PNG_SIZE_AT + _PNG_SIZE_BYTES
    )
    is_known = tf.debugging.Assert(
        is_jpeg | is_png, [tf.strings.format("picture {} is no JPEG or PNG file", number)]
    )
    with _after(is_known):
        encoded = tf.identity(encoded)
    size = tf.cond(is_jpeg, lambda: _jpeg_size(encoded), lambda: _png_size(encoded))
    height, width = size[0], size[1]
    is_within = tf.debugging.Assert(
        (height > 0) & (width > 0) & (height * width <= max_pixels),
        [
            tf.strings.format(
                "picture {} has {} x {} pixels (width x height); expected 1 to "
                f"input.max_picture_pixels {max_pixels}",
                (number, width, height),
            )
        ],
    )
    with _after(is_within):
        encoded = tf.identity(encoded)
    return decode_picture(encoded)


def _after(assertion: Any) -> Any:
    """Returns a context whose operations wait for an assertion, which eagerly is no operation."""
    return tf.control_dependencies([] if assertion is None else [assertion])


def _starts_with(encoded: tf.Tensor, start: bytes) -> tf.Tensor:
    """Returns whether a file begins with some bytes; one that is shorter does not."""
    length = tf.minimum(tf.strings.length(encoded), len(start))
    return tf.equal(tf.strings.substr(encoded, 0, length), start)


def _jpeg_size(encoded: tf.Tensor) -> tf.Tensor:
    """Returns int64 [2], height and width in a JPEG's header."""
    return tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.int64)


def _png_size(encoded: tf.Tensor) -> tf.Tensor:
    """Returns int64 [2], height and width in a PNG's header; negative beyond 2**31."""
    size = tf.strings.substr(encoded, _PNG_SIZE_AT, _PNG_SIZE_BYTES)
    width_and_height = tf.io.decode_raw(size, tf.int32, little_endian=False)
    return tf.cast(tf.reverse(width_and_height, [0]), tf.int64)
