"""The whole of CocoExampleGen: COCO-format splits in, an examples and a rejects folder out."""

import contextlib
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
from components.coco_example_gen.alone import alone_in
from components.coco_example_gen.fetched import fetched, has_addresses
from components.coco_example_gen.job import ShardJob
from components.coco_example_gen.merging import (
    merged,
    why_missing_in_sources,
    written_by_source,
)
from components.coco_example_gen.refused import refused_of
from components.coco_example_gen.rejects import RejectsFile
from components.coco_example_gen.shard import write_shard
from components.coco_example_gen.source import SplitSource, check_source
from components.coco_example_gen.spread import Spread, even_spread
from components.coco_example_gen.together import (
    check_different,
    divisions_of,
    holds_of_source,
    label_map,
    split_summary,
)
from components.shard_results import ShardResult
from components.shards import OnLine, new_folder, write_shards
from components.shards import merged as merged_shards
from configs.schema import DataConfig, Policy
from ground.addresses import Place, absolute, is_address, shown_address
from ground.errors import DatasetError
from ground.files import write_json
from ground.wording import plural
from model.coco.classes import ClassMap, class_map
from model.coco.entries import Forms
from model.coco.hints import why_missing
from model.coco.limits import Origin, check_losses
from model.coco.merge import Merge
from model.coco.notes import notes_on, with_notes
from model.coco.policies import Flaw, resolve_policies
from model.coco.splits import Division, Holds
from model.coco.survey import Survey, survey
from model.coco.tally import Tally, picture_name
from model.examples import (
    COUNTS_FILE,
    REFUSED_FILE,
    Split,
    shard_file,
    split_folder,
    write_manifest,
)
from model.input.index import index_path, joined, read_index

NAMESPACE = "coco_example_gen"
REJECTS_FILE = "rejects.jsonl"


class _Work(NamedTuple):
    """Folders of one conversion, all in a place that vanishes when it fails."""

    examples: Path
    rejects: Path
    scratch: Path

    def spool(self, split: str) -> Path:
        return self.scratch / f"spool-{split}"

    def rejects_of(self, split: str) -> Path:
        return split_folder(self.rejects, split) / REJECTS_FILE

    def rejects_part(self, split: str, part: str) -> Path:
        return self.scratch / "rejects" / f"{split}-{part}"


def convert(
    sources: Sequence[SplitSource],
    examples_dir: str | os.PathLike[str],
    rejects_dir: str | os.PathLike[str],
    data: DataConfig,
    make_pipeline: Callable[[], beam.Pipeline],
    on_progress: OnLine,
) -> dict[str, Any]:
    """Converts COCO-format splits into an examples folder and a rejects folder.

    Both appear whole when all went well, else not at all.

    Args:
        sources: the splits.
        examples_dir: gets the shards, the label map and the manifest.
        rejects_dir: gets `Split-<name>/rejects.jsonl` and `counts.json`.
        data: seed, limits and policies.
        make_pipeline: gives the Beam pipeline that the shards are written with.
        on_progress: called with a line a split, and one now and then.

    Returns:
        `{"splits": {name: {"pictures": {"read", "written", "rejected"}, "objects": {likewise},
        "reasons": {code: count}, ..., "notes": [line]}}}`, of `Tally.summary`; and `part`, of
        `Division.facts`, where one JSON is split, `classes`, of `ClassMap.facts`, where
        `data.classes` changes them, and `sources`, of `written_by_source`, where several are
        merged.

    Raises:
        ConfigError: `data.policies` has an unknown code, or `data.split.group` fits no file name.
        DatasetError: a file is missing or damaged, or more is lost than the limits allow.
    """
    policies = resolve_policies(data.policies)
    for source in sources:
        check_source(source)
    # Beam's workers may have another working folder.
    examples_dir, rejects_dir = Path(examples_dir).absolute(), Path(rejects_dir).absolute()
    is_merged = any(source.files for source in sources)
    has_scratch = is_merged or has_addresses(sources)
    with contextlib.ExitStack() as stack:
        merge = None
        if has_scratch:
            stack.enter_context(alone_in(examples_dir.parent))
        sources, shown = stack.enter_context(fetched(sources, examples_dir.parent))
        check_different(sources, data)
        if is_merged:
            sources, merge = stack.enter_context(merged(sources, examples_dir.parent, on_progress))
        plan = _plan(sources, data, merge)
        if not has_scratch:  # not before: of a wrong setting nothing is left behind
            stack.enter_context(alone_in(examples_dir.parent))
        rejects, _ = stack.enter_context(new_folder(rejects_dir))
        examples, scratch = stack.enter_context(new_folder(examples_dir))
        work = _Work(examples, rejects, scratch)
        jobs = _spool_all(plan, work, data, policies, on_progress)
        done = write_shards(jobs, write_shard, NAMESPACE, make_pipeline, "converting", on_progress)
        splits = _gathered(plan, done, work, data)
        summary = _accounted(plan, work, data, shown)
        write_manifest(work.examples, splits, plan.classes.categories)
    return summary


class _Plan(NamedTuple):
    """What is known before anything is written: M splits, each with its name as the key.

    Attributes:
        sources: the splits.
        divisions: how each JSON is split that is split.
        holds: tells which entries of its JSON a split has.
        surveys: what each split holds.
        classes: what becomes of the categories.
        of_classes: the surveys with the classes as they are learnt.
        tallies: for the counts of each split.
        merge: facts of the merged sources; None where none are merged.
    """

    sources: Sequence[SplitSource]
    divisions: dict[Place, Division]
    holds: dict[str, Holds]
    surveys: dict[str, Survey]
    classes: ClassMap
    of_classes: dict[str, Survey]
    tallies: dict[str, Tally]
    merge: Merge | None


def _plan(sources: Sequence[SplitSource], data: DataConfig, merge: Merge | None) -> _Plan:
    divisions = divisions_of(sources)
    holds = {source.name: holds_of_source(source, divisions) for source in sources}
    surveys = {source.name: survey(source.annotations, holds[source.name]) for source in sources}
    classes = class_map(
        label_map([(source, surveys[source.name].categories) for source in sources]), data.classes
    )
    of_classes = {name: classes.mapped(found) for name, found in surveys.items()}
    tallies = {source.name: Tally() for source in sources}
    return _Plan(sources, divisions, holds, surveys, classes, of_classes, tallies, merge)


def _spool_all(
    plan: _Plan,
    work: _Work,
    data: DataConfig,
    policies: dict[str, Policy],
    on_progress: OnLine,
) -> list[ShardJob]:
    """Spreads all splits over spool files; returns the jobs that make shards of them."""
    jobs: list[ShardJob] = []
    parts: dict[str, tuple[spool.Accounts, spool.Accounts]] = {}
    for source in plan.sources:
        name, classes = source.name, plan.classes
        chosen = (plan.holds[name], classes)
        spread = even_spread(plan.surveys[name].image_ids, data.seed, source.shards)
        spooled = _spool(source, work, spread, policies, plan.tallies[name], chosen)
        parts[name] = spooled.listed, spooled.elsewhere
        listed, folder = spooled.listed, work.spool(name)
        check_listed(source, plan.surveys[name], listed, folder, classes.left_out_name)
        pictures = plural(listed.pictures.number, "picture")
        objects = plural(listed.objects.number, "object")
        on_progress(f"{name}: {pictures} and {objects} listed")
        jobs += _jobs(source, work, data, policies, classes, spooled, spread)
    if plan.divisions:
        check_division(parts)
    return jobs


def _gathered(plan: _Plan, done: dict[str, Any], work: _Work, data: DataConfig) -> dict[str, Split]:
    """Returns the splits that were written, none of which lost more than the limits allow."""
    splits: dict[str, Split] = {}
    for source in plan.sources:
        tally = plan.tallies[source.name]
        splits[source.name] = _gather(source.name, done[source.name], work, tally)
        with _hinted(source, plan.of_classes[source.name], plan, data):
            check_losses(_origin(source), tally, data)
    return splits


def _accounted(
    plan: _Plan, work: _Work, data: DataConfig, shown: Callable[[str], str]
) -> dict[str, Any]:
    """Writes the counts and what was refused into the folders; returns the summary."""
    summary = {
        "splits": {source.name: _summary(source, plan, work, data) for source in plan.sources}
    }
    for split in summary["splits"].values():
        split["notes"] = [shown(note) for note in split["notes"]]
    for folder in (work.examples, work.rejects):
        write_json(folder / COUNTS_FILE, summary)
    refused = {
        source.name: refused_of(work.rejects_of(source.name), source, data)
        for source in plan.sources
    }
    if any(refused.values()):
        write_json(work.examples / REFUSED_FILE, refused)
    return summary


def _summary(source: SplitSource, plan: _Plan, work: _Work, data: DataConfig) -> dict[str, Any]:
    """Returns what the summary says of a split whose shards are written."""
    name = source.name
    classes = None if data.classes is None else plan.classes.facts(plan.surveys[name].objects)
    summary = split_summary(
        source, plan.tallies[name], plan.of_classes, plan.divisions, classes, data, plan.merge
    )
    if source.files:
        paths = [index_path(work.examples, name, n, source.shards) for n in range(source.shards)]
        index = joined([read_index(path) for path in paths])
        summary["sources"] = written_by_source(source.files, index)
    return summary


def _origin(source: SplitSource) -> Origin:
    annotations, pictures = (
        " or ".join(map(shown_address, paths)) for paths in zip(*source.places, strict=True)
    )
    return Origin(f"split {source.name!r}", annotations, pictures)


@contextlib.contextmanager
def _hinted(source: SplitSource, found: Survey, plan: _Plan, data: DataConfig) -> Iterator[None]:
    """Adds to the error of a split what fits instead.

    Raises:
        DatasetError: what the body raises, with hints.
    """
    try:
        yield
    except DatasetError as error:
        hints = [*(plan.merge.hints(data.box_format) if plan.merge else []), *notes_on(found, data)]
        if "picture_missing" in str(error) or "picture_ending_differs" in str(error):
            hints = [*_why_missing(source, found, plan.sources, data.picture_prefix), *hints]
        raise with_notes(error, hints) from None


def _why_missing(
    source: SplitSource, found: Survey, sources: Sequence[SplitSource], prefix: str
) -> list[str]:
    """Returns what fits the names of a split's missing pictures; a store is not searched."""
    if any(is_address(pictures) for other in sources for _, pictures in other.places):
        return []
    if source.files:
        return why_missing_in_sources(source.files, found, prefix)
    names = [image.get("file_name") for image in found.images if isinstance(image, dict)]
    texts = [name for name in names if isinstance(name, str) and name]
    folders = {other.name: str(other.pictures) for other in sources if other != source}
    hint = why_missing(texts, str(source.pictures), prefix, folders)
    return [hint] if hint else []


def _spool(
    source: SplitSource,
    work: _Work,
    spread: Spread,
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
            spread,
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
    spread: Spread,
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
            pictures=str(absolute(source.pictures)),
            rejects=str(work.rejects_part(source.name, f"{shard:05d}")),
            max_picture_pixels=data.max_picture_pixels,
            policies=policies,
            categories=classes.by_id,
            annotations_file=os.path.abspath(source.annotations),
            hashes=hashes,
            spooled=spooled.shards[shard],
            forms=Forms.of(data),
            picture_prefix=data.picture_prefix,
            portion=source.portion,
            not_kept=frozenset(classes.left_out),
            files=tuple(file._replace(pictures=absolute(file.pictures)) for file in source.files),
        )
        for shard, hashes in enumerate(spread.ranges())
    ]


def _gather(
    name: str, done: Sequence[tuple[ShardJob, ShardResult]], work: _Work, tally: Tally
) -> Split:
    """Joins a split's rejects and counts; returns its part of the manifest.

    Raises:
        DatasetError: a picture or an object was lost.
    """
    target = work.rejects_of(name)
    target.parent.mkdir(parents=True)
    homeless_path = work.rejects_part(name, "homeless")
    with open(target, "wb") as joined:
        with open(homeless_path, "rb") as homeless:
            shutil.copyfileobj(homeless, joined)
        for job, result in done:
            own = Tally.from_json(result.counts)
            copy_rejects(job, own, joined)
            tally.add(own)
    parts: list[str | os.PathLike[str]] = [homeless_path, *(job.rejects for job, _ in done)]
    check_rejects(name, target, tally, parts)
    split = merged_shards([result for _, result in done])
    check_manifest(name, split["shards"], tally)
    return split
