"""Looks at the pictures and objects that a config will name, as CocoExampleGen will judge them."""

import dataclasses
import math
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from configs.schema import DataConfig
from ground.errors import DatasetError
from ground.progress import Progress, say_or_log
from ground.wording import listed, plural
from model.coco.classes import ClassMap
from model.coco.names import find_picture
from model.coco.policies import REASONS
from model.coco.reader import InstancesReader
from model.coco.stream import iterate_annotations, iterate_images
from model.coco.tally import Tally
from model.coco.values import integer_at
from model.encoded.check import inspect
from model.encoded.files import path_inside, read_picture_file
from model.encoded.flaw import PictureFlaw
from pipeline.init.facts import DataFacts, Ints

_SECONDS = 20.0  # for the pictures of a file
_MOST_OBJECTS, _MOST_PICTURES = 50_000, 20_000
_HALF = 0.5
_LONGEST_SHOWN = 300  # letters of an example
_MARGIN, _SLACK = 1.5, 0.02  # on shares that were found
# Codes whose repair loses nothing that a person would miss, though their default is to refuse.
_MENDED = ("picture_ending_differs",)


@dataclasses.dataclass
class Findings:
    """What was found wrong.

    Attributes:
        looked_at: pictures.
        of: all pictures.
        codes: pictures by reason code.
        examples: a picture of each code.
        bad: places of pictures that cannot be used.
        looked: places of those that were looked at.
        lost_objects: largest share of the objects that one reason loses.
        lost_masks: the same of the masks.
        reasons: flaws of objects by code.
    """

    looked_at: int = 0
    of: int = 0
    codes: Counter[str] = dataclasses.field(default_factory=Counter)
    examples: dict[str, str] = dataclasses.field(default_factory=dict)
    bad: list[int] = dataclasses.field(default_factory=list)
    looked: list[int] = dataclasses.field(default_factory=list)
    lost_objects: float = 0.0
    lost_masks: float = 0.0
    reasons: Counter[str] = dataclasses.field(default_factory=Counter)

    def words(self) -> str:
        """Returns what was found in a line."""
        some = f"{self.looked_at:,} of " if self.looked_at < self.of else ""
        text = f"looked at {some}{plural(self.of, 'picture')}"
        flaws = [f"pictures: {listed(self.codes)}"] if self.codes else []
        flaws += [f"objects: {listed(self.reasons)}"] if self.reasons else []
        return f"{text}: {'; '.join(flaws) or 'all sound'}"


def check_data(data_dir: Path, pictures: str, prefix: str, facts: DataFacts) -> Findings:
    """Looks at as many pictures and objects of a file as some seconds allow.

    Raises:
        DatasetError: more than half of the pictures, or of the objects, cannot be used.
    """
    folder = data_dir / pictures
    found = Findings(of=len(facts.ids))
    started = time.monotonic()
    progress = Progress("looking at pictures", found.of, say_or_log, says_end=False)
    repeated = _repeated(facts.ids)
    for at in _spread(len(facts.ids)):
        if time.monotonic() - started > _SECONDS:
            break
        found.looked_at += 1
        progress.reach(found.looked_at)
        found.looked.append(at)
        if at in repeated:
            _note(found, "duplicate_image_id", f"id {facts.ids[at]}")
            found.bad.append(at)
        elif not facts.names[at]:
            _note(found, "bad_picture_record", f"id {facts.ids[at]}, which has no `file_name`")
            found.bad.append(at)
        else:
            _look(folder, prefix, facts, at, found)
    if len(found.bad) > _HALF * found.looked_at:
        code, _ = found.codes.most_common(1)[0]
        raise DatasetError(
            f"{facts.path}: {len(found.bad):,} of {plural(found.looked_at, 'picture')} in {folder} "
            f"cannot be used ({listed(found.codes)}); for example {found.examples[code]}"
        )
    _check_objects(facts, found)
    return found


def _spread(number: int) -> list[int]:
    """Returns the places from 0 on in an order whose every beginning is spread over all."""
    places: list[int] = np.random.default_rng(0).permutation(number).tolist()
    return places


def _repeated(ids: Ints) -> set[int]:
    """Returns the places of ids that came before."""
    _, first = np.unique(ids, return_index=True)
    return set(range(len(ids))) - set(first.tolist())


def _look(folder: Path, prefix: str, facts: DataFacts, at: int, found: Findings) -> None:
    name = facts.names[at]
    place = find_picture(folder, name, prefix)
    try:
        if place.code is not None:
            _note(found, place.code, name)
        content = read_picture_file(path_inside(folder, place.name))
        picture = inspect(content, DataConfig().max_picture_pixels)
        for code, _ in picture.flaws:
            _note(found, code, name)
            if REASONS[code].default == "refuse":
                found.bad.append(at)
        size, stated = (picture.height, picture.width), (facts.heights[at], facts.widths[at])
        if stated not in (size, picture.upright_size):
            raise PictureFlaw("picture_size_differs", f"{size[1]} x {size[0]} pixels")
        if picture.is_turned and stated == size:
            _note(found, "exif_turned", name)
    except PictureFlaw as flaw:
        _note(found, flaw.code, f"{name} ({flaw.detail})")
        found.bad.append(at)


def _note(found: Findings, code: str, name: str) -> None:
    found.codes[code] += 1
    found.examples.setdefault(code, name[:_LONGEST_SHOWN])


def _check_objects(facts: DataFacts, found: Findings) -> None:
    """Judges a sample of the objects; pictures that it does not hold are no reason against them."""
    data = DataConfig(
        box_format=facts.box_format,
        crowds="objects" if facts.all_crowds else "ignore",
    )
    categories = {
        id_: {"id": id_, "name": name, "label": label}
        for label, (id_, name) in enumerate(sorted(facts.categories.items()), 1)
    }
    classes = ClassMap(list(categories.values()), categories, {}, facts.categories)  # type: ignore[arg-type]
    reader = InstancesReader(data, classes)
    known = set(facts.ids[:_MOST_PICTURES].tolist())
    all_ids = set(facts.ids.tolist())
    for image in iterate_images(facts.path):
        if integer_at(image, "id") in known:
            reader.read_picture(image)
    of_known = (
        entry
        for entry in iterate_annotations(facts.path)
        if (id_ := integer_at(entry, "image_id")) in known or id_ not in all_ids
    )
    for place, entry in enumerate(islice(of_known, _MOST_OBJECTS)):
        reader.read_object(place, entry)
    reader.close()
    _note_losses(facts, reader.tally, found)


def _note_losses(facts: DataFacts, tally: Tally, found: Findings) -> None:
    objects = tally.dropped_objects + tally.lost_objects
    found.reasons = Counter(
        {c: n for c, n in tally.reasons.items() if REASONS[c].concerns != "picture"}
    )
    found.lost_objects = max(objects.values(), default=0) / max(tally.objects_read, 1)
    found.lost_masks = max(tally.lost_masks.values(), default=0) / max(tally.masks_read, 1)
    if found.lost_objects > _HALF:
        code, number = objects.most_common(1)[0]
        raise DatasetError(
            f"{facts.path}: {number:,} of {plural(tally.objects_read, 'object')} cannot be used: "
            f"{code} ({REASONS[code].meaning}); for example {tally.examples[code]}"
        )


def raised_limits(found: list[Findings], places: list[Ints | None]) -> dict[str, Any]:
    """Returns limits and policies under which a run takes what was found; none where all is sound.

    Args:
        found: findings of each file.
        places: the split of each picture of a file; None where the file is one split.
    """
    refused = max(_largest_share(f, p) for f, p in zip(found, places, strict=True))
    settings: dict[str, Any] = {}
    for name, share, default in (
        ("data.max_rejected_fraction", refused, DataConfig().max_rejected_fraction),
        (
            "data.max_lost_objects_fraction",
            max(f.lost_objects for f in found),
            DataConfig().max_lost_objects_fraction,
        ),
        (
            "data.max_lost_masks_fraction",
            max(f.lost_masks for f in found),
            DataConfig().max_lost_masks_fraction,
        ),
    ):
        if share and share * _MARGIN > default:
            settings[name] = min(1.0, math.ceil(100 * (share * _MARGIN + _SLACK)) / 100)
    for code in _MENDED:
        if any(f.codes[code] for f in found):
            settings[f"data.policies.{code}"] = "mend"
    return settings


def _largest_share(found: Findings, places: Ints | None) -> float:
    if not found.bad:
        return 0.0
    if places is None:
        return len(set(found.bad)) / found.looked_at
    bad, looked = np.unique(found.bad), np.asarray(found.looked)
    shares = [
        float(np.sum(places[bad] == at)) / max(1, int(np.sum(places[looked] == at)))
        for at in (0, 1)
    ]
    return max(shares)
