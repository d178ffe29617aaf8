"""A model on two devices: each picture is looked at once, and by both."""

import io
import itertools
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from ground.errors import DatasetError
from model import export
from model.limits import Limits
from model.pictures import Picture, servable
from model.prediction import replicas as module
from model.prediction.replicas import Replicas, _Shared, calls_at_once
from tests.components.coco_evaluator.conftest import CATEGORIES, CONFIG
from tests.model.fake_detector import FakeDetector

# Two CPUs stand in for two GPUs. TensorFlow makes them only before its first use.
SCRIPT = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from model.prediction.replicas import Replicas
from tests.model.prediction.test_replicas import pictures
replicas = Replicas(sys.argv[1], ["/CPU:0", "/CPU:1"])
places, used = [], [0, 0]
for n, model in enumerate(replicas._models):
    detect = model.detect_bytes
    def counted(encoded, n=n, detect=detect):
        used[n] += len(encoded)
        return detect(encoded)
    model.detect_bytes = counted
    with tf.device(model._device):
        outputs = model._detect(image_bytes=tf.constant([pictures(1)[0][1].encoded]))
    places.append(outputs["detection_scores"].device[-5:])
found = [(key, d.scores.tolist()) for key, _, d in replicas.detect_all(pictures(24), 2, print)]
print(json.dumps({"found": sorted(found), "used": used, "places": places}))
"""


def pictures(count: int) -> list[tuple[int, Picture]]:
    """Pictures of different brightness, two sizes."""
    made = []
    for n in range(count):
        stream = io.BytesIO()
        size = (80, 50) if n % 2 else (40, 60)
        Image.new("RGB", size, (10 * n,) * 3).save(stream, "PNG")
        made.append((n, servable(stream.getvalue(), f"{n}.png", 10**6, is_checked=True)))
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(export, "build_detector", lambda *a, **k: FakeDetector())
    export.export_saved_model(FakeDetector(), CONFIG, CATEGORIES, tmp_path / "model")
    return tmp_path / "model"


def test_two_devices_share_the_pictures(folder: Path, repo: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repo, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    one = Replicas(folder).detect_all(pictures(24), 2, print)
    assert [tuple(pair) for pair in said["found"]] == _scores(one)
    assert sum(said["used"]) == 24
    assert said["places"] == ["CPU:0", "CPU:1"]


def test_the_cores_of_a_machine_without_gpus_have_several_calls(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = list(Replicas(folder, calls=1).detect_all(pictures(24), 2, print))
    limits = Limits(3, 3, 64 << 30, 64 << 30, {})
    monkeypatch.setattr(module, "machine_limits", lambda: limits)
    replicas = Replicas(folder)
    [model] = set(replicas._models)
    together, detect = threading.Barrier(3), model.detect_bytes

    def at_once(encoded):
        together.wait(30)  # breaks where fewer than three are at work
        return detect(encoded)

    model.detect_bytes = at_once
    several = list(replicas.detect_all(pictures(24), 2, print))

    assert _scores(several) == _scores(one)


def _scores(found):
    return sorted((key, d.scores.tolist()) for key, _, d in found)


@pytest.mark.parametrize(
    ("cores", "free_gib", "calls"),
    [(1, 64, 1), (2, 64, 2), (4, 64, 4), (96, 500, 4), (8, 5, 2), (8, 1.9, 1), (2, 0, 1)],
)
def test_calls_at_once_by_cores_and_memory(cores: int, free_gib: float, calls: int) -> None:
    free = int(free_gib * (1 << 30))
    assert calls_at_once(Limits(cores, cores, 2 * free, free, {})) == calls


class Fake:
    """A loaded model that fails at some pictures."""

    def __init__(self, started: threading.Barrier) -> None:
        self._started = started
        self._is_at_work = False

    def batches(self, items, batch_size, tiling=None):
        items = iter(items)
        for item in items:
            yield [item, *itertools.islice(items, batch_size - 1)]

    def detect_batch(self, batch, batch_size, on_failure, tiling=None):
        if not self._is_at_work:
            self._is_at_work = True
            self._started.wait(30)  # so that no one takes all
        for key, picture in batch:
            if picture == "bad":
                on_failure(key, DatasetError("bad"))
            elif picture == "worse":
                raise ValueError("worse")
            else:
                yield key, picture, None


@pytest.fixture
def replicas() -> Replicas:
    made = Replicas.__new__(Replicas)
    started = threading.Barrier(2)
    made._models = [Fake(started), Fake(started)]
    return made


def test_each_picture_comes_once_and_a_bad_one_is_named(replicas: Replicas) -> None:
    items = [(n, "bad" if n % 10 == 3 else "good") for n in range(500)]
    failed = []
    found = list(replicas.detect_all(items, 4, lambda key, error: failed.append(key)))
    assert sorted([key for key, *_ in found] + failed) == list(range(500))
    assert sorted(failed) == [n for n in range(500) if n % 10 == 3]


def test_an_error_ends_all(replicas: Replicas) -> None:
    before = threading.active_count()
    items = [(n, "worse" if n == 200 else "good") for n in range(500)]
    with pytest.raises(ValueError, match="worse"):
        list(replicas.detect_all(items, 4, print))
    assert threading.active_count() == before


def test_who_stops_taking_leaves_no_thread(replicas: Replicas) -> None:
    before = threading.active_count()
    taken = replicas.detect_all(((n, "good") for n in range(10**6)), 4, print)
    next(taken)
    taken.close()
    assert threading.active_count() == before


def test_an_error_of_the_source_is_raised_once() -> None:
    def source():
        yield 1
        raise OSError("gone")

    shared = _Shared(source())
    assert next(shared) == 1
    with pytest.raises(OSError, match="gone"):
        next(shared)
    assert list(shared) == []


def test_batches_are_read_ahead_of_a_slow_model_but_few() -> None:
    read, lock = [], threading.Event()

    def source():
        for n in range(1000):
            read.append(n)
            if n == 2:
                lock.set()
            yield n

    shared = _Shared(source())
    assert next(shared) == 0
    assert lock.wait(30)  # Nobody has asked for it.
    shared.stop()
    assert len(read) < 8
    assert list(shared) == []


def test_one_who_waits_for_a_picture_is_let_go() -> None:
    going_on, ended = threading.Event(), []

    def source():
        going_on.wait(30)
        yield from ()

    shared = _Shared(source())
    waiting = threading.Thread(target=lambda: ended.append(list(shared)))
    waiting.start()
    threading.Timer(0.05, going_on.set).start()
    shared.stop()
    waiting.join(30)
    assert ended == [[]]
