"""Finds fast settings for the machine it runs on: `python -m model.tune --config C --examples T`.

Each trial trains a few steps by the launcher, so in processes of its own: one that runs out of
memory is a row of the table. One setting after another is varied and its best value kept. What is
measured is written beside the result after every trial; the same command again goes on there.
"""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from configs.loader import apply_overrides, checked
from ground.console import read_json
from ground.errors import ConfigError, TrainingError
from ground.files import atomic_path, json_digest, write_json
from ground.outputs import marked_text
from model.examples import TRAINING_SPLIT, read_manifest
from model.input.buckets import read_buckets, training_buckets, write_buckets
from model.input.index import index_path, joined, read_index
from model.launch.errors import TrainingStopped
from model.launch.host import visible_gpus
from model.launch.launcher import train
from model.limits import machine_limits
from model.training.events import Event, RunStarted
from model.training_settings import TrainingSettings

TRIAL_MODULE = "model.launch.trial"
DIMENSIONS = ("precision", "jit", "batch", "buckets")
# What a change must gain: a few steps are not measured better than this.
LEAST_GAIN = 1.03


@dataclass(frozen=True)
class Setting:
    """What a trial trains with.

    Attributes:
        workers: N of NxM.
        pictures: M of NxM.
        accumulate: batches of NxM in a step.
        precision: Keras dtype policy.
        jit: "on" or "off".
        buckets: how many input shapes.
    """

    workers: int
    pictures: int
    accumulate: int
    precision: str
    jit: str
    buckets: int

    @property
    def global_batch(self) -> int:
        """Pictures of a step."""
        return self.workers * self.pictures * self.accumulate

    def changes(self) -> dict[str, Any]:
        """Returns the settings of a config that make it so."""
        return {
            "transform": {"max_buckets": self.buckets},
            "train": {
                "batch": f"{self.workers}x{self.pictures}",
                "workers": self.workers,  # wins where the config below names its own
                "accumulate": self.accumulate,
                "precision": self.precision,
                "jit": self.jit,
            },
        }


@dataclass(frozen=True)
class Trial:
    """What came of one setting.

    Attributes:
        setting: what was tried.
        verdict: "ok", "out of memory" or "failed: why".
        images_per_second: pictures a second of all workers; 0 unless "ok".
        step_seconds: median.
        peak_memory_mib: memory of the worker that took most, on its GPU where there is one.
        device: what the workers ran on.
    """

    setting: Setting
    verdict: str
    images_per_second: float = 0.0
    step_seconds: float = 0.0
    peak_memory_mib: float = 0.0
    device: str = ""


RunTrial = Callable[[Setting], Trial]


@dataclass(frozen=True)
class Machine:
    """What may be tried on it.

    Attributes:
        workers: processes at most, one a GPU or a core.
        precisions: worth a trial.
    """

    workers: int
    precisions: tuple[str, ...]


def this_machine() -> Machine:
    """Returns what the environment tells; TensorFlow is not loaded for it."""
    gpus = visible_gpus(os.environ)
    if gpus:
        return Machine(len(gpus), ("mixed_bfloat16", "mixed_float16", "float32"))
    # Without instructions for bfloat16 a CPU was measured 12 times slower in it.
    with contextlib.suppress(OSError):
        if "avx512_bf16" in Path("/proc/cpuinfo").read_text():
            return Machine(machine_limits().cores, ("float32", "mixed_bfloat16"))
    return Machine(machine_limits().cores, ("float32",))


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


class TrialRunner:
    """Measures settings by training, and remembers what was measured.

    Args:
        config: what every setting is laid over.
        examples_dir: CocoTransform's examples.
        steps: measured in each trial, after the first of each bucket.
        seconds: that a step, its compilation included, may take.
        notes_path: file of what was measured before; written after each trial.
        on_trial: is called with the words for a setting before it is measured.
    """

    def __init__(
        self,
        config: TrainingSettings,
        examples_dir: str | os.PathLike[str],
        steps: int,
        seconds: float,
        notes_path: Path,
        on_trial: Callable[[str], None] = lambda setting: None,
    ) -> None:
        self._config = config
        self._examples_dir = Path(examples_dir)
        self._steps = steps
        self._seconds = seconds
        self._notes_path = notes_path
        self._on_trial = on_trial
        self._key = json_digest(
            {
                "config": config.model_dump(mode="json"),
                "examples": read_manifest(examples_dir)["digest"],
                "steps": steps,
                "machine": dataclasses.asdict(this_machine()),
            }
        )
        self.trials = self._read_notes()

    def __call__(self, setting: Setting) -> Trial:
        """Returns the trial of a setting, from the notes if it is there."""
        known = next((trial for trial in self.trials if trial.setting == setting), None)
        if known:
            return known
        self._on_trial(_setting_text(setting))
        trial = self._train(setting)
        self.trials.append(trial)
        notes = {"key": self._key, "trials": [dataclasses.asdict(trial) for trial in self.trials]}
        write_json(self._notes_path, notes)
        return trial

    def _train(self, setting: Setting) -> Trial:
        events: list[Event] = []
        with tempfile.TemporaryDirectory(prefix="tfx-rcnn-tune-") as folder:
            examples = examples_with_buckets(
                self._examples_dir, Path(folder) / "examples", self._config, setting.buckets
            )
            try:
                train(
                    self._config_of(setting, len(read_buckets(examples))),
                    examples,
                    Path(folder) / "out",
                    on_progress=events.append,
                    worker_module=TRIAL_MODULE,
                )
            except TrainingStopped:
                raise
            except (TrainingError, ConfigError) as error:
                return Trial(setting, verdict_of(error))
            figures = read_json(Path(folder) / "out" / "run" / "throughput.json", TrainingError)
        memory = [
            row["peak_gpu_memory_mib"] or row["peak_memory_mib"] for row in figures["per_worker"]
        ]
        return Trial(
            setting,
            "ok",
            figures["images_per_second"],
            figures["step_seconds_p50"],
            max(memory),
            next(event.device for event in events if isinstance(event, RunStarted)),
        )

    def _config_of(self, setting: Setting, buckets: int) -> TrainingSettings:
        changes = setting.changes()["train"] | {
            "max_steps": self._steps + buckets,  # the first of each is compiled
            "epochs": 1e6,
            "checkpoint_every_steps": 10**9,
            "heartbeat_seconds": self._seconds,
            "max_restarts": 0,
            "profile_steps": None,
            "picture_every_steps": 0,
            "validate_every_epochs": 0,
            "patience_validations": 0,
        }
        settings = self._config.model_dump(mode="json")
        return checked(
            TrainingSettings, settings | {"train": settings["train"] | changes}, "config"
        )

    def _read_notes(self) -> list[Trial]:
        if not self._notes_path.exists():
            return []
        notes = read_json(self._notes_path, ConfigError)
        if notes.get("key") != self._key:
            return []
        return [
            Trial(**(note | {"setting": Setting(**note["setting"])})) for note in notes["trials"]
        ]


def verdict_of(error: Exception) -> str:
    """Returns "out of memory", found by TensorFlow or by the kernel, or "failed: why"."""
    text = " ".join(str(error).split())
    return "out of memory" if "out of memory" in text else f"failed: {text[:120]}"


def examples_with_buckets(
    examples_dir: Path, target: Path, config: TrainingSettings, max_buckets: int
) -> Path:
    """Returns a folder with the same records, to be batched in fewer shapes.

    Args:
        examples_dir: CocoTransform's examples.
        target: gets links to them, and other buckets; not made where they have no more than asked.
        config: its `input`.
        max_buckets: at most so many shapes.
    """
    if len(read_buckets(examples_dir)) <= max_buckets:
        return examples_dir
    target.mkdir()
    for path in examples_dir.iterdir():
        (target / path.name).symlink_to(path.resolve())
    shards = len(read_manifest(examples_dir)["splits"][TRAINING_SPLIT]["shards"])
    index = joined(
        [read_index(index_path(examples_dir, TRAINING_SPLIT, n, shards)) for n in range(shards)]
    )
    buckets = training_buckets(config.input, index.height, index.width, max_buckets)
    write_buckets(target, buckets)  # takes the place of the link, not of the file behind it
    return target


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


def are_notes(path: Path) -> bool:
    """Returns whether a file is what a `TrialRunner` notes."""
    try:
        notes = read_json(path, ConfigError)
    except ConfigError:
        return False
    return isinstance(notes, dict) and notes.keys() == {"key", "trials"}


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


def _setting_text(setting: Setting) -> str:
    return "  ".join(_setting_cells(setting))


def _setting_cells(setting: Setting) -> list[str]:
    parts = f" x{setting.accumulate}" if setting.accumulate > 1 else ""
    return [
        f"{setting.workers}x{setting.pictures}{parts}",
        setting.precision,
        f"jit {setting.jit}",
        f"{setting.buckets} buckets",
    ]


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
        rows.append([*_setting_cells(trial.setting), *figures, verdict])
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
