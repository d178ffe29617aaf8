"""From what a user names to an album: a COCO folder or file, examples, an evaluation, a run."""

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.data_schema import SPLIT_NAMES, DataInput
from configs.loader import default_config, load_config
from configs.schema import DataConfig
from ground.errors import ConfigError, DatasetError
from model.coco.kind import is_instances
from model.coco.names import SAME_NAME, find_picture, is_called_masks, likeness
from model.coco.stream import IMAGES, iterate_file
from pipeline.look.album import Album
from pipeline.look.of_coco import CocoFile, add_coco_file
from pipeline.look.of_examples import add_examples, is_examples_folder, splits_of
from pipeline.look.truth import Truth

OWN_CONFIG = "tfx-rcnn.yaml"  # what `tfx-rcnn init` writes into a data folder
_SAMPLE = 5  # pictures that are looked for in a folder
_MOST_FOLDERS = 300
_DECISION_FILE, _DETECTIONS_FILE = "decision.json", "detections.json"  # of CocoEvaluator
_ARTIFACTS = Path("artifacts", "CocoExampleGen")  # below a run's root
_EXECUTION = re.compile(r"[0-9]+")
_ABOVE = re.compile("annotation|label|json", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """What a user asks to see.

    Attributes:
        what: a COCO-format folder or JSON file, an examples or evaluation folder, a run's root.
        pictures: folder of the pictures of a JSON file; None looks for it.
        config: whose `data` says how COCO files are read; None is the folder's own, or none.
        overrides: `KEY=VALUE` changes to it.
        detections: a file in COCO's results form.
        examples: what an evaluation was measured on.
        annotations: COCO file that an evaluation was measured on.
        split: only this one.
    """

    what: Path
    pictures: Path | None = None
    config: Path | None = None
    overrides: tuple[str, ...] = ()
    detections: Path | None = None
    examples: Path | None = None
    annotations: Path | None = None
    split: str | None = None

    def data(self) -> tuple[DataConfig, bool]:
        """Returns how COCO files are read, and whether a config says where they lie."""
        own = self.what / OWN_CONFIG
        path = self.config or (own if own.is_file() else None)
        if path is not None:
            return load_config(path, self.overrides).data, True
        return default_config(self.overrides).data, bool(self.overrides)


@dataclass
class Found:
    """An album, and the files and folders that it was read from."""

    album: Album
    inputs: list[Path]


def album_of(request: Request) -> Found:
    """Returns what a user asks to see.

    Raises:
        ConfigError: the config is wrong, or an option is missing or has no use here.
        DatasetError: there is nothing of these kinds, or it is damaged.
    """
    what = request.what
    if not what.exists():
        raise DatasetError(f"{what}: no such file or folder")
    if what.is_file():
        return _with_detections(request, read_coco(request, [coco_file(what, request.pictures)]))
    examples = next((e for e in (what, what / "examples") if is_examples_folder(e)), None)
    if examples is not None:
        return _with_detections(request, read_examples(request, examples))
    if _is_evaluation(what):
        return _evaluation(request, what)
    if (what / _ARTIFACTS).is_dir():
        return _run(request)
    return _with_detections(request, read_coco(request, _coco_files(request)))


@dataclass
class Read:
    """An album, and what is to be found in each of its parts."""

    found: Found
    truths: list[Truth]


def read_coco(request: Request, files: list[CocoFile]) -> Read:
    """Returns what lies in COCO files.

    Raises:
        DatasetError: a file is damaged, or none is of the split that is asked for.
    """
    data, _ = request.data()
    album = Album(str(request.what))
    truths = [
        add_coco_file(album, file, data, request.split)
        for file in files
        if not file.split or request.split in (None, file.split)
    ]
    if not album.pictures:
        split_here = SPLIT_NAMES if data.split is not None else ()
        names = ", ".join([*(file.split for file in files if file.split), *split_here])
        raise DatasetError(f"{request.what}: no split named {request.split!r}, only {names}")
    inputs = [path for file in files for path in (file.annotations, file.pictures)]
    return Read(Found(album, inputs), truths)


def read_examples(request: Request, examples: Path) -> Read:
    """Returns what lies in an examples folder.

    Raises:
        DatasetError: it is one of CocoTransform, damaged, or has no such split.
    """
    from components.coco_transform.source import check_source

    check_source(examples)
    album = Album(str(examples))
    truths = [add_examples(album, examples, split) for split in splits_of(examples, request.split)]
    return Read(Found(album, [examples]), truths)


def _with_detections(request: Request, read: Read) -> Found:
    """Returns what was read, with the detections of a file where one is given."""
    if request.examples or request.annotations:
        raise ConfigError(
            f"{request.what}: --examples and --annotations go with an evaluation's folder"
        )
    if request.detections is None:
        return read.found
    if len(read.truths) != 1:
        names = ", ".join(read.found.album.splits)
        which = f"say of which split they are with --split ({names})"
        if request.split is not None:  # data.sources
            which = f"several files make the split {request.split}: give its examples"
        raise ConfigError(f"--detections: {which}")
    from model.evaluation.results import read_detections
    from pipeline.look.outcomes import add_detections

    detections = read_detections(request.detections)
    add_detections(read.found.album, read.truths[0], detections, str(request.detections))
    read.found.inputs.append(request.detections)
    return read.found


def _is_evaluation(folder: Path) -> bool:
    return all((folder / name).is_file() for name in (_DECISION_FILE, _DETECTIONS_FILE))


def _evaluation(request: Request, folder: Path) -> Found:
    from pipeline.look.of_evaluation import read_evaluation  # loads what decides

    return read_evaluation(request, folder)


def _run(request: Request) -> Found:
    """Returns what the newest execution of a run's nodes left: examples, with what was found."""
    examples = _newest(request.what / _ARTIFACTS / "examples", is_examples_folder)
    evaluations = request.what / "artifacts" / "CocoEvaluator" / "evaluation"
    evaluation = _newest(evaluations, _is_evaluation)
    if evaluation is not None and request.split in (None, "eval") and request.detections is None:
        return _evaluation(request, evaluation)
    if examples is None:
        raise DatasetError(f"{request.what}: no examples in it: the run has not come so far")
    return _with_detections(request, read_examples(request, examples))


def _newest(folder: Path, is_one: Any) -> Path | None:
    """Returns the folder of the last execution that left something of a kind."""
    found = folder.iterdir() if folder.is_dir() else iter(())
    numbers = sorted((int(p.name), p) for p in found if _EXECUTION.fullmatch(p.name))
    return next((path for _, path in reversed(numbers) if is_one(path)), None)


def _coco_files(request: Request) -> list[CocoFile]:
    """Returns the COCO files of a folder: those that the config names, or all that there are."""
    data, is_told = request.data()
    folder = request.what
    inputs = [_input(folder, each) for each in data.inputs()]
    there = [file for file in inputs if file.annotations.is_file()]
    if is_told or there:
        missing = [str(file.annotations) for file in inputs if file not in there]
        if is_told and missing:
            raise DatasetError(f"{missing[0]}: no such annotation file, which the config names")
        return there
    candidates = sorted({*folder.glob("*.json"), *folder.glob("*/*.json")})
    found = [path for path in candidates if is_instances(path)]
    if not found:
        raise DatasetError(
            f"{folder}: neither COCO JSON nor examples, an evaluation or a run is in it: name the "
            "JSON file itself, or give --config"
        )
    return [coco_file(path, request.pictures) for path in found]


def _input(folder: Path, each: DataInput) -> CocoFile:
    return CocoFile(folder / each.annotations, folder / each.pictures, each.split or "")


def coco_file(annotations: Path, pictures: Path | None) -> CocoFile:
    """Returns a COCO file with the folder of its pictures, which is looked for if not given.

    Raises:
        DatasetError: there is no such folder, or none with its pictures.
    """
    name = annotations.stem.removeprefix("instances_")
    if name.startswith(("_", ".")):  # Roboflow's train/_annotations.coco.json
        name = annotations.parent.name
    if pictures is not None:
        if not pictures.is_dir():
            raise DatasetError(f"--pictures {pictures}: no such folder")
        return CocoFile(annotations, pictures, name)
    names = list(_names_of_pictures(annotations))
    folder = _folder_of(names, annotations)
    if folder is None:
        raise DatasetError(
            f"{annotations}: its pictures (such as {names[0] if names else 'none'}) are in no "
            "folder beside it: give --pictures FOLDER"
        )
    return CocoFile(annotations, folder, name)


def _folder_of(names: list[str], annotations: Path) -> Path | None:
    """Returns the folder that has one of the pictures; None where none does.

    Masks differ from their pictures in the ending alone, or in the folder: the first folder that
    has a picture by its very name and is not called by masks, else that which comes nearest to it.
    """
    best, folder_of_best = (0, False), None
    for folder in _folders_near(annotations):
        found = [(each, find_picture(folder, each)) for each in names]
        alike = [likeness(each, f) for each, f in found if (folder / f.name).is_file()]
        is_of_pictures = not is_called_masks(os.path.relpath(folder, annotations.parent))
        if alike and (max(alike), is_of_pictures) > best:
            best, folder_of_best = (max(alike), is_of_pictures), folder
        if best == (SAME_NAME, True):
            break
    return folder_of_best


def _names_of_pictures(annotations: Path) -> Iterator[str]:
    number = 0
    for key, image in iterate_file(annotations, {}):
        name = image.get("file_name") if key == IMAGES and isinstance(image, dict) else None
        if isinstance(name, str) and "\0" not in name:
            yield name
            number += 1
        if number == _SAMPLE:
            return


def _folders_near(annotations: Path) -> Iterator[Path]:
    """Yields the folders in which a COCO file's pictures may lie, the likeliest first."""
    tops = [annotations.parent]
    if _ABOVE.search(annotations.resolve().parent.name):
        tops.append(annotations.parent / "..")
    number = 0
    for top in tops:
        yield top
        below = _folders_in(top)
        deeper = itertools.chain.from_iterable(map(_folders_in, below))  # listed when needed
        for folder in itertools.chain(below, deeper):
            yield folder
            number += 1
            if number == _MOST_FOLDERS:
                return


def _folders_in(folder: Path) -> list[Path]:
    """Returns the folders in a folder; none where it may not be listed, such as lost+found."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except PermissionError:
        return []
