"""Errors below the loop, and what it leaves to look at.

Whole runs are in test_launcher.py and test_worker.py.
"""

import itertools
import json
from types import SimpleNamespace

import pytest
import tensorflow as tf

from ground.errors import DatasetError, TrainingError
from model.batch import Found
from model.input.next_batch import next_batch
from model.training import step_meter
from model.training.checkpoints import CheckpointStore
from model.training.distribution import Distribution
from model.training.status import WorkerStatus
from model.training.train_loop import TrainLoop
from tests.model.small_detector import small_batch
from tests.model.training.tiny_run import TinyDetector, tiny_config


def batches(error: Exception):
    def fail(step):
        raise error

    def read(step):
        return {"image_ids": tf.numpy_function(fail, [step], tf.int64)}

    return iter(tf.data.Dataset.range(3).map(read, num_parallel_calls=2).prefetch(1))


def test_an_error_of_the_data_set_keeps_its_one_line():
    with pytest.raises(DatasetError) as caught:
        next_batch(batches(DatasetError("a/shard: damaged data of the record at byte 12")))
    assert str(caught.value) == "a/shard: damaged data of the record at byte 12"


def test_other_errors_stay_as_they_are():
    with pytest.raises(tf.errors.OpError, match="ZeroDivisionError"):
        next_batch(batches(ZeroDivisionError("by zero")))


class Corners(TinyDetector):
    """The tiny detector, which also "finds" the first quarter of every picture."""

    def detect(self, images, image_sizes):
        count = images.shape[0]
        return Found(
            boxes=tf.tile([[[0.0, 0.0, 32.0, 32.0]]], [count, 1, 1]),
            scores=tf.fill([count, 1], 0.9),
            classes=tf.ones([count, 1], tf.int32),
            num=tf.ones([count], tf.int32),
        )


class OneBatch:
    """The same batch at every step."""

    num_pictures, steps_per_epoch, buckets = 2, 1, ((64, 64),)
    categories = ({"label": 1, "name": "corner"},)

    def dataset(self, worker, first_step=0, threads=0):
        return itertools.repeat(small_batch(2))


def corner_loop(folder, distribution, detector=None, training_input=None, **train) -> TrainLoop:
    config = tiny_config("1x2", train.pop("max_steps", 4), **train)
    return TrainLoop(
        config.train, detector or Corners(), training_input or OneBatch(), distribution,
        CheckpointStore(folder, "key", 1), WorkerStatus(folder, 0), str(folder),
        precision="float32", jit=False, stop_asked=lambda: False,
    )  # fmt: skip


def test_a_host_with_another_run_than_the_chief_is_refused(tmp_path):
    class OfAnotherRun(Distribution):
        def broadcast(self, arrays):
            return {**arrays, "run": arrays["run"] + 1}

    with pytest.raises(TrainingError, match="worker 0 has other settings, examples or code than"):
        corner_loop(tmp_path, OfAnotherRun()).run()


def test_a_stop_during_the_start_ends_the_run_before_its_first_step(tmp_path):
    class AnotherIsAsked(Distribution):
        def gather(self, payload):
            return [payload, b"1" if payload == b"0" else payload]

    loop = corner_loop(tmp_path, AnotherIsAsked())
    outcome = loop.run()
    assert (outcome.step, outcome.name) == (0, "stopped")
    assert loop.state.updates == 0
    assert not list(tmp_path.glob("key/*"))


def test_the_start_tells_the_full_rate_and_a_warmup_that_never_reaches_it(tmp_path):
    rate = {"learning_rate": 0.5, "scale_with_batch": False, "warmup_steps": 500}
    corner_loop(tmp_path, Distribution(), optimizer=rate, max_steps=1).run()
    lines = (tmp_path / "worker-0.jsonl").read_text().splitlines()
    start, warning = [json.loads(line) for line in lines[:2]]
    assert (start["event"], start["learning_rate"]) == ("start", 0.5)
    assert warning["event"] == "warning"
    assert "the training ends at step 1, before the warm-up of 500 steps" in warning["text"]


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """The folder of a run of four steps with pictures and a profiler window."""
    folder = tmp_path_factory.mktemp("watched")
    watching = {"picture_every_steps": 2, "profile_steps": [1, 3], "log_every_steps": 4}
    corner_loop(folder, Distribution(), **watching).run()
    return folder


def test_pictures_come_as_often_as_asked(watched):
    shown = set()
    for path in (watched / "tensorboard").glob("events.*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            tags = [value.tag for value in event.summary.value]
            shown |= {(event.step, tag) for tag in tags if tag.startswith("pictures/")}
    assert shown == {(2, "pictures/100"), (2, "pictures/101")} | {
        (4, "pictures/100"), (4, "pictures/101"),
    }  # fmt: skip


def test_the_profile_lies_where_tensorboard_looks(watched):
    [profile] = watched.glob("tensorboard/plugins/profile/*/*.xplane.pb")
    # The two steps of the window, by the name that TensorBoard's step page goes by.
    assert profile.read_bytes().count(b"train") > 0


def test_throughput_has_a_row_for_the_worker(watched):
    figures = json.loads((watched / "throughput.json").read_text())
    assert figures["steps_measured"] == 3
    assert figures["share_of_peak_flops"] is None  # a CPU
    [row] = figures["per_worker"]
    assert row["worker"] == 0 and row["peak_memory_mib"] > 0


def test_a_traced_step_has_its_own_time_and_no_other_step_has(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(step_meter, "time", SimpleNamespace(monotonic=lambda: clock.now))

    class SlowToTrace(Corners):
        def loss_terms(self, *args, **settings):
            clock.now += 1000
            return super().loss_terms(*args, **settings)

    class WideFourth(OneBatch):
        def dataset(self, worker, first_step=0, threads=0):
            batch = small_batch(2)
            wide = batch._replace(images=tf.concat([batch.images] * 2, axis=2))
            return iter([batch, batch, batch, wide, batch, wide])

    loop = corner_loop(tmp_path, Distribution(), SlowToTrace(), WideFourth(), max_steps=6)
    start = loop._steps._start

    def start_a_step_that_takes_a_second(*args):
        clock.now += 1  # while it is started, as on a CPU
        return start(*args)

    monkeypatch.setattr(loop._steps, "_start", start_a_step_that_takes_a_second)
    loop.run()
    figures = json.loads((tmp_path / "throughput.json").read_text())
    assert (figures["steps_traced"], figures["steps_measured"]) == (2, 4)
    assert figures["seconds_in_traced_steps"] >= 2002  # loss_terms may be called twice in a trace
    assert figures["images_per_second"] == pytest.approx(2.0)  # two pictures a step
