"""Small data to look at: a COCO folder with a flaw of each sort, and examples of it."""

import json
from pathlib import Path
from typing import Any

from components.coco_example_gen.record import encode_record
from components.coco_example_gen.rejects import RejectsFile
from model.coco.entries import CocoObject, parse_object, parse_picture
from model.coco.policies import Flaw, Judge, resolve_policies
from model.coco.tally import Tally
from model.examples import write_manifest
from model.tfrecord import write_tfrecord
from tests.components.coco_example_gen.small_dataset import (
    CATEGORIES,
    annotation,
    image,
    jpeg,
    write_dataset,
)

LABELS = [{**category, "label": n} for n, category in enumerate(CATEGORIES, 1)]
HOSTILE = "<img src=x onerror=alert(1)></script><b>"


def write_flawed(folder: Path) -> Path:
    """Writes five pictures: sound, of another size, missing, without an id, with a bad box."""
    images: list[Any] = [
        image(1),
        image(2, height=40, width=60),
        image(3, "gone.jpg"),
        {"file_name": "4.jpg", "height": 20, "width": 30},
        image(5),
    ]
    annotations = [
        annotation(10, 1),
        annotation(11, 1, category_id=8, iscrowd=1, segmentation=None),
        annotation(12, 2),
        annotation(13, 3),
        annotation(14, 5, bbox=[1, 2, "many", 4], segmentation=[]),
        annotation(15, 5, category_id=99),
        annotation(16, 77),
    ]
    pictures = {name: jpeg() for name in ("1.jpg", "2.jpg", "4.jpg", "5.jpg")}
    return write_dataset(folder, images, annotations, pictures=pictures)


def write_examples(folder: Path, pictures: int = 3) -> Path:
    """Writes an examples folder with the split eval: a cat in each picture; a reject beside it."""
    split = folder / "examples" / "Split-eval"
    split.mkdir(parents=True)
    shard = "data_tfrecord-00000-of-00001"
    with open(split / shard, "wb") as stream:
        for number in range(1, pictures + 1):
            size = (20, 30)
            record = encode_record(
                number, f"{number}.jpg", size, jpeg(seed=number), "jpeg", [_cat(number)]
            )
            write_tfrecord(stream, record)
    write_manifest(
        folder / "examples",
        {
            "eval": {
                "records": pictures,
                "objects": pictures,
                "shards": [_shard(split / shard, pictures)],
            }
        },
        LABELS,
    )
    (folder / "rejects" / "Split-eval").mkdir(parents=True)
    with open(folder / "rejects" / "Split-eval" / "rejects.jsonl", "w") as stream:
        rejects = RejectsFile(stream, Tally())
        flaw = Flaw("picture_missing", "refuse", "no such file")
        rejects.picture(flaw, "9", image(9), [annotation(90, 9)])
        rejects.annotation(Flaw("bad_bbox", "drop", "no box"), annotation(91, 1, bbox=None))
    return folder / "examples"


def _shard(path: Path, records: int) -> Any:
    from ground.files import file_digest

    return {"file": path.name, "records": records, "sha256": file_digest(path)}


def _cat(number: int) -> CocoObject:
    judge = Judge(resolve_policies({}))
    picture = parse_picture(image(number), judge)
    categories = {category["id"]: category for category in LABELS}
    return parse_object(
        annotation(number, number), 0, False, picture.height, picture.width, categories, judge
    )


def detection(image_id: int, score: float, **fields: Any) -> dict[str, Any]:
    """Returns a detection of the cat that is in each picture, but for `fields`."""
    bbox = [2.25, 3.5, 10.1, 8.7]
    return {"image_id": image_id, "category_id": 3, "bbox": bbox, "score": score, **fields}


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path
