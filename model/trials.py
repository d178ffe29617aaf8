"""What a tuning tries: settings, each trained for a few steps in processes of its own.

One that runs out of memory is a row of the table. What is measured is written beside the result
after every trial.
"""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.loader import checked
from ground.console import read_json
from ground.errors import ConfigError, TrainingError
from ground.files import json_digest, remove, write_json
from ground.progress import SECONDS_BETWEEN_LINES
from ground.unfinished import undone_at_a_forced_end
from model.examples import TRAINING_SPLIT, read_manifest
from model.input.buckets import read_buckets, training_buckets, write_buckets
from model.input.index import index_path, joined, read_index
from model.launch.errors import TrainingStopped
from model.launch.host import visible_gpus
from model.launch.launcher import train
from model.launch.progress import ProgressPrinter
from model.limits import machine_limits
from model.training.events import Event, RunStarted, StepDone
from model.training_settings import TrainingSettings

TRIAL_MODULE = "model.launch.trial"


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


def setting_text(setting: Setting) -> str:
    """Returns a setting in one line."""
    return "  ".join(setting_cells(setting))


def setting_cells(setting: Setting) -> list[str]:
    """Returns a setting as the first cells of a row of the table."""
    parts = f" x{setting.accumulate}" if setting.accumulate > 1 else ""
    return [
        f"{setting.workers}x{setting.pictures}{parts}",
        setting.precision,
        f"jit {setting.jit}",
        f"{setting.buckets} buckets",
    ]


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
        self._on_trial(setting_text(setting))
        trial = self._train(setting)
        self.trials.append(trial)
        notes = {"key": self._key, "trials": [dataclasses.asdict(trial) for trial in self.trials]}
        write_json(self._notes_path, notes)
        return trial

    def _train(self, setting: Setting) -> Trial:
        events: list[Event] = []
        printer = ProgressPrinter(SECONDS_BETWEEN_LINES)

        def heard(event: Event) -> None:
            events.append(event)
            if isinstance(event, StepDone):
                printer(event)

        with (
            tempfile.TemporaryDirectory(prefix="tfx-rcnn-tune-") as folder,
            undone_at_a_forced_end(lambda: remove(Path(folder))),
        ):
            examples = examples_with_buckets(
                self._examples_dir, Path(folder) / "examples", self._config, setting.buckets
            )
            try:
                train(
                    self._config_of(setting, len(read_buckets(examples))),
                    examples,
                    Path(folder) / "out",
                    on_progress=heard,
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


def are_notes(path: Path) -> bool:
    """Returns whether a file is what a `TrialRunner` notes."""
    try:
        notes = read_json(path, ConfigError)
    except ConfigError:
        return False
    return isinstance(notes, dict) and notes.keys() == {"key", "trials"}
