"""Mutated COCO annotation files, through CocoExampleGen's `convert` and the evaluator's reader."""

import io
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from configs.schema import DataConfig
from tests.fuzz.frame import Fuzzer
from tests.fuzz.json_mutations import mutated, written

HEIGHT, WIDTH = 120, 160
SQUARE = [[10, 10, 60, 12, 55, 70, 14, 66]]


def sound_annotations(pictures: int = 4) -> dict[str, Any]:
    """Returns a sound set: two objects a picture, with polygons and run lengths, one a crowd."""
    runs = coco_mask.frPyObjects(SQUARE, HEIGHT, WIDTH)[0]
    code = {"size": [HEIGHT, WIDTH], "counts": runs["counts"].decode()}
    annotations: list[dict[str, Any]] = []
    for image_id in range(1, pictures + 1):
        for number, segmentation in enumerate((SQUARE, code)):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": (3, 7)[number],
                    "bbox": [10, 10, 50, 60],
                    "area": 2500.5,
                    "iscrowd": int(image_id == pictures and number == 1),
                    "segmentation": segmentation,
                }
            )
    return {
        "info": {"year": 2026},
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "height": HEIGHT, "width": WIDTH}
            for n in range(1, pictures + 1)
        ],
        "annotations": annotations,
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    }


def write_pictures(folder: Path, pictures: int = 4) -> None:
    """Writes the set's pictures."""
    folder.mkdir()
    stream = io.BytesIO()
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(stream, "JPEG")
    for number in range(1, pictures + 1):
        (folder / f"{number}.jpg").write_bytes(stream.getvalue())


# So that mutated files reach the end more often.
LENIENT = DataConfig(
    max_rejected_fraction=1.0,
    max_dropped_fraction=1.0,
    max_lost_objects_fraction=1.0,
    max_lost_masks_fraction=1.0,
)


def _write(generator: random.Random, folder: Path) -> Path:
    path = folder / "instances.json"
    path.write_bytes(written(mutated(sound_annotations(), generator), generator))
    return path


def _prepare_conversion() -> None:
    """Lets shards be written one after the other, without a Beam pipeline around each run."""
    from components.coco_example_gen import whole
    from components.shard_results import do_job

    def write_shards(jobs: Any, write_shard: Any, *_: Any) -> Any:
        return {job.split: [(j, do_job(j, write_shard)) for j in jobs] for job in jobs[:1]}

    whole.write_shards = write_shards
    with tempfile.TemporaryDirectory() as folder:  # loads the decoder of pictures
        path = Path(folder) / "instances.json"
        path.write_text(json.dumps(sound_annotations()), encoding="utf-8")
        _convert_file(path, DataConfig())


def _convert(generator: random.Random, folder: Path) -> None:
    path = _write(generator, folder)
    _convert_file(path, LENIENT if generator.random() < 0.7 else DataConfig())


def _convert_file(path: Path, data: DataConfig) -> None:
    from components.coco_example_gen.source import SplitSource
    from components.coco_example_gen.whole import convert

    write_pictures(path.parent / "pictures")
    out = path.parent / "out"
    source = SplitSource("train", path, path.parent / "pictures", 1)
    convert([source], out / "examples", out / "rejects", data, None, lambda line: None)  # type: ignore[arg-type]


def _prepare_evaluation() -> None:
    import model.evaluation.coco_numbers  # noqa: F401


def _evaluate(generator: random.Random, folder: Path) -> None:
    from model.evaluation.coco_numbers import measure
    from model.evaluation.ground_truth import ground_truth_from_json

    data = LENIENT if generator.random() < 0.7 else DataConfig()
    truth = ground_truth_from_json(_write(generator, folder), data)
    known = {image["id"] for image in truth.images}
    ids = {category["id"] for category in truth.categories}
    detections = [d for d in sound_results() if d["image_id"] in known and d["category_id"] in ids]
    measure(truth, detections, ("box", "mask"))


def sound_results() -> list[dict[str, Any]]:
    """Returns detections that find every object of the sound set."""
    return [
        {key: annotation[key] for key in ("image_id", "category_id", "bbox", "segmentation")}
        | {"score": 1 - 0.1 * number}
        for number, annotation in enumerate(sound_annotations()["annotations"])
    ]


def _evaluate_results(generator: random.Random, folder: Path) -> None:
    from model.evaluation.coco_numbers import measure
    from model.evaluation.results import read_detections

    path = folder / "results.json"
    # One bad detection refuses the file: of more mutations hardly any file would be read on.
    path.write_bytes(written(mutated(sound_results(), generator, most=2), generator))
    measure(_sound_truth(folder), read_detections(path), ("box", "mask"))


def _sound_truth(folder: Path) -> Any:
    from model.evaluation.ground_truth import ground_truth_from_json

    path = folder / "instances.json"
    path.write_text(json.dumps(sound_annotations()), encoding="utf-8")
    return ground_truth_from_json(path)


CONVERSION = Fuzzer("conversion", _convert, prepare=_prepare_conversion)
EVALUATION = Fuzzer("evaluation", _evaluate, prepare=_prepare_evaluation)
RESULTS = Fuzzer("results", _evaluate_results, prepare=_prepare_evaluation)
FUZZERS = (CONVERSION, EVALUATION, RESULTS)
