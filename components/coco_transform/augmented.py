"""Example pictures of the data report as training will see them, augmentation included.

They are drawn in a process of their own, which sees no GPU: TensorFlow would else keep the host's
for itself until the pipeline ends.
"""

import json
import os
import subprocess

from components.coco_transform.settings import TrainingSight
from configs.augmentation_schema import Augmentations
from ground.errors import DatasetError
from tfx_rcnn import child_environment, command

_CHILD = "components.coco_transform.augmented_worker"
_SECONDS = 600.0  # for a dozen pictures
_WITHOUT_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}


def is_augmented(sight: TrainingSight) -> bool:
    """Returns whether training changes more of pictures than to flip them."""
    plain = TrainingSight(**Augmentations(flip_probability=sight.flip_probability).model_dump())
    drawn = ("large_scale_jitter", "scale_jitter", "short_side_choices_px", "crop_min_share")
    changes = (*Augmentations.model_fields, *drawn)
    return any(getattr(sight, name) != getattr(plain, name) for name in changes)


def augmented_examples(
    examples_dir: str | os.PathLike[str], split: str, sight: TrainingSight, seed: int, masks: bool
) -> list[dict[str, str]]:
    """Returns the captions and data URIs of the first pictures of a training, with their objects.

    Args:
        examples_dir: the new examples folder.
        split: the split that is trained on.
        sight: sizes and augmentation.
        seed: seed of order and draws.
        masks: whether the split has masks.

    Raises:
        DatasetError: training could not use the examples with these settings.
    """
    asked = {
        "examples_dir": str(examples_dir),
        "split": split,
        "input": sight.model_dump(mode="json"),
        "seed": seed,
        "masks": masks,
    }
    try:
        done = subprocess.run(
            command(_CHILD),
            env={**child_environment(os.environ), **_WITHOUT_GPU},
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DatasetError(
            f"pictures as training sees them were not drawn within {_SECONDS:g} s"
        ) from None
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise DatasetError(
            f"pictures as training sees them could not be drawn: {last.strip()[:300]}"
        ) from None
    if "error" in answer:
        raise DatasetError(answer["error"])
    shown: list[dict[str, str]] = answer["shown"]
    return shown
