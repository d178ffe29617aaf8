"""Before a model is blessed: it is served in a process of its own, as its clients will see it.

What is measured here is measured in this process, and what training saw in another. A model that
cannot be loaded anew, that crashes or hangs on some kind of picture, or that finds other things
there than training's detector or the evaluation, is not what was measured.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from components.coco_evaluator.frames import turn_from_upright, turned_detections
from components.coco_evaluator.kept_detections import read_kept, write_kept
from components.coco_evaluator.sources import Item, Source
from ground.files import write_json
from ground.source_digest import source_digest
from model.coco.boxes import xywh_to_yxyx
from model.encoded.files import shown
from model.model_folder import read_model_config
from model.pictures import DEFAULT_MAX_PIXELS
from model.predict import Detections
from model.serving_check.agreement import difference
from model.serving_check.child import ANSWER_FILE, JOB_FILE, STEPS_FILE, Answer, Job, read_found
from model.serving_check.kinds import Sent, drawn_pictures
from tfx_rcnn import child_environment, command

_CHILD = "model.serving_check.child"
_LONGEST_STEP_SECONDS = 300.0
_SECONDS_BETWEEN_LOOKS = 0.1
_COSTS = ("load_s", "latency_p50_ms", "latency_p99_ms", "memory_mb")
_MEANINGS = {signal.SIGKILL: "out of memory?", signal.SIGILL: "an instruction it cannot run"}
_DIGITS = 12


@dataclass(frozen=True)
class Served:
    """How a model did in a process of its own.

    Attributes:
        problems: what is wrong, a line each.
        is_dead: it could not be loaded, crashed or hung: nothing may be measured with it.
        costs: size and, where they could be measured, load time, times of a call and memory.
        found: its detections in pictures of the source, by image id, in the annotations' frame.
    """

    problems: tuple[str, ...] = ()
    is_dead: bool = False
    costs: Mapping[str, float] = field(default_factory=dict)
    found: Mapping[int, Detections] = field(default_factory=dict)


def check_served(
    saved_model: Path,
    source: Source,
    count: int,
    image_ids: set[int] | None = None,
    longest_step_s: float = _LONGEST_STEP_SECONDS,
) -> Served:
    """Returns how a model does in a process of its own.

    Args:
        saved_model: the exported model.
        source: pictures, beside the drawn ones of each kind.
        count: how many of them.
        image_ids: only of these.
        longest_step_s: a load or a call that takes longer hangs.
    """
    files = (path for path in saved_model.rglob("*") if path.is_file())
    costs = {"size_mb": sum(path.stat().st_size for path in files) / 1e6}
    limit = read_model_config(saved_model)["input"].get("max_picture_pixels", DEFAULT_MAX_PIXELS)
    items = list(islice(source.pictures(image_ids, limit, lambda image, error: None), count))
    drawn = drawn_pictures(limit)
    sent = [*drawn, *(_sent(item) for item in items)]
    with tempfile.TemporaryDirectory(prefix="tfx-rcnn-served-") as place:
        folder = Path(place)
        for number, one in enumerate(sent):
            (folder / str(number)).write_bytes(one.encoded)
        job = Job(str(saved_model), [one.name for one in sent], len(drawn))
        write_json(folder / JOB_FILE, asdict(job))
        answer = _answer(folder, longest_step_s)
        if isinstance(answer, str):
            return Served((answer,), True, costs)
        measured = {name: getattr(answer, name) for name in _COSTS}
        costs |= {name: value for name, value in measured.items() if value is not None}
        found = {}
        for number, (image, picture) in enumerate(items, len(drawn)):
            if (path := folder / f"{number}.npz").exists():
                turn = turn_from_upright(image, picture)
                found[image["id"]] = turned_detections(read_found(path), turn)
    return Served(tuple(answer.problems), answer.load_s is None, costs, found)


def differs_from_measured(
    served: Served, measured: Iterable[Mapping[str, Any]], source: Source
) -> str | None:
    """Returns in which picture a model found other things where it was served; None for nowhere.

    Args:
        served: what it found there.
        measured: all detections that were measured, in COCO's results form.
        source: where the pictures are from.
    """
    by_image: dict[int, list[Mapping[str, Any]]] = {number: [] for number in served.found}
    for detection in measured:
        if detection["image_id"] in by_image:
            by_image[detection["image_id"]].append(detection)
    images = {image["id"]: image for image in source.ground_truth.images}
    known = [category["id"] for category in source.ground_truth.categories]
    worst = None
    for number, found in served.found.items():
        is_known = np.isin(found.category_ids, known)
        alone = Detections(
            found.boxes_norm[is_known], found.scores[is_known], found.category_ids[is_known], None
        )
        apart = difference(_detections(by_image[number], images[number]), alone)
        if not apart.is_allowed and (worst is None or apart.unpaired > worst[0].unpaired):
            worst = apart, images[number]
    if worst is None:
        return None
    name = f"picture {worst[1]['id']} ({shown(worst[1]['file_name'])})"
    return f"finds other things where it is served than were measured in {name}: " + (
        worst[0].in_words()
    )


def read_kept_costs(keep_in: str | None, model_digest: str, source: Source) -> Served | None:
    """Returns an earlier check without problems of the same model on the same data by this code."""
    path = _kept_path(keep_in, model_digest, source)
    kept = None if path is None else read_kept(path)
    return None if not kept else Served(costs=kept[0])


def keep_costs(keep_in: str | None, model_digest: str, source: Source, served: Served) -> None:
    """Keeps a check without problems, so that a changed threshold only compares."""
    path = _kept_path(keep_in, model_digest, source)
    if path is not None:
        write_kept(path, [dict(served.costs)])


def _kept_path(keep_in: str | None, model_digest: str, source: Source) -> Path | None:
    if keep_in is None or source.digest is None:
        return None
    code = source_digest(__name__, _CHILD)[:_DIGITS]
    return Path(keep_in) / model_digest / f"{source.digest}-{code}.served"


def _sent(item: Item) -> Sent:
    image, picture = item
    return Sent(f"picture {image['id']} ({shown(image['file_name'])})", picture.encoded)


def _detections(results: list[Mapping[str, Any]], image: Mapping[str, Any]) -> Detections:
    """Returns detections of one picture in COCO's results form as the model gives them."""
    boxes = np.array([detection["bbox"] for detection in results], float).reshape(-1, 4)
    sides = np.tile([image["height"], image["width"]], 2)
    return Detections(
        np.stack(xywh_to_yxyx(boxes.T), axis=-1) / sides,
        np.array([detection["score"] for detection in results], float),
        np.array([detection["category_id"] for detection in results], np.int64),
        None,
    )


def _answer(folder: Path, longest_step_s: float) -> Answer | str:
    """Runs the check of a job's folder; returns its answer, or in words how the process ended."""
    with open(folder / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command(_CHILD, str(folder)),
            env={**child_environment(os.environ), "TF_CPP_MIN_LOG_LEVEL": "2"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # so that what it starts ends with it
        )
        try:
            is_late = _waits_too_long(process, folder / STEPS_FILE, longest_step_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    step = _last_line(folder / STEPS_FILE)
    when = f"when {json.loads(step)}" if step else "before it was loaded"
    if is_late:
        return f"hangs in a process of its own, {when}: no answer in {longest_step_s:g} s"
    if process.returncode < 0:
        number = signal.Signals(-process.returncode)
        meaning = f" ({_MEANINGS[number]})" if number in _MEANINGS else ""
        return f"crashes in a process of its own, {when}: {number.name}{meaning}"
    if process.returncode:
        return f"fails in a process of its own, {when}: {_last_line(folder / 'log')[:300]}"
    return Answer(**json.loads((folder / ANSWER_FILE).read_text(encoding="utf-8")))


def _waits_too_long(process: "subprocess.Popen[bytes]", steps: Path, longest_step_s: float) -> bool:
    """Waits for a process's end; returns True where it stays at one step for too long."""
    size, since = 0, time.monotonic()
    while process.poll() is None:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        now = steps.stat().st_size if steps.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > longest_step_s:
            return True
    return False


def _last_line(path: Path) -> str:
    if not path.exists():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
