"""The whole of CocoExampleGen: COCO-format splits in, an examples and a rejects folder out."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam

from components.coco_example_gen import spool
from components.coco_example_gen.accounts import (
    check_division,
    check_listed,
    check_manifest,
    check_rejects,
    copy_rejects,
)
from components.coco_example_gen.job import ShardJob
from components.coco_example_gen.rejects import RejectsFile
from components.coco_example_gen.shard import write_shard
from components.coco_example_gen.source import SplitSource, check_source
from components.coco_example_gen.together import (
    check_different,
    divisions_of,
    holds_of_source,
    label_map,
    split_summary,
)
from components.shards import OnProgress, ShardResult, merged, new_folder, write_shards
from configs.schema import DataConfig, Policy
from ground.errors import DatasetError
from ground.files import write_json
from ground.wording import plural
from model.coco.classes import ClassMap, class_map
from model.coco.entries import Forms
from model.coco.hints import why_missing
from model.coco.limits import Origin, check_losses
from model.coco.notes import notes_on, with_notes
from model.coco.policies import Flaw, resolve_policies
from model.coco.splits import Holds
from model.coco.survey import Survey, survey
from model.coco.tally import Tally, picture_name
from model.examples import (
    COUNTS_FILE,
    Split,
    shard_file,
    split_folder,
    write_manifest,
)

NAMESPACE = "coco_example_gen"
REJECTS_FILE = "rejects.jsonl"


class _Work(NamedTuple):
    """Folders of one conversion, all in a place that vanishes when it fails."""

    examples: Path
    rejects: Path
    scratch: Path

    def spool(self, split: str) -> Path:
        return self.scratch / f"spool-{split}"

    def rejects_part(self, split: str, part: str) -> Path:
        return self.scratch / "rejects" / f"{split}-{part}"


def convert(
    sources: Sequence[SplitSource],
    examples_dir: str | os.PathLike[str],
    rejects_dir: str | os.PathLike[str],
    data: DataConfig,
    make_pipeline: Callable[[], beam.Pipeline],
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Converts COCO-format splits into an examples folder and a rejects folder.

    Both appear whole when all went well, else not at all.

    Args:
        sources: the splits.
        examples_dir: gets the shards, the label map and the manifest.
        rejects_dir: gets `Split-<name>/rejects.jsonl` and `counts.json`.
        data: seed, limits and policies.
        make_pipeline: gives the Beam pipeline that the shards are written with.
        on_progress: called with a line a split and a line a shard.

    Returns:
        `{"splits": {name: {"pictures": {"read", "written", "rejected"}, "objects": {likewise},
        "reasons": {code: count}, ..., "notes": [line]}}}`, of `Tally.summary`; and `part`, of
        `Division.facts`, where one JSON is split, and `classes`, of `ClassMap.facts`, where
        `data.classes` changes them.

    Raises:
        ConfigError: `data.policies` has an unknown code, or `data.split.group` fits no file name.
        DatasetError: a file is missing or damaged, or more is lost than the limits allow.
    """
    policies = resolve_policies(data.policies)
    for source in sources:
        check_source(source)
    check_different(sources, data)
    divisions = divisions_of(sources)
    holds = {source.name: holds_of_source(source, divisions) for source in sources}
    surveys = {source.name: survey(source.annotations, holds[source.name]) for source in sources}
    classes = class_map(
        label_map([(source, surveys[source.name].categories) for source in sources]), data.classes
    )
    of_classes = {name: classes.mapped(found) for name, found in surveys.items()}
    examples_dir, rejects_dir = Path(examples_dir), Path(rejects_dir)
    tallies = {source.name: Tally() for source in sources}
    with (
        _alone_in(examples_dir.parent),
        new_folder(rejects_dir) as (rejects, _),
        new_folder(examples_dir) as (examples, scratch),
    ):
        work = _Work(examples, rejects, scratch)
        jobs: list[ShardJob] = []
        parts: dict[str, tuple[spool.Accounts, spool.Accounts]] = {}
        for source in sources:
            name = source.name
            spooled = _spool(
                source, work, data.seed, policies, tallies[name], (holds[name], classes)
            )
            parts[source.name] = spooled.listed, spooled.elsewhere
            folder = work.spool(source.name)
            check_listed(source, surveys[name], spooled.listed, folder, classes.left_out_name)
            pictures = plural(spooled.listed.pictures.number, "picture")
            objects = plural(spooled.listed.objects.number, "object")
            on_progress(f"{source.name}: {pictures} and {objects} listed")
            jobs += _jobs(source, work, data, policies, classes, spooled)
        if divisions:
            check_division(parts)
        done = write_shards(jobs, write_shard, NAMESPACE, make_pipeline, on_progress)
        splits: dict[str, Split] = {}
        for source in sources:
            own = done[source.name]
            splits[source.name] = _gather(source.name, own, work, tallies[source.name])
            with _hinted(source, of_classes[source.name], sources, data):
                check_losses(_origin(source), tallies[source.name], data)
        summary = {
            "splits": {
                source.name: split_summary(
                    source,
                    tallies[source.name],
                    of_classes,
                    divisions,
                    None if data.classes is None else classes.facts(surveys[source.name].objects),
                    data,
                )
                for source in sources
            }
        }
        for folder in (work.examples, work.rejects):
            write_json(folder / COUNTS_FILE, summary)
        write_manifest(work.examples, splits, classes.categories)
    return summary


def _origin(source: SplitSource) -> Origin:
    return Origin(f"split {source.name!r}", str(source.annotations), str(source.pictures))


@contextlib.contextmanager
def _hinted(
    source: SplitSource, found: Survey, sources: Sequence[SplitSource], data: DataConfig
) -> Iterator[None]:
    """Adds to the error of a split what fits instead.

    Raises:
        DatasetError: as the body, with hints.
    """
    try:
        yield
    except DatasetError as error:
        hints = notes_on(found, data)
        if "picture_missing" in str(error) or "picture_ending_differs" in str(error):
            names = [image.get("file_name") for image in found.images if isinstance(image, dict)]
            texts = [name for name in names if isinstance(name, str) and name]
            folders = {other.name: str(other.pictures) for other in sources if other != source}
            hint = why_missing(texts, str(source.pictures), data.picture_prefix, folders)
            hints = [hint, *hints] if hint else hints
        raise with_notes(error, hints) from None


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Holds a lock on the output folder.

    Raises:
        DatasetError: another conversion writes there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DatasetError(f"{folder}: another conversion is writing here") from None
    finally:
        os.close(descriptor)


def _spool(
    source: SplitSource,
    work: _Work,
    seed: int,
    policies: dict[str, Policy],
    tally: Tally,
    chosen: tuple[Holds, ClassMap],
) -> spool.Spooled:
    """Spreads a split over its spool files; returns what became of its JSON's entries."""
    work.spool(source.name).mkdir()
    path = work.rejects_part(source.name, "homeless")
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", encoding="utf-8", errors="surrogatepass") as stream:
        rejects = RejectsFile(stream, tally)

        def reject(code: str, detail: str, entry: Any) -> None:
            flaw = Flaw(code, policies[code], detail)
            tally.note_flaws([flaw])
            if code == "bad_picture_record":
                tally.pictures_read += 1
                rejects.picture(flaw, picture_name(entry), entry)
            else:
                tally.read_object(entry)
                rejects.annotation(flaw, entry)

        holds, classes = chosen
        spooled = spool.write_spool(
            source.annotations,
            work.spool(source.name),
            source.shards,
            seed,
            reject,
            holds,
            classes.left_out_name,
        )
    tally.not_kept.update(spooled.not_kept)
    tally.see_names(spooled.names)
    return spooled


def _jobs(
    source: SplitSource,
    work: _Work,
    data: DataConfig,
    policies: dict[str, Policy],
    classes: ClassMap,
    spooled: spool.Spooled,
) -> list[ShardJob]:
    return [
        ShardJob(
            split=source.name,
            shard=shard,
            shards=source.shards,
            file=shard_file(shard, source.shards),
            examples_dir=str(work.examples),
            scratch_dir=str(work.scratch),
            spool_folder=str(work.spool(source.name)),
            pictures=str(source.pictures),
            rejects=str(work.rejects_part(source.name, f"{shard:05d}")),
            max_picture_pixels=data.max_picture_pixels,
            policies=policies,
            categories=classes.by_id,
            annotations_file=str(source.annotations),
            seed=data.seed,
            spooled=spooled.shards[shard],
            forms=Forms.of(data),
            picture_prefix=data.picture_prefix,
            portion=source.portion,
            not_kept=frozenset(classes.left_out),
        )
        for shard in range(source.shards)
    ]


def _gather(
    name: str, done: Sequence[tuple[ShardJob, ShardResult]], work: _Work, tally: Tally
) -> Split:
    """Joins a split's rejects and counts; returns its part of the manifest.

    Raises:
        DatasetError: a picture or an object was lost.
    """
    target = split_folder(work.rejects, name)
    target.mkdir(parents=True)
    homeless_path = work.rejects_part(name, "homeless")
    with open(target / REJECTS_FILE, "wb") as joined:
        with open(homeless_path, "rb") as homeless:
            shutil.copyfileobj(homeless, joined)
        for job, result in done:
            own = Tally.from_json(result.counts)
            copy_rejects(job, own, joined)
            tally.add(own)
    parts: list[str | os.PathLike[str]] = [homeless_path, *(job.rejects for job, _ in done)]
    check_rejects(name, target / REJECTS_FILE, tally, parts)
    split = merged([result for _, result in done])
    check_manifest(name, split["shards"], tally)
    return split
