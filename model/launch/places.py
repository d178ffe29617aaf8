"""Where a training writes, and that it may."""

import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from ground.output_record import SUMMARY_FILE
from ground.outputs import Paths, check_folder, check_pattern, growing_folder
from model.model_folder import check_model_place
from model.tracking.tracking import IDS_FILE, WANDB_FOLDER
from model.training.checkpoints import run_folder
from model.training.storage import is_remote

WRITER = "model.train"
_RUN_NAMES = (
    "checkpoints",
    "job.json",
    "logs",
    "status",
    "tensorboard",
    "throughput.json",
    IDS_FILE,
    WANDB_FOLDER,
)
_RUN_KEY = re.compile(r"[0-9a-f]{16}")


class Places(NamedTuple):
    """Where a run writes.

    Attributes:
        checkpoints_dir: with a folder of checkpoints for each run; absolute, or a URI.
        work_dir: all that grows during the run.
        run_dir: the same at its end, where the two differ.
    """

    checkpoints_dir: str
    work_dir: Path
    run_dir: Path


def places_of(checkpoints_dir: str | os.PathLike[str] | None, run_dir: Path, key: str) -> Places:
    """Returns the chief's places for `checkpoints_dir` and `run_dir` as `train` takes them."""
    if checkpoints_dir and is_remote(os.fspath(checkpoints_dir)):
        return Places(os.fspath(checkpoints_dir), run_dir, run_dir)
    if checkpoints_dir:
        stable_dir = os.path.abspath(checkpoints_dir)
        return Places(stable_dir, Path(run_folder(stable_dir, key)), run_dir)
    return Places(str(run_dir / "checkpoints"), run_dir, run_dir)


def claim_output(out: str | os.PathLike[str], checkpoints_dir: str | None, inputs: Paths) -> None:
    """Notes that `model/`, `run/` and the summary in `out` are a training's.

    Raises:
        OutputError: `out`, or the folder of the checkpoints, is or lies in an input, or holds what
            is not ours.
    """
    inputs = list(inputs)
    check_pattern(out, "--out")
    if checkpoints_dir and not is_remote(checkpoints_dir):
        check_folder(checkpoints_dir, WRITER, [], inputs, "--checkpoints", _are_checkpoints)
    growing_folder(out, WRITER, ["model", "run", SUMMARY_FILE], inputs, is_earlier=_is_training)


def claim_places(places: Places, model_dir: str, inputs: Paths) -> None:
    """Notes that a training writes into its places; to be called by the chief.

    Raises:
        OutputError: one of them is or lies in an input, or holds what is not ours.
    """
    inputs = list(inputs)
    check_model_place(model_dir, inputs)
    names = [*_RUN_NAMES, SUMMARY_FILE]
    growing_folder(places.run_dir, WRITER, names, inputs, is_earlier=_is_run)
    is_apart = places.work_dir != places.run_dir
    if is_apart:
        growing_folder(
            places.checkpoints_dir,
            WRITER,
            [],
            inputs,
            "--checkpoints",
            is_earlier=_are_checkpoints,
        )
        check_folder(places.work_dir, WRITER, [], inputs, "--checkpoints", _is_run)


def _is_training(out: Path) -> bool:
    """Returns whether a folder without a record is the output of an earlier version's training."""
    names = {name for name in os.listdir(out) if not name.startswith(".")}
    return (
        names <= {"model", "run", SUMMARY_FILE} and (out / "run").is_dir() and _is_run(out / "run")
    )


def _is_run(folder: Path) -> bool:
    """Returns whether a folder without a record is a run of an earlier version."""
    marks = {"job.json": "examples_dir", "throughput.json": "images_per_second"}
    return any(key in _keys(folder / name) for name, key in marks.items())


def _keys(path: Path) -> set[str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    return set(content) if isinstance(content, dict) else set()


def _are_checkpoints(folder: Path) -> bool:
    """Returns whether a folder without a record holds nothing but folders of our runs."""
    names = [name for name in os.listdir(folder) if not name.startswith(".")]
    return all(_RUN_KEY.fullmatch(name) and (folder / name).is_dir() for name in names)
