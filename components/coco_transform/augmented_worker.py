"""The process of `augmented.py`: one JSON object in, one line of JSON out."""

import base64
import io
import itertools
import json
import sys
from typing import Any

from PIL import Image

from configs.schema import InputConfig
from ground.errors import RcnnError
from model.batch import arrays_of, row_of
from model.input.input_pipeline import TrainingInput
from model.training.pictures import drawn_truth

_PICTURES = 12
_LONG_SIDE_PX = 480
_JPEG_QUALITY = 80


def drawn_pictures(asked: dict[str, Any]) -> list[dict[str, str]]:
    """Returns what `augmented_examples` does; `asked` has its arguments."""
    config = InputConfig.model_validate(asked["input"])
    training_input = TrainingInput(
        asked["examples_dir"],
        asked["split"],
        config,
        with_masks=asked["masks"],
        workers=1,
        pictures_per_step=1,
        seed=asked["seed"],
    )
    names = {category["label"]: category["name"] for category in training_input.categories}
    pictures = min(_PICTURES, training_input.num_pictures)
    shown = []
    for batch in itertools.islice(training_input.dataset(0, threads=1), pictures):
        truth = row_of(arrays_of(batch), 0)
        caption = f"image id {int(truth.image_ids)}: {int(truth.gt_valid.sum())} objects"
        shown.append({"caption": caption, "uri": _uri(drawn_truth(truth, names, _LONG_SIDE_PX))})
    return shown


def _uri(picture: Image.Image) -> str:
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()


def main() -> None:
    """Answers what stdin asks."""
    try:
        answer: dict[str, Any] = {"shown": drawn_pictures(json.load(sys.stdin))}
    except RcnnError as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
