"""From a folder to the config that fits it: what was found, what is chosen, and why."""

import dataclasses
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ground.errors import ConfigError, DatasetError
from ground.wording import plural
from model.coco.values import is_text
from model.foreign.completed import complete
from model.foreign.convert import convert, find_form, folder_of, is_upright
from model.foreign.form import Losses
from pipeline.init import choices
from pipeline.init.check import Findings, check_data, raised_limits
from pipeline.init.choices import Choice, Sizes
from pipeline.init.coco_files import (
    DEEPEST,
    CocoPlace,
    by_split,
    coco_files,
    files_below,
    place_pictures,
)
from pipeline.init.facts import DataFacts, read_facts
from pipeline.init.machine import Machine
from pipeline.init.splitting import Split, choose_split
from pipeline.init.start_weights import choose_weights

Say = Callable[[str], None]
_ENOUGH = 0.9  # share of a file's names that have a file in one folder
_MANY_MASKS = 0.5  # share of the objects from which a mask head learns enough
_CPU_MEGAPIXELS_A_SECOND = 0.3  # of one core, measured with the configs of docs/learning.md


@dataclasses.dataclass
class Plan:
    """A config with its reasons.

    Attributes:
        name: `name`.
        found: lines on what there is.
        chosen: all settings.
        minutes: a rough guess of the training's time here; None where nothing was measured.
    """

    name: str
    found: list[str]
    chosen: list[Choice]
    minutes: float | None


class _Source:
    """A COCO file with its pictures, facts and findings; completed where it lacks something."""

    def __init__(self, data_dir: Path, annotations: str, target: Path, say: Say) -> None:
        _check_text(data_dir, annotations)
        say(f"reading {annotations}")
        self.facts: DataFacts = read_facts(data_dir / annotations)
        self.place: CocoPlace = place_pictures(data_dir, annotations)
        _check_text(data_dir, self.place.pictures)
        self.mended: Losses = Counter()
        if self.facts.unsized or self.place.found < _ENOUGH * self.place.looked_for:
            folder = folder_of(data_dir, list(files_below(data_dir)))
            stem = annotations.replace("/", "-").removesuffix(".json")
            out = target.parent / f"{target.stem}.{stem}.coco.json"
            self.mended = complete(folder, data_dir / annotations, out)
            annotations = below(data_dir, out)
            self.facts = read_facts(data_dir / annotations)
            self.place = place_pictures(data_dir, annotations)
        self.findings: Findings = check_data(
            data_dir, self.place.pictures, self.place.prefix, self.facts
        )


def _check_text(data_dir: Path, name: str) -> None:
    """Raises DatasetError where a config cannot hold a name, whose bytes are no text."""
    if not is_text(name):
        raise DatasetError(
            f"{data_dir}: the name {name!r} in it is not text in UTF-8, which a config could hold: "
            "rename it"
        )


def make_plan(
    data_dir: Path,
    annotations: Sequence[str],
    weights: str | None,
    target: Path,
    machine: Machine,
    say: Say,
) -> Plan:
    """Returns the plan for a folder.

    Args:
        data_dir: the folder.
        annotations: COCO files in it: none (they are looked for), one, or one of each split.
        weights: what `--weights` says.
        target: the config that will be written; converted annotations go beside it.
        machine: that trains.
        say: gets lines on how it goes.

    Raises:
        DatasetError: there is nothing in it that can be learnt.
        ConfigError: the two files of the splits do not go together.
        ModelError: `weights` cannot be used.
    """
    given = _given(data_dir, annotations, target, say)
    sources = {split: _Source(data_dir, name, target, say) for split, name in given.files.items()}
    train = sources.get("train") or sources["all"]
    evaluation = sources.get("eval")
    split = None if evaluation else choose_split(train.facts)
    has_masks = _has_masks(train.facts)
    start = choose_weights(weights, machine.is_cpu, has_masks, say)
    sizes = choices.choose_sizes(train.facts, machine)
    numbers = _numbers(train, evaluation, split)
    pace = choices.choose_pace(numbers[0], sizes, start, machine)
    eval_facts = evaluation.facts if evaluation else train.facts
    chosen = [
        *_data(train, evaluation, split),
        *_turns(given, list(sources.values())),
        choices.choose_shards(*numbers),
        sizes.choice,
        *choices.choose_limits(train.facts, eval_facts, has_masks),
        *choices.choose_model(train.facts, sizes, start, machine, has_masks),
        choices.choose_anchors(train.facts, sizes, start),
        pace.choice,
        choices.choose_gate(numbers[1], has_masks),
    ]
    found = [*given.lines, *_found(sources, has_masks, numbers)]
    minutes = _minutes(numbers[0] * pace.epochs, sizes, machine)
    return Plan(slug(data_dir), found, chosen, minutes)


def slug(data_dir: Path) -> str:
    """Returns a name for pipeline and model from a folder's.

    >>> slug(Path("/data/Blutkörperchen 2"))
    'blutkorperchen-2'
    """
    plain = unicodedata.normalize("NFKD", Path(os.path.abspath(data_dir)).name)
    letters = plain.encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:40].strip("-") or "my-data"


def below(data_dir: Path, path: Path) -> str:
    """Returns a path below the data folder, or an absolute one where it lies elsewhere."""
    relative = os.path.relpath(os.path.abspath(path), os.path.abspath(data_dir))
    return os.path.abspath(path) if relative.split(os.sep)[0] == os.pardir else relative


class _Given(NamedTuple):
    """The COCO files of a folder.

    Attributes:
        files: by split; one alone as `all`.
        lines: what was converted, for a person.
        form: what they were converted from; "" where they are the folder's own.
    """

    files: dict[str, str]
    lines: Sequence[str] = ()
    form: str = ""


def _given(data_dir: Path, annotations: Sequence[str], target: Path, say: Say) -> _Given:
    """Returns the COCO files of a folder, which are written where it has another form."""
    if len(annotations) == 1:
        return _Given({"all": annotations[0]})
    if annotations:
        return _Given(dict(zip(("train", "eval"), annotations, strict=True)))
    names = coco_files(data_dir)
    if names:
        return _Given(_used(by_split(names)))
    too_deep: list[str] = []
    folder = folder_of(data_dir, list(files_below(data_dir, too_deep)))
    unseen = [f"not looked at: {_in_words(too_deep)}"] if too_deep else []
    form = find_form(folder)
    if form is None:
        raise DatasetError(
            f"{data_dir}: has no annotations that are known (COCO, Pascal VOC, YOLO, LabelMe, CVAT "
            f"for images, Label Studio, a table of boxes) in it or the folders below"
            f"{''.join(f' ({line})' for line in unseen)}: where a COCO file is meant, name it by "
            "--annotations FILE"
        )
    say(f"converting {form[0]}")
    done = convert(folder, *form, target.parent, target.stem)
    written = ", ".join(path.name for path in done.files.values())
    lines = [f"{done.form}, converted into {written}", *unseen]
    if done.lost:
        counts = ", ".join(f"{number:,} {what}" for what, number in done.lost.most_common())
        lines.append(f"lost: {counts}")
    written_files = {split: below(data_dir, path) for split, path in done.files.items()}
    return _Given(_used(written_files), lines, done.form)


def _in_words(too_deep: Sequence[str]) -> str:
    more = f" and {len(too_deep) - 1} more" if len(too_deep) > 1 else ""
    return f"{too_deep[0]}{more}, deeper than {DEEPEST} folders"


def _used(files: dict[str, str]) -> dict[str, str]:
    if "train" in files and "eval" in files:
        return {split: files[split] for split in ("train", "eval")}
    return {"all": next(iter(files.values()))}


def _has_masks(facts: DataFacts) -> bool:
    return facts.masks - facts.rectangles > _MANY_MASKS * max(facts.objects, 1)


def _numbers(train: _Source, evaluation: _Source | None, split: Split | None) -> tuple[int, int]:
    """Returns how many pictures are learnt and measured."""
    if evaluation is not None:
        return len(train.facts.ids), len(evaluation.facts.ids)
    assert split is not None
    measured = int(np.sum(split.places))
    return len(train.facts.ids) - measured, measured


def _data(train: _Source, evaluation: _Source | None, split: Split | None) -> Iterator[Choice]:
    if evaluation is None:
        assert split is not None
        config = split.config.model_dump(exclude_none=True)
        yield Choice(
            {
                "data.annotations": train.place.annotations,
                "data.pictures": train.place.pictures,
                **{f"data.split.{key}": value for key, value in config.items()},
            },
            "split",
            split.why,
        )
    else:
        yield Choice(
            {
                "data.train_annotations": train.place.annotations,
                "data.train_pictures": train.place.pictures,
                "data.eval_annotations": evaluation.place.annotations,
                "data.eval_pictures": evaluation.place.pictures,
            },
            "split",
            "a file for each split",
        )
    sources = [source for source in (train, evaluation) if source is not None]
    yield from _forms(sources)
    places = [split.places if split is not None else None for _ in sources]
    if limits := raised_limits([source.findings for source in sources], places):
        yield Choice(limits, "flaws", "what is wrong with the data is left out, and counted")


def _forms(sources: Sequence[_Source]) -> Iterator[Choice]:
    """Yields how the files are meant, where that is not as COCO's.

    Raises:
        ConfigError: the files differ in it.
    """
    for key, values, default, why in (
        ("data.picture_prefix", [s.place.prefix for s in sources], "", "no folder is called so"),
        ("data.box_format", [s.facts.box_format for s in sources], "xywh", "so boxes fit pictures"),
        (
            "data.crowds",
            ["objects" if s.facts.all_crowds else "ignore" for s in sources],
            "ignore",
            "every object is marked as a crowd, so none is meant as one",
        ),
    ):
        if len(set(values)) > 1:
            raise ConfigError(
                f"{' and '.join(str(s.facts.path) for s in sources)} differ in {key} "
                f"({' and '.join(map(repr, values))}), and one setting holds for both"
            )
        if values[0] != default:
            yield Choice({key: values[0]}, key.partition(".")[2], why)


def _turns(given: _Given, sources: Sequence[_Source]) -> Iterator[Choice]:
    """Yields which turn boxes are of, where a form says it and EXIF turns a picture, or may."""
    findings = [source.findings for source in sources]
    may_turn = any(f.codes["exif_turned"] or f.looked_at < f.of for f in findings)
    if may_turn and is_upright(given.form):
        why = f"{given.form} has boxes of pictures as EXIF turns them"
        yield Choice({"data.policies.exif_turned": "mend"}, "turned pictures", why)


def _found(sources: dict[str, _Source], has_masks: bool, numbers: tuple[int, int]) -> Iterator[str]:
    for source in sources.values():
        facts = source.facts
        masks = f", {facts.masks:,} with masks" if facts.masks else ", no masks"
        empty = int(np.sum(facts.objects_by_picture == 0))
        yield (
            f"{source.place.annotations}: {plural(len(facts.ids), 'picture')} in "
            f"{source.place.pictures}, {plural(facts.objects, 'object')}{masks}, "
            f"{len(facts.categories)} class{'es' if len(facts.categories) > 1 else ''}"
            + (f", {empty:,} without objects" if empty else "")
        )
        if source.mended:
            counts = ", ".join(f"{number:,} {what}" for what, number in source.mended.items())
            yield f"a completed copy is used: {counts}"
        yield source.findings.words()
        if facts.rectangles and not has_masks and facts.masks:
            yield "masks that are no more than boxes, or on few objects: no mask head"
    if min(numbers) < 1:
        raise DatasetError(
            f"{' and '.join(str(source.facts.path) for source in sources.values())}: a split would "
            "have no picture: a training needs some to learn and some to measure"
        )


def _minutes(pictures: int, sizes: Sizes, machine: Machine) -> float | None:
    if not machine.is_cpu:
        return None
    megapixels = pictures * sizes.short_px * sizes.long_px / 1e6
    return megapixels / (_CPU_MEGAPIXELS_A_SECOND * min(machine.cores, 16)) / 60


def overrides(chosen: Sequence[Choice]) -> dict[str, Any]:
    """Returns all settings by dotted key."""
    return {key: value for choice in chosen for key, value in choice.settings.items()}
