"""Finds fast settings for the machine it runs on: `python -m model.tune --config C --examples T`.

Each trial trains a few steps by the launcher, so in processes of its own: one that runs out of
memory is a row of the table. One setting after another is varied and its best value kept. What is
measured is written beside the result after every trial; the same command again goes on there.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from configs.loader import apply_overrides
from ground.files import atomic_path
from ground.outputs import marked_text
from model.launch.host import visible_gpus
from model.training_settings import TrainingSettings
from model.trials import Machine, Setting, Trial, setting_cells

DIMENSIONS = ("precision", "jit", "batch", "buckets")
# What a change must gain: a few steps are not measured better than this.
LEAST_GAIN = 1.03


RunTrial = Callable[[Setting], Trial]


def search(
    first: Setting,
    machine: Machine,
    run: RunTrial,
    dimensions: Iterable[str] = DIMENSIONS,
    change_batch: bool = False,
) -> Trial | None:
    """Varies one dimension after the other from the best so far; returns the best trial.

    Args:
        first: where to begin.
        machine: limits.
        run: measures one setting; asked for the same one twice it may be called twice.
        dimensions: some of `DIMENSIONS`, in the order to vary them.
        change_batch: whether the pictures of a step may change.

    Returns:
        None where nothing could be trained.
    """
    best = run(first)
    for dimension in dimensions:
        for setting in _neighbours(best.setting, dimension, machine):
            best = _better(best, run(setting))
        if dimension == "batch":
            best = _smaller_parts(best, run)
            best = _larger_batches(best, run) if change_batch else best
    return best if best.images_per_second else None


def _neighbours(best: Setting, dimension: str, machine: Machine) -> list[Setting]:
    """Returns the other values of one dimension, of equal global batch."""
    if dimension == "precision":
        others = [replace(best, precision=precision) for precision in machine.precisions]
    elif dimension == "jit":
        others = [replace(best, jit=jit) for jit in ("on", "off")]
    elif dimension == "batch":
        workers = [n for n in range(machine.workers, 0, -1) if best.global_batch % n == 0]
        others = [
            replace(best, workers=n, pictures=best.global_batch // n, accumulate=1) for n in workers
        ]
    else:
        others = [replace(best, buckets=count) for count in range(1, best.buckets)]
    return [setting for setting in others if setting != best]


def _smaller_parts(best: Trial, run: RunTrial) -> Trial:
    """Accumulates over smaller and smaller batches while that fits better or is faster."""
    tried = best
    while tried.setting.pictures % 2 == 0:
        halved = replace(
            tried.setting,
            pictures=tried.setting.pictures // 2,
            accumulate=tried.setting.accumulate * 2,
        )
        tried = run(halved)
        if tried.images_per_second and _better(best, tried) is best:
            return best
        best = _better(best, tried)
    return best


def _larger_batches(best: Trial, run: RunTrial) -> Trial:
    """Doubles the pictures of a worker as long as that gains."""
    while best.images_per_second:
        larger = run(replace(best.setting, pictures=best.setting.pictures * 2))
        if _better(best, larger) is best:
            break
        best = larger
    return best


def _better(best: Trial, other: Trial) -> Trial:
    gains = other.images_per_second > best.images_per_second * LEAST_GAIN
    return other if gains else best


def first_setting(config: TrainingSettings, machine: Machine, buckets: int) -> Setting:
    """Returns the config's own setting, with as many workers as the machine has.

    Args:
        config: its `train`; `auto` is the machine's.
        machine: limits.
        buckets: how many the examples have.
    """
    settings = config.train
    if settings.has_auto_workers:
        settings = settings.with_workers(machine.workers)
    total = settings.global_batch
    workers = max(n for n in range(1, min(machine.workers, settings.workers) + 1) if total % n == 0)
    accumulate = settings.accumulate if workers == settings.workers else 1
    return Setting(
        workers,
        total // workers // accumulate,
        accumulate,
        machine.precisions[0] if settings.precision == "auto" else settings.precision,
        settings.jit if settings.jit != "auto" else ("on" if visible_gpus(os.environ) else "off"),
        buckets,
    )


def write_config(
    path: Path, base: Path, best: Trial, table: list[list[str]], overrides: Iterable[str] = ()
) -> None:
    """Writes the best setting over `base`, with the table of trials in its header.

    Args:
        path: the file to write.
        base: the config that was tuned.
        best: its setting is written.
        table: rows of all trials.
        overrides: the `key=value` changes of `base` with which they were made.
    """
    lines = [
        f"Found by model.tune on {best.device}. Batch, precision, jit, buckets, images/s, median",
        "step in seconds, peak memory of a worker in MiB, verdict:",
        *("  ".join(row) for row in table),
    ]
    header = "".join(f"# {line}\n" for line in lines)
    settings: dict[str, Any] = {"base": os.path.relpath(base, path.parent)}
    apply_overrides(settings, overrides, "--set ")
    for section, changes in best.setting.changes().items():
        settings[section] = {**settings.get(section, {}), **changes}
    with atomic_path(path) as partial:
        text = header + yaml.safe_dump(settings, sort_keys=False)
        partial.write_text(marked_text(text), encoding="utf-8")


def table_of(trials: list[Trial], best: Trial | None) -> list[list[str]]:
    """Returns the rows of the table, in the order of the trials."""
    rows = []
    for trial in trials:
        figures = ["-", "-", "-"]
        if trial.verdict == "ok":
            figures = [
                f"{trial.images_per_second:.2f}",
                f"{trial.step_seconds:.3f}",
                f"{trial.peak_memory_mib:.0f}",
            ]
        verdict = "best" if trial == best else trial.verdict
        rows.append([*setting_cells(trial.setting), *figures, verdict])
    return rows


COLUMNS = [
    "batch",
    "precision",
    "jit",
    "buckets",
    "images/s",
    "step p50, s",
    "peak, MiB",
    "verdict",
]


if __name__ == "__main__":
    from model.commands import run_command

    run_command("tune")
