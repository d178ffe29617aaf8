"""What the splits of a conversion are to each other: parts of one file, one label map."""

import filecmp
import itertools
import os
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.coco_example_gen.source import MERGED_FILE, SplitSource
from configs.data_schema import EVALUATION_SPLIT, SPLIT_NAMES, DataInput
from configs.schema import DataConfig
from ground.addresses import Place, below, is_address, shown_address
from ground.errors import DatasetError
from ground.wording import quoted
from model.coco.merge import Merge, SourceFile
from model.coco.notes import notes_on, notes_on_use
from model.coco.splits import Division, Holds, Portion, everything, read_division
from model.coco.survey import Survey
from model.coco.tally import Tally
from model.examples import TRAINING_SPLIT, Category


def sources_of(data: DataConfig, data_dir: Place) -> list[SplitSource]:
    """Returns the splits train and eval of a config."""
    shards: dict[str, int] = {TRAINING_SPLIT: data.train_shards, EVALUATION_SPLIT: data.eval_shards}
    if data.sources:
        return _merged_sources(data, data_dir, shards)
    return [
        SplitSource(
            name,
            below(data_dir, each.annotations),
            below(data_dir, each.pictures),
            shards[name],
            None if data.split is None else Portion(data.split, name),
        )
        for each in data.inputs()
        for name in ([each.split] if each.split else SPLIT_NAMES)
    ]


def _merged_sources(
    data: DataConfig, data_dir: Place, shards: Mapping[str, int]
) -> list[SplitSource]:
    """Returns the splits of several sources; `merged` writes the JSON that they name."""
    inputs = data.inputs()
    names = _names(inputs)
    sources = []
    for name in SPLIT_NAMES:
        files = tuple(
            SourceFile(
                number,
                names[number - 1],
                below(data_dir, each.annotations),
                below(data_dir, each.pictures),
                _front(each.pictures),
            )
            for number, each in enumerate(inputs, 1)
            if each.split in (None, name)
        )
        portion = None if data.split is None else Portion(data.split, name)
        target = below(data_dir, MERGED_FILE)
        sources.append(SplitSource(name, target, data_dir, shards[name], portion, files))
    return sources


def _names(inputs: Sequence[DataInput]) -> list[str]:
    """Returns a name for people of each source: its JSON, and as much more as tells it apart."""
    jsons = [shown_address(each.annotations) for each in inputs]
    both = [f"{shown_address(i.annotations)} ({shown_address(i.pictures)})" for i in inputs]
    return [
        json
        if jsons.count(json) == 1
        else name
        if both.count(name) == 1  # else they differ in what is not shown
        else f"{name}, source {number}"
        for number, (json, name) in enumerate(zip(jsons, both, strict=True), 1)
    ]


def _front(folder: str) -> str:
    """Returns what the names of a folder's pictures begin with in a merged file."""
    if is_address(folder):  # it goes into records and reports
        return f"{shown_address(folder).rstrip('/')}/"
    name = posixpath.normpath(folder)
    return "" if name == "." else f"{name}/"


def check_different(sources: Sequence[SplitSource], data: DataConfig) -> None:
    """Checks that no two splits come from the same JSON, and that none has a source twice.

    Raises:
        DatasetError: two do, byte by byte; or a source is there again by another path.
    """
    for source in sources:
        _check_no_source_twice(source.files)
    for first, second in itertools.combinations(sources, 2):
        if data.allow_same_splits or (first.portion is not None and second.portion is not None):
            continue
        for (one, _), (other, _) in itertools.product(first.places, second.places):
            if filecmp.cmp(one, other, shallow=False):
                raise DatasetError(
                    f"the splits {first.name!r} and {second.name!r} have the same annotations "
                    f"({one}, {other}), so that a model would be measured on what it learnt: give "
                    "another file, split one by data.split, or set data.allow_same_splits=true"
                )


def _check_no_source_twice(files: Sequence[SourceFile]) -> None:
    """Checks that no two sources have the same JSON and the same folder, whatever their paths."""
    seen: dict[tuple[str, int], list[SourceFile]] = {}
    for file in files:
        folder = file.pictures if is_address(file.pictures) else os.path.realpath(file.pictures)
        key = str(folder), Path(file.annotations).stat().st_size
        for earlier in seen.setdefault(key, []):
            if filecmp.cmp(earlier.annotations, file.annotations, shallow=False):
                raise DatasetError(
                    f"data.sources has the same annotations of the same pictures twice "
                    f"({earlier.annotations}, {file.annotations}): leave one out, or its pictures "
                    "could be learnt and measured at once"
                )
        seen[key].append(file)


def divisions_of(sources: Sequence[SplitSource]) -> dict[Place, Division]:
    """Returns how each JSON is split that is split."""
    divisions: dict[Place, Division] = {}
    for source in sources:
        if source.portion is not None and source.annotations not in divisions:
            split = source.portion.split
            divisions[source.annotations] = read_division(source.annotations, split)
    return divisions


def holds_of_source(source: SplitSource, divisions: Mapping[Place, Division]) -> Holds:
    """Returns what tells which entries of its JSON a split has."""
    if source.portion is None:
        return everything
    return source.portion.of(divisions[source.annotations])


def label_map(maps: Sequence[tuple[SplitSource, list[Category]]]) -> list[Category]:
    """Returns the label map of all splits together.

    Raises:
        DatasetError: an id has different names in two splits.
    """
    names: dict[int, str] = {}
    for source, categories in maps:
        for category in categories:
            id_, name = category["id"], category["name"]
            if names.setdefault(id_, name) != name:
                here, there = quoted(name, [names[id_]]), quoted(names[id_], [name])
                raise DatasetError(
                    f"{source.annotations}: category {id_} is {here} here, {there} in another "
                    "split: the splits must agree on their categories"
                )
    return [
        {"id": id_, "name": names[id_], "label": label}
        for label, id_ in enumerate(sorted(names), 1)
    ]


def split_summary(
    source: SplitSource,
    tally: Tally,
    surveys: Mapping[str, Survey],
    divisions: Mapping[Place, Division],
    classes: Mapping[str, Any] | None,
    data: DataConfig,
    merge: Merge | None = None,
) -> dict[str, Any]:
    """Returns what the summary says of a split.

    Args:
        source: source of the split.
        tally: tally of its counts.
        surveys: by split, with the classes as they are learnt.
        divisions: by JSON that is split.
        classes: what `ClassMap.facts` gives; None where the classes are those of the file.
        data: how it is read.
        merge: facts of the merged sources; None where none are merged.
    """
    name, made = source.name, {}
    others = {other: found for other, found in surveys.items() if other != name}
    notes = [
        *notes_on_use(tally, is_for_training=name == TRAINING_SPLIT),
        *notes_on(surveys[name], data, name, others),
    ]
    if merge is not None and name == TRAINING_SPLIT:  # once is enough
        notes = [*merge.notes(data.classes), *merge.hints(data.box_format), *notes]
    if source.portion is not None:
        division = divisions[source.annotations]
        made["part"] = division.facts(name)
        notes = [*division.notes(name), *notes]
    if classes is not None:
        made["classes"] = dict(classes)
    return tally.summary() | made | {"notes": notes}
