"""Albums of examples folders of CocoExampleGen, with what it left out beside them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.schema import DataConfig
from ground.errors import DatasetError
from model import records
from model.coco.policies import REASONS
from model.coco.values import integer_at
from model.evaluation.ground_truth import GroundTruth
from model.examples import read_categories, shard_paths, split_names
from model.tf_example import decode_example
from model.tfrecord import read_tfrecord
from pipeline.look.album import Album, Kind, Reason, ShownPicture, Thing, counts_of
from pipeline.look.of_coco import left_out_thing
from pipeline.look.picture_files import RecordPicture
from pipeline.look.truth import Truth

REJECTS_FILE = "rejects.jsonl"
_FOLDER, _REJECTS = "examples", "rejects"


def add_examples(album: Album, examples: Path, split: str) -> Truth:
    """Adds the pictures of one split to an album; returns what is to be found in them.

    Args:
        album: gets them.
        examples: the folder.
        split: its name.

    Raises:
        DatasetError: the folder or the split is missing, or a shard is damaged.
    """
    categories = read_categories(examples)
    names = {category["id"]: category["name"] for category in categories}
    for name in names.values():
        album.class_position(name)
    truth = Truth(GroundTruth([], [], [{"id": c["id"], "name": c["name"]} for c in categories]))
    if split not in album.splits:
        album.splits.append(split)
    place = album.splits.index(split)
    for shard in shard_paths(examples, split):
        for offset, payload in read_tfrecord(shard):
            values = decode_example(payload)
            shown = ShownPicture(
                values[records.FILENAME][0].decode(errors="replace"),
                values[records.WIDTH][0],
                values[records.HEIGHT][0],
                place,
                RecordPicture(shard, offset, len(payload)),
            )
            image_id = int(values[records.SOURCE_ID][0])
            truth.add_picture(shown, image_id)
            for thing, category_id in _things(values, names, album):
                shown.things.append(thing)
                truth.add_object(thing, image_id, category_id)
            album.pictures.append(shown)
    _add_rejects(album, truth, examples, split, names)
    return truth


def _things(
    values: dict[str, list[Any]], names: dict[int, str], album: Album
) -> Iterator[tuple[Thing, int]]:
    """Yields the objects of a record, with their category ids."""
    import numpy as np

    numbers = np.frombuffer(values[records.COCO_NUMBERS][0], "<f8").reshape(-1, 5).tolist()
    for row, category_id, is_crowd, number, mask in zip(
        numbers,
        values[records.CATEGORY_ID],
        values[records.IS_CROWD],
        values[records.ANNOTATION_ID],
        values[records.SEGMENTATION],
        strict=True,
    ):
        kind = Kind.CROWD if is_crowd else Kind.OBJECT
        category = album.class_position(names[category_id])
        yield Thing(kind, category, row[:4], row[4], number, counts_of(mask)), category_id


def _add_rejects(
    album: Album, truth: Truth, examples: Path, split: str, names: dict[int, str]
) -> None:
    """Adds what CocoExampleGen left out of a split, where its rejects lie beside the examples."""
    path = _rejects_beside(examples, split)
    if path is None:
        return
    of_no_picture = 0
    for line in _lines(path):
        reason = Reason(line["reason"], str(line.get("detail", "")))
        if "annotation" in line:
            annotation = line["annotation"]
            shown = truth.pictures.get(integer_at(annotation, "image_id"))  # type: ignore[arg-type]
            if shown is None:
                of_no_picture += 1
            else:
                thing = left_out_thing(album, annotation, reason, names, "xywh", shown)
                shown.things.append(thing)
        else:
            album.pictures.append(_left_out_picture(album, line, reason, split, names))
            image_id = integer_at(line.get("image"), "id")
            truth.left_out_ids |= set() if image_id is None else {image_id}
    if of_no_picture:
        album.notes.append(f"{of_no_picture:,} left-out annotations of no picture in {path}")


def _left_out_picture(
    album: Album, line: dict[str, Any], reason: Reason, split: str, names: dict[int, str]
) -> ShownPicture:
    stated = line.get("image")
    image: dict[str, Any] = stated if isinstance(stated, dict) else {}
    height, width = (max(integer_at(image, key) or 0, 0) for key in ("height", "width"))
    shown = ShownPicture(
        str(image.get("file_name", "an entry of `images`")),
        width,
        height,
        album.splits.index(split),
        None,
        reasons=[reason],
        is_left_out=True,
    )
    for annotation in line.get("annotations", []):
        thing = left_out_thing(album, annotation, None, names, DataConfig().box_format, shown)
        shown.things.append(thing)
    return shown


def _rejects_beside(examples: Path, split: str) -> Path | None:
    """Returns the rejects of a split: of the stand-alone command, or of a pipeline's run."""
    places = [examples.parent / _REJECTS]
    if examples.parent.name == _FOLDER:  # artifacts/CocoExampleGen/examples/<execution>
        places.append(examples.parent.parent / _REJECTS / examples.name)
    paths = [place / f"Split-{split}" / REJECTS_FILE for place in places]
    return next((path for path in paths if path.is_file()), None)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as stream:
            for number, text in enumerate(stream, 1):
                line = json.loads(text)
                if not isinstance(line, dict) or line.get("reason") not in REASONS:
                    raise DatasetError(f"{path}: line {number} is no line of CocoExampleGen's")
                yield line
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path}: cannot be read ({error})") from None


def is_examples_folder(folder: Path) -> bool:
    """Returns whether a folder is one of CocoExampleGen or CocoTransform."""
    return (folder / "manifest.json").is_file() and (folder / "categories.json").is_file()


def splits_of(examples: str | os.PathLike[str], only: str | None) -> list[str]:
    """Returns the splits to look at.

    Raises:
        DatasetError: there is no such split.
    """
    names = split_names(examples)
    if only is not None and only not in names:
        raise DatasetError(f"{examples}: no split named {only!r}, only {', '.join(names)}")
    return [only] if only is not None else names
