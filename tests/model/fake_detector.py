"""A detector whose answers are known, for the tests of what is built around it."""

import keras
import tensorflow as tf

from model.batch import Found


class FakeDetector:
    """Finds the whole content of a picture, and its left half.

    The first detection (label 2, score `weight`) covers the content, the second (label 1, score
    the mean brightness of the content, 0-1) its left half. `slots` rows are returned.
    """

    def __init__(self, weight=0.75, slots=4, with_masks=True):
        self._weight = keras.Variable(weight, dtype="float32", name="score")
        self._slots = slots
        self._with_masks = with_masks
        self.variables = [self._weight]

    def export_weights(self):
        return {"head/score": keras.ops.convert_to_numpy(self._weight)}

    def import_weights(self, weights):
        self._weight.assign(weights["head/score"])

    def detect(self, images, image_sizes):
        count = tf.shape(images)[0]
        height, width = image_sizes[:, 0], image_sizes[:, 1]
        zero = tf.zeros_like(height)
        brightness = tf.reduce_sum(tf.cast(images, tf.float32), axis=[1, 2, 3])
        brightness /= 3 * 255 * height * width
        boxes = tf.stack(
            [
                tf.stack([zero, zero, height, width], -1),
                tf.stack([zero, zero, height, width / 2], -1),
            ],
            axis=1,
        )
        scores = tf.stack([tf.fill([count], 1.0) * self._weight.value, brightness], axis=1)
        rest = self._slots - 2
        return Found(
            # Padding rows hold rubbish on purpose: the export must clear them.
            boxes=tf.pad(boxes, [[0, 0], [0, rest], [0, 0]], constant_values=7.0),
            scores=tf.pad(scores, [[0, 0], [0, rest]], constant_values=0.5),
            classes=tf.tile([[2, 1, *[2] * rest]], [count, 1]),
            num=tf.fill([count], 2),
            masks=tf.ones([count, self._slots, 28, 28]) if self._with_masks else None,
        )
