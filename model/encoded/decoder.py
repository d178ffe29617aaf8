"""Decodes a picture wholly, as training and the exported model do."""

import functools
import zlib
from collections.abc import Callable
from typing import Any

from model.encoded import png
from model.encoded.check import Facts
from model.encoded.flaw import PictureFlaw
from model.op_error import reason_of


def check_decodes(facts: Facts) -> None:
    """Decodes a picture to its last row with the decoder of training and serving.

    One that was read wholly and without a complaint is not decoded again: most JPEGs, for which
    TensorFlow, with its start of seconds and its 400 MB, need not be loaded (`tests.fuzz.pictures`
    looks for one that it refuses all the same).

    Raises:
        PictureFlaw: it cannot be decoded, or not to the size that its header gives.
    """
    if facts.is_read:
        return
    import tensorflow as tf

    try:
        height, width, _ = _decoder()(facts.content)
    except tf.errors.OpError as error:
        said = f"cannot be decoded ({reason_of(error.message)})"
        detail = facts.lacked_end or _reason(facts) or said
        raise PictureFlaw("picture_unreadable", " ".join(detail.split())) from None
    if (height, width) != (facts.height, facts.width):
        detail = f"is decoded to {width} x {height} pixels, not {facts.width} x {facts.height}"
        raise PictureFlaw("picture_unreadable", detail)


@functools.cache
def _decoder() -> Callable[[bytes], Any]:
    """Returns a function that decodes a file and returns the shape of the pixels.

    A session of its own, not eager TensorFlow: that would take hold of the GPUs of this process,
    which training and evaluation need.
    """
    import tensorflow as tf

    from model.input.resize import decode_picture

    with tf.Graph().as_default() as graph:
        encoded = tf.compat.v1.placeholder(tf.string, [])
        shape = tf.shape(decode_picture(encoded))
    settings = tf.compat.v1.ConfigProto(
        device_count={"GPU": 0}, intra_op_parallelism_threads=1, inter_op_parallelism_threads=1
    )
    session = tf.compat.v1.Session(graph=graph, config=settings)
    decode: Callable[[bytes], Any] = session.make_callable(shape, [encoded])
    return decode


def _reason(facts: Facts) -> str:
    """Returns why a PNG cannot be decoded, as far as its compressed data say it."""
    if facts.format != "png":
        return ""
    most_bytes = facts.height * (8 * facts.width + 8)
    decompressor, size = zlib.decompressobj(), 0
    try:
        for chunk in png.read_png(facts.content).chunks:
            if chunk.name == b"IDAT" and size < most_bytes:
                data = facts.content[chunk.data : chunk.end - 4]
                size += len(decompressor.decompress(data, most_bytes - size))
    except zlib.error as error:
        return f"its compressed pixels are damaged after {size} bytes ({error})"
    if not decompressor.eof and size < most_bytes:
        return f"its compressed pixels end after {size} bytes, before their end"
    return ""
