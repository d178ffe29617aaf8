"""A small run of the real detector: its settings and its examples.

`python -m tests.model.training.small_run JOB` is a worker of the launcher that exports nothing.
"""

import json
import sys
from pathlib import Path

import numpy as np

from configs.schema import Config
from model.training_settings import TrainingSettings
from tests.model.input.handmade import example, write_folder

STEPS = 5
SETTINGS = {
    "name": "small",
    "input": {"short_side_px": 64, "long_side_px": 96, "max_objects": 4},
    "model": {
        "backbone": {"name": "resnet18", "width": 8, "norm": "group_norm", "frozen_stages": 0},
        "fpn": {"channels": 8},
        "anchors": {"sizes_px": [8, 16, 32, 64, 96]},
        "rpn": {
            "samples_per_picture": 32,
            "pre_nms_top_k": 50,
            "post_nms_top_k": 30,
            "test_pre_nms_top_k": 50,
            "test_post_nms_top_k": 30,
        },
        "roi": {"samples_per_picture": 16},
        "box_head": {"hidden_units": 16},
        "mask_head": {"resolution": 7, "convolutions": 1, "channels": 8},
    },
    "train": {
        "epochs": 100,
        "max_steps": STEPS,
        "checkpoint_every_steps": 1,
        "keep_checkpoints": STEPS,
        "optimizer": {"warmup_steps": 0, "scale_with_batch": False, "learning_rate": 0.01},
    },
}


def small_config(batch: str, norm: str = "group_norm", **train) -> TrainingSettings:
    """Returns SETTINGS with this batch, norm of the backbone and changes of `train`."""
    settings = json.loads(json.dumps(SETTINGS))
    settings["train"] |= {"batch": batch, **train}
    settings["model"]["backbone"]["norm"] = norm
    return TrainingSettings.of(Config.model_validate(settings))


def write_examples(folder: Path) -> Path:
    """Writes ten noisy pictures of two shapes with a bright, masked rectangle each."""
    generator = np.random.default_rng(0)
    records = []
    for number in range(10):
        height, width = ((64, 96), (96, 64))[number % 3 == 0]
        pixels = generator.integers(0, 100, [height, width, 3]).astype(np.uint8)
        y, x = generator.integers(0, 30, 2)
        pixels[y : y + 30, x : x + 24] += 120
        box = [y, x, y + 30, x + 24]
        bitmap = np.ones([30, 24], bool)
        records.append(example(pixels, [box], [1 + number % 3], None, [bitmap], [box]))
    return write_folder(folder, records, small_config("1x4").input, shards=2)


def build_without_export(job, precision, jit):
    """Returns the parts of a worker, as `build` of model/launch/worker.py."""
    from model.launch.worker import build

    return build(job, precision, jit)._replace(export=lambda training: "not exported")


if __name__ == "__main__":
    from model.launch.worker import main

    main(sys.argv[1], build_without_export)
