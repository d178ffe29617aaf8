"""Albums of what CocoEvaluator wrote: the pictures that it measured on, with what was found."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from components.coco_evaluator.decision_file import ground_truth_digest
from components.coco_evaluator.evaluation import DECISION_FILE, DETECTIONS_FILE, LABEL_ERRORS_FILE
from components.coco_evaluator.label_errors import SUSPICIONS
from ground.console import read_json
from ground.errors import ConfigError, DatasetError
from model.evaluation.coco_numbers import MAX_DETECTIONS
from model.evaluation.results import read_detections
from pipeline.look.album import Album, Kind, Reason, Thing
from pipeline.look.of_examples import is_examples_folder
from pipeline.look.outcomes import add_detections
from pipeline.look.places import Found, Read, Request, coco_file, read_coco, read_examples
from pipeline.look.truth import Truth


def read_evaluation(request: Request, folder: Path) -> Found:
    """Returns the pictures that an evaluation measured, with what it found.

    Raises:
        ConfigError: what it measured on is not where it was, and no option says where it is.
        DatasetError: a file is damaged, or a detection does not fit the data.
    """
    decision = read_json(folder / DECISION_FILE, DatasetError)
    measured = decision.get("data") if isinstance(decision, dict) else None
    if not isinstance(measured, dict):
        raise DatasetError(f"{folder / DECISION_FILE}: not the decision of an evaluation")
    read = _measured_data(request, folder, measured)
    truth = read.truths[0]
    stated = measured.get("ground_truth_digest")
    if stated and ground_truth_digest(truth.ground_truth) != stated:
        read.found.album.notes.append("the ground truth is not the one that was measured on")
    _narrow(read.found.album, truth, decision, folder / DECISION_FILE)
    settings = decision.get("settings")
    limit = settings.get("max_detections") if isinstance(settings, dict) else None
    file = folder / DETECTIONS_FILE
    most = limit if isinstance(limit, int) else MAX_DETECTIONS
    add_detections(read.found.album, truth, read_detections(file), str(file), most)
    _add_suspects(read.found.album, truth, folder / LABEL_ERRORS_FILE)
    read.found.album.title = str(folder)
    read.found.inputs.append(folder)
    return read.found


def _measured_data(request: Request, folder: Path, measured: dict[str, Any]) -> Read:
    if request.annotations is not None:
        return read_coco(request, [coco_file(request.annotations, request.pictures)])
    split = request.split or measured.get("split") or "eval"
    name = str(measured.get("name", "")).removesuffix(f", split {split}")
    examples = request.examples or (Path(name) if measured.get("split") else None)
    if examples is None or not is_examples_folder(examples):
        raise ConfigError(
            f"{folder}: measured on {measured.get('name')}, which is not there as an examples "
            "folder: give --examples FOLDER, or --annotations JSON with --pictures FOLDER"
        )
    return read_examples(dataclasses.replace(request, split=split), examples)


def _add_suspects(album: Album, truth: Truth, path: Path) -> None:
    """Adds the labels that the evaluation suspects, each with its suspicion as a reason.

    An evaluation of an earlier version has none.
    """
    if not path.exists():
        return
    content = read_json(path, DatasetError)
    try:
        categories = content["categories"]
        classes = {c["id"]: c for c in categories if c.get("supercategory") in SUSPICIONS}
        suspected = [a for a in content["annotations"] if a["category_id"] in classes]
        for annotation in suspected:
            category = classes[annotation["category_id"]]
            suspicion = category["supercategory"]
            thing = Thing(
                Kind.SUSPECT,
                album.class_position(category["name"].removeprefix(f"{suspicion} ")),
                _numbers(annotation["bbox"], 4),
                _numbers([annotation["area"]], 1)[0],
                reasons=(Reason(suspicion),),
                score=_numbers([annotation["score"]], 1)[0],
            )
            truth.pictures[annotation["image_id"]].things.append(thing)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DatasetError(f"{path}: not what CocoEvaluator writes") from None


def _numbers(values: Any, how_many: int) -> list[float]:
    """Returns finite numbers.

    Raises:
        TypeError, ValueError: they are none, or not so many.
    """
    if not isinstance(values, list):
        raise TypeError(values)
    found = [float(value) for value in values]
    if len(found) != how_many or not all(map(math.isfinite, found)):
        raise ValueError(values)
    return found


def _narrow(album: Album, truth: Truth, decision: dict[str, Any], where: Path) -> None:
    """Leaves the pictures in that were measured on, where that was a part.

    Raises:
        DatasetError: the decision says so in no form of ours.
    """
    narrowing = decision.get("narrowing")
    ids = narrowing.get("image_ids") if isinstance(narrowing, dict) else None
    if narrowing:
        album.notes.append("the evaluation was narrowed to a part of the data")
    if ids is not None:
        if not (isinstance(ids, list) and all(isinstance(id_, int) for id_ in ids)):
            raise DatasetError(f"{where}: narrowing.image_ids: expected a list of numbers")
        truth.keep(set(ids))
        kept = {id(shown) for shown in truth.pictures.values()}
        album.pictures = [shown for shown in album.pictures if id(shown) in kept]
