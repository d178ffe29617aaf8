"""The process that an exported model is checked in: loads it, calls it, compares, measures.

    python -m model.serving_check.child FOLDER

FOLDER holds `job.json` (`Job`) and the pictures. What the process is at is appended to
`steps.jsonl` before it begins, so that whoever waits knows where it crashed or hung; what came out
is `answer.json` (`Answer`), and `<number>.npz` the detections in each picture.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ground.errors import DatasetError, ModelError
from model.predict import Detections, LoadedModel
from model.serving_check.agreement import difference, flaw

JOB_FILE, STEPS_FILE, ANSWER_FILE = "job.json", "steps.jsonl", "answer.json"
_PICTURES_A_CALL = 8
_MOST_CALLS = 50  # that are timed
_TIMED_SECONDS = 3.0  # at least every picture once
_MOST_BY_TRAINING = 3  # of the pictures that are not drawn: step by step in Python is slow


@dataclass(frozen=True)
class Job:
    """What is asked.

    Attributes:
        model: folder of the SavedModel.
        pictures: a name for each of the files `0`, `1`, ... in the job's folder.
        drawn: how many of them, the first ones, are drawn; the others are timed.
    """

    model: str
    pictures: list[str]
    drawn: int


@dataclass
class Answer:
    """What came out.

    Attributes:
        problems: what is wrong, a line each, the worst first.
        load_s: time to load the model, seconds.
        latency_p50_ms: median time of a call with one picture.
        latency_p99_ms: time that 99 of 100 such calls keep.
        calls: how many were timed.
        memory_mb: most memory that this process had when the calls were done, 10^6 bytes.
        worst_score: largest difference of scores that was seen in a pair of detections.
    """

    problems: list[str] = field(default_factory=list)
    load_s: float | None = None
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    calls: int = 0
    memory_mb: float | None = None
    worst_score: float = 0.0


class Check:
    """One model's check.

    Args:
        folder: the job's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._job = Job(**json.loads((folder / JOB_FILE).read_text(encoding="utf-8")))
        self._encoded = [(folder / str(n)).read_bytes() for n in range(len(self._job.pictures))]
        self.answer = Answer()

    def run(self) -> None:
        """Does all of it; the first problem of a kind ends what is built on it."""
        model = self._loaded()
        if model is None:
            return
        found = self._in_ones(model)
        if found is None:
            return
        self._in_eights(model, found)
        self._timed(model)
        self.answer.memory_mb = peak_memory_bytes() / 1e6
        self._by_training(model, found)

    def _at(self, what: str) -> None:
        with open(self._folder / STEPS_FILE, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(what) + "\n")

    def _loaded(self) -> LoadedModel | None:
        self._at("it is loaded")
        import tensorflow  # noqa: F401  # its own start is no part of loading a model

        started = time.perf_counter()
        try:
            model = LoadedModel(self._job.model)
        except ModelError as error:
            why = str(error).removeprefix(f"{self._job.model}: ")
            self.answer.problems.append(f"fails in a process of its own, when it is loaded: {why}")
            return None
        self.answer.load_s = time.perf_counter() - started
        return model

    def _in_ones(self, model: LoadedModel) -> list[Detections] | None:
        """Returns what is found in each picture, alone in its call."""
        found = []
        for number, (name, encoded) in enumerate(
            zip(self._job.pictures, self._encoded, strict=True)
        ):
            self._at(f"it is shown {name}")
            try:
                [detections] = model.detect_bytes([encoded])
            except DatasetError as error:
                self.answer.problems.append(f"fails on {name}: {error}")
                continue
            if problem := flaw(detections):
                self.answer.problems.append(f"{problem}, in {name}")
            found.append(detections)
            _write(self._folder / f"{number}.npz", detections)
        return None if self.answer.problems else found

    def _in_eights(self, model: LoadedModel, alone: Sequence[Detections]) -> None:
        for start in range(0, len(self._encoded), _PICTURES_A_CALL):
            part = slice(start, start + _PICTURES_A_CALL)
            count = len(self._encoded[part])
            self._at(f"it is shown {count} pictures in one call, the first {self._name(start)}")
            try:
                found = model.detect_bytes(self._encoded[part])
            except DatasetError as error:
                self.answer.problems.append(f"fails on {count} pictures in one call: {error}")
                return
            self._compare(alone[part], found, start, f"alone and among {count} in one call")

    def _timed(self, model: LoadedModel) -> None:
        """Times calls with one picture; each was shown before, for the first call compiles."""
        pictures = self._encoded[self._job.drawn :] or self._encoded
        seconds: list[float] = []
        self._at("its calls are timed")
        begun = time.perf_counter()
        while len(seconds) < _MOST_CALLS:
            if len(seconds) >= len(pictures) and time.perf_counter() - begun > _TIMED_SECONDS:
                break
            encoded = pictures[len(seconds) % len(pictures)]
            started = time.perf_counter()
            model.detect_bytes([encoded])
            seconds.append(time.perf_counter() - started)
        self.answer.calls = len(seconds)
        self.answer.latency_p50_ms = float(np.percentile(seconds, 50)) * 1000
        self.answer.latency_p99_ms = float(np.percentile(seconds, 99)) * 1000

    def _by_training(self, model: LoadedModel, served: Sequence[Detections]) -> None:
        """Compares with the detector that was trained, around the same weights."""
        self._at("training's detector is built")
        from model.serving_check.training_graph import TrainingGraph

        try:
            trained = TrainingGraph(model.folder, model.weights)
        except ModelError as error:
            self.answer.problems.append(f"is not what was trained: {error}")
            return
        count = self._job.drawn + _MOST_BY_TRAINING
        found = []
        for name, encoded in zip(self._job.pictures[:count], self._encoded[:count], strict=True):
            self._at(f"training's detector is shown {name}")
            found.append(trained.detect(encoded))
        self._compare(found, served[:count], 0, "in training and where it is served")

    def _compare(
        self, first: Sequence[Detections], second: Sequence[Detections], start: int, how: str
    ) -> None:
        """Notes the picture in which two lists of detections differ most, if they may not."""
        worst = None
        for number, (one, other) in enumerate(zip(first, second, strict=True), start):
            apart = difference(one, other)
            self.answer.worst_score = max(self.answer.worst_score, apart.score)
            if not apart.is_allowed and (worst is None or apart.unpaired > worst[0].unpaired):
                worst = apart, self._name(number)
        if worst is not None:
            self.answer.problems.append(
                f"finds other things {how} in {worst[1]}: {worst[0].in_words()}"
            )

    def _name(self, number: int) -> str:
        return self._job.pictures[number]


def peak_memory_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Returns the most memory that this process had, in bytes.

    `ru_maxrss` would be at least that of the process that started this one.
    """
    for line in status.read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ModelError(f"{status}: has no VmHWM")


def read_found(path: Path) -> Detections:
    """Returns detections as the check has written them."""
    with np.load(path) as arrays:
        return Detections(**{name: arrays.get(name) for name in Detections.__dataclass_fields__})


def _write(path: Path, found: Detections) -> None:
    arrays = {name: value for name, value in vars(found).items() if value is not None}
    np.savez(path, **arrays)


def main(folder: str) -> None:
    """Checks the model of a job's folder, and writes the answer there."""
    check = Check(Path(folder))
    check.run()
    text = json.dumps(asdict(check.answer))
    (Path(folder) / ANSWER_FILE).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
