"""Finds the COCO files in a folder, which splits they are, and where their pictures lie."""

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ground.errors import DatasetError
from model.coco.edges import read_edges
from model.coco.kind import is_instances
from model.coco.names import (
    OTHER_KIND,
    SAME_KIND,
    SAME_NAME,
    find_picture,
    is_called_masks,
    likeness,
)
from model.coco.stream import iterate_images
from model.foreign.coco_file import is_as_written

DEEPEST = 4  # levels of folders that are looked at
_MOST_FILES = 200_000
_HEAD_BYTES = 1 << 14
_SAMPLE = 60  # names of pictures
_MOST_LISTED = 6
_LONGEST_SHOWN = 300  # letters of a name
_COCO_KEYS = ('"images"', '"annotations"', '"categories"')
# What COCO's own downloads and others have beside instances.
_OTHER_TASKS = re.compile(r"captions|keypoints|panoptic|image_info|stuff|results|detections|pred")
# The last of these words in a path says which split a file is.
_WORDS = {
    "train": "train", "training": "train", "val": "eval", "valid": "eval", "validation": "eval",
    "eval": "eval", "dev": "eval", "test": "test", "testing": "test",
}  # fmt: skip


class CocoPlace(NamedTuple):
    """A COCO file and the folder of its pictures, both below the data folder.

    Attributes:
        annotations: the file.
        pictures: the folder; "." is the data folder itself.
        prefix: what the file names have in front that no folder has.
        found: how many of a sample of names have a file there.
        looked_for: names in the sample.
        alike: how many of those found have the same name, and one of the same kind at least.
    """

    annotations: str
    pictures: str
    prefix: str
    found: int
    looked_for: int
    alike: tuple[int, int]


def coco_files(data_dir: Path) -> list[str]:
    """Returns what looks like COCO instances files below a folder, sorted; not our own copies.

    Those that are called by another task are left out where there are others.
    """
    found = sorted(
        name
        for name in files_below(data_dir)
        if name.lower().endswith(".json")
        and _looks_like_coco(data_dir / name)
        and not is_as_written(data_dir / name)
    )
    instances = [n for n in found if not _OTHER_TASKS.search(os.path.basename(n).lower())]
    return instances or found


def by_split(names: Sequence[str]) -> dict[str, str]:
    """Returns the file of each split; that of all pictures is "all".

    Of several files of a split those win that are called `instances`.

    >>> by_split(["annotations/instances_train2017.json", "annotations/instances_val2017.json"])
    {'train': 'annotations/instances_train2017.json', 'eval': 'annotations/instances_val2017.json'}
    >>> by_split(["train/_annotations.coco.json", "valid/_annotations.coco.json"])["eval"]
    'valid/_annotations.coco.json'

    Raises:
        DatasetError: several files could be meant.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(split_word(name) or "all", []).append(name)
    for split, several in found.items():
        instances = [n for n in several if os.path.basename(n).startswith("instances")]
        found[split] = instances if instances else several
    if "train" in found:
        found.pop("all", None)
    elif "all" in found:  # which may hold that of evaluation, or not
        found["all"] += found.pop("eval", [])
    order = [split for split in ("train", "eval", "all", "test") if split in found]
    found = {split: found[split] for split in order}
    wanted = [split for split in order if split in ("train", "eval")] or order[:1]
    for split in wanted:
        if len(found[split]) > 1:
            raise DatasetError(
                f"several COCO files could be meant ({_listed(found[split])}): name one by "
                "--annotations FILE, or that of training and that of evaluation by --annotations "
                "twice"
            )
    return {split: files[0] for split, files in found.items() if len(files) == 1}


def split_word(name: str) -> str | None:
    """Returns the split that a path speaks of, by the last word in it that does.

    >>> split_word("train/labels_val.json"), split_word("labels.json")
    ('eval', None)
    """
    words = re.findall(r"[a-z]+", name.lower())
    return next((_WORDS[word] for word in reversed(words) if word in _WORDS), None)


def place_pictures(data_dir: Path, annotations: str) -> CocoPlace:
    """Returns where the pictures of a COCO file lie, as far as a sample of names tells.

    Raises:
        DatasetError: the file is no COCO file, or none of its pictures is anywhere.
    """
    names = _sample_of_names(data_dir / annotations)
    folders = list(_folders(data_dir))
    best = max((_scored(data_dir, annotations, f, names, "") for f in folders), key=_fit)
    if best.found * 2 < len(names):
        best = max([best, *_with_prefix(data_dir, annotations, folders, names)], key=_fit)
    if not best.found and names:
        raise DatasetError(
            f"{data_dir / annotations}: none of its pictures (such as "
            f"{names[0][:_LONGEST_SHOWN]!r}) is in {data_dir} or the folders in it: "
            "put them there, or mend `file_name`"
        )
    return best


def _fit(place: CocoPlace) -> tuple[int, ...]:
    """Returns what the best place has most of.

    Files of the same kind come first: a folder of masks has all names but for the ending, also
    where that of the pictures lacks some. Where masks have the same names, the folder's tells.
    """
    near = _is_near(place.pictures, place.annotations)
    way = os.path.relpath(place.pictures, os.path.dirname(place.annotations) or ".")
    very, of_kind = place.alike
    return of_kind, very, place.found, near, not is_called_masks(way), way == "."


def _scored(
    data_dir: Path, annotations: str, folder: str, names: Sequence[str], prefix: str
) -> CocoPlace:
    below = data_dir / folder
    found = [_likeness(below, name.removeprefix(prefix)) for name in names]
    same, of_kind, number = (
        sum(each >= least for each in found) for least in (SAME_NAME, SAME_KIND, OTHER_KIND)
    )
    return CocoPlace(annotations, folder, prefix, number, len(names), (same, of_kind))


def _likeness(folder: Path, name: str) -> int:
    """Returns how well a picture in a folder goes with a name, as `likeness` does; 0 for none."""
    name = name.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/"):
        return 0
    found = find_picture(folder, name)
    return likeness(name, found) if os.path.lexists(folder / found.name) else 0


def _with_prefix(
    data_dir: Path, annotations: str, folders: Sequence[str], names: Sequence[str]
) -> Iterator[CocoPlace]:
    """Yields where the pictures are if what all names begin with is taken off."""
    folders_of = [name.replace("\\", "/").rpartition("/")[0].split("/") for name in names]
    common = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*folders_of, strict=False))
    prefix = "".join(f"{parts[0]}/" for parts in common)
    while prefix.strip("/"):
        for folder in folders:
            as_written = names[0][: len(prefix)]  # with the backslashes of Windows, perhaps
            yield _scored(data_dir, annotations, folder, names, as_written)
        prefix = prefix[: prefix.rstrip("/").rfind("/") + 1]


def _is_near(folder: str, annotations: str) -> int:
    """Returns how well a folder goes with a file by its name, where two have its pictures."""
    stem = re.sub(r"^instances_", "", Path(annotations).stem).lower()
    if stem == os.path.basename(folder).lower():
        return 2
    return int(split_word(folder) == split_word(annotations) is not None)


def _sample_of_names(path: Path) -> list[str]:
    names = [
        image["file_name"]
        for image in islice(iterate_images(path), 20 * _SAMPLE)
        if isinstance(image, dict) and isinstance(image.get("file_name"), str)
    ]
    step = max(1, len(names) // _SAMPLE)
    return [name for name in names[::step] if "\0" not in name][:_SAMPLE]


def _looks_like_coco(path: Path) -> bool:
    """Returns whether the beginning of a JSON file, or its end, has keys of COCO's.

    One alone may be that of another tool, or the first list may be long: then the file is read.
    """
    try:
        head, tail = read_edges(path, _HEAD_BYTES)
    except OSError:
        return False
    if not head.lstrip().startswith("{"):
        return False
    keys = {key for key in _COCO_KEYS if key in head or key in tail}
    if '"images"' in keys or len(keys) > 1 or '"licenses"' in head:
        return True
    return bool(keys) and is_instances(path)


def _walk(data_dir: Path, too_deep: list[str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Yields (folder below, its files), those that are near first; hidden ones are left out.

    Args:
        data_dir: the folder.
        too_deep: gets the folders that were not looked at.
    """
    waiting, seen = [""], set()
    for _ in range(DEEPEST + 1):
        deeper = []
        for folder in waiting:
            try:
                status = os.stat(data_dir / folder)
                entries = sorted(os.scandir(data_dir / folder), key=lambda entry: entry.name)
            except OSError:
                continue
            if (status.st_dev, status.st_ino) in seen:  # a link that leads back
                continue
            seen.add((status.st_dev, status.st_ino))
            shown = [entry for entry in entries if not entry.name.startswith(".")]
            yield folder, [entry.name for entry in shown if entry.is_file()]
            deeper += [os.path.join(folder, entry.name) for entry in shown if entry.is_dir()]
        waiting = deeper
        if not waiting:
            return
    if too_deep is not None:
        too_deep += waiting


def files_below(data_dir: Path, too_deep: list[str] | None = None) -> Iterator[str]:
    """Yields the files below a folder, in a fixed order; hidden ones and what is deep are not.

    Args:
        data_dir: the folder.
        too_deep: gets the folders that were not looked at.
    """
    below = _walk(data_dir, too_deep)
    paths = (os.path.join(folder, name) for folder, names in below for name in names)
    yield from islice(paths, _MOST_FILES)


def _folders(data_dir: Path) -> Iterator[str]:
    """Yields the folders that pictures could be looked for in."""
    for folder, _ in _walk(data_dir):
        yield folder or "."


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more
