import os

from model.training.events import CheckpointSaved
from model.training.status import (
    EventFollower,
    WorkerStatus,
    beat_path,
    events_path,
    read_beat,
)


def test_beat_says_step_and_phase(tmp_path):
    status = WorkerStatus(tmp_path, 1)
    status.beat("checkpoint", 12345678)
    status.beat("step", 7)
    status.beat("done")
    assert read_beat(tmp_path, 1)[1:] == (7, "done")


def test_beat_tells_its_time(tmp_path):
    status = WorkerStatus(tmp_path, 0)
    status.beat("input", 1)
    os.utime(beat_path(tmp_path, 0), (100.0, 100.0))
    assert read_beat(tmp_path, 0)[0] == 100.0
    status.beat("step", 1)
    assert read_beat(tmp_path, 0)[0] > 100.0


def test_no_beat_before_the_start(tmp_path):
    assert read_beat(tmp_path, 0) == (0.0, 0, "not started")


def test_follower_takes_whole_lines_once(tmp_path):
    follower = EventFollower(tmp_path, 0)
    assert follower.new_events() == []
    WorkerStatus(tmp_path, 0).tell(CheckpointSaved(2, "a"))
    with open(events_path(tmp_path, 0), "a") as stream:
        stream.write('{"event": "checkpoint", "st')
    assert follower.new_events() == [CheckpointSaved(2, "a")]
    with open(events_path(tmp_path, 0), "a") as stream:
        stream.write('ep": 4, "path": "b"}\n')
    assert follower.new_events() == [CheckpointSaved(4, "b")]
    assert follower.new_events() == []
