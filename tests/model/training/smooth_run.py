"""A small run in which nothing depends on the last bit of a number: `small_run`, less its choices.

`python -m tests.model.training.smooth_run JOB` is a worker of the launcher. Its detector has SiLU
in place of ReLU, whose gradient jumps at 0.
"""

import sys

from configs.schema import Config
from tests.model.training.small_run import build_without_export, small_config


def smooth_config(batch: str, norm: str, rate: float, **train) -> Config:
    """Returns `small_config` with all there is in the losses, and no kink in these.

    All 512 anchors of a picture become proposals and enter the losses, whatever their scores: none
    is suppressed (no overlap is above 1), left out by a top-k, or drawn by its rank.
    """
    settings = small_config(batch, norm, rate, **train).model_dump(mode="json")
    every = {"samples_per_picture": 1024, "positive_fraction": 1.0}
    settings["model"]["anchors"]["aspect_ratios"] = [1.0]
    settings["model"]["rpn"] |= every | {
        "pre_nms_top_k": 512,
        "post_nms_top_k": 512,
        "nms_iou": 1.0,
        "smooth_l1_beta": 0.11,
    }
    settings["model"]["roi"] |= every
    settings["model"]["box_head"]["smooth_l1_beta"] = 0.11
    return Config.model_validate(settings)


def _build(job, precision, jit):
    import tensorflow as tf

    tf.nn.relu = tf.nn.silu
    return build_without_export(job, precision, jit)


if __name__ == "__main__":
    from model.training.worker import main

    main(sys.argv[1], _build)
