"""Several sources as one COCO file, in a scratch folder beside the output while it is made."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from components.coco_example_gen.source import MERGED_FILE, SplitSource
from ground.errors import ConfigError, DatasetError
from ground.files import remove
from ground.unfinished import undone_at_a_forced_end
from model.coco.hints import why_missing
from model.coco.merge import SOURCE_STRIDE, Merge, SourceFile, in_own_ids, source_of
from model.coco.survey import Survey
from model.coco.values import integer_at
from model.input.index import ShardIndex

_SCRATCH = ".merged"


@contextlib.contextmanager
def merged(
    sources: Sequence[SplitSource], folder: Path, on_progress: Callable[[str], None]
) -> Iterator[tuple[list[SplitSource], Merge | None]]:
    """Yields splits whose JSON is there, and what was merged; None where nothing is.

    Args:
        sources: the splits.
        folder: gets a scratch folder, which vanishes; nobody else may be at work there.
        on_progress: called with a line a file.

    Raises:
        DatasetError: a source is missing, cut off or no COCO file; or as the body, with the ids of
            the sources' own files.
        ConfigError: the body raises it.
    """
    files = sorted({file for source in sources for file in source.files})
    if not files:
        yield list(sources), None
        return
    scratch = folder / _SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    paths: dict[tuple[SourceFile, ...], Path] = {}
    try:
        merge = Merge(files)
        for source in sources:
            if source.files not in paths:
                paths[source.files] = scratch / f"{source.name}-{MERGED_FILE}"
                merge.write(paths[source.files], source.files)
        on_progress(f"{len(files)} sources merged")
        with undone_at_a_forced_end(lambda: remove(scratch)):
            yield [each._replace(annotations=paths[each.files]) for each in sources], merge
    except (DatasetError, ConfigError) as error:
        message = in_own_ids(str(error), files)
        for path in paths.values():
            message = message.replace(str(path), "data.sources")
        raise type(error)(message) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def written_by_source(files: Sequence[SourceFile], index: ShardIndex) -> dict[str, dict[str, int]]:
    """Returns how many pictures and objects of each source a split has, by the source's name.

    Args:
        files: the split's sources.
        index: index of its records.
    """
    numbers = index.image_id // SOURCE_STRIDE
    counts = {}
    for file in files:
        is_own = numbers == file.number
        objects = int(index.num_objects[is_own].sum())
        counts[file.name] = {"pictures": int(is_own.sum()), "objects": objects}
    return counts


def why_missing_in_sources(files: Sequence[SourceFile], found: Survey, prefix: str) -> list[str]:
    """Returns what fits the names of missing pictures, a line a source that misses some.

    Args:
        files: the sources.
        found: in the merged file.
        prefix: `data.picture_prefix`.
    """
    names: dict[SourceFile, list[str]] = {}
    for image in found.images:
        if not isinstance(image, dict):
            continue
        image_id, name = integer_at(image, "id"), image.get("file_name")
        if image_id is not None and isinstance(name, str) and name.strip():
            file = source_of(image_id, files)
            names.setdefault(file, []).append(file.own_name(name))
    hints = [(file, why_missing(own, str(file.pictures), prefix)) for file, own in names.items()]
    return [f"{file.annotations}: {hint}" for file, hint in hints if hint]
