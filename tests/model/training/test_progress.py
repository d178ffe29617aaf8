import io
import os
import sys

import pytest

from model.training.progress import (
    EventFollower,
    ProgressPrinter,
    WorkerStatus,
    beat_path,
    events_path,
    read_beat,
    start_line,
)

PROGRESS = {
    "event": "progress",
    "step": 3,
    "steps": 10,
    "loss": 1.5,
    "losses": {"rpn_box": 0.5, "roi_class": 1.0},
    "images_per_second": 4.25,
    "eta_seconds": 3725.0,
    "validation": None,
}


START = {
    "event": "start",
    "workers": 8,
    "pictures_per_worker": 4,
    "accumulate": 1,
    "device": "Tesla V100-SXM2-32GB",
    "memory_bytes": 32 << 30,
    "precision": "mixed_float16",
    "jit": True,
    "learning_rate": 0.04,
    "buckets": [[800, 1344], [1344, 800]],
    "parameters": 41_500_000,
    "pictures": 117266,
    "steps": 43980,
    "steps_per_epoch": 3665,
    "first_step": 0,
}


def test_the_start_is_one_line():
    assert start_line(START) == (
        "batch 8x4 (workers x pictures) on Tesla V100-SXM2-32GB of 32 GiB, mixed_float16, jit on, "
        "learning rate 0.04, buckets 800x1344 1344x800, 41.5 M weights, 117266 pictures, "
        "43980 steps (3665 an epoch)"
    )
    resumed = start_line({**START, "first_step": 500, "memory_bytes": 0})
    assert "V100-SXM2-32GB, mixed_float16" in resumed
    assert resumed.endswith(", goes on at step 500")


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
    WorkerStatus(tmp_path, 0).event("start", workers=2)
    with open(events_path(tmp_path, 0), "a") as stream:
        stream.write('{"event": "progress", "st')
    assert [event["event"] for event in follower.new_events()] == ["start"]
    with open(events_path(tmp_path, 0), "a") as stream:
        stream.write('ep": 4}\n')
    assert follower.new_events() == [{"event": "progress", "step": 4}]
    assert follower.new_events() == []


def test_progress_is_one_line(capsys):
    with ProgressPrinter() as printer:
        printer(PROGRESS)
    assert capsys.readouterr().out == (
        "step 3/10  loss 1.5000  4.2 images/s  1:02:05 left  (rpn_box 0.500 roi_class 1.000)\n"
    )


def test_a_narrow_terminal_keeps_speed_and_time(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    with ProgressPrinter() as printer:
        printer({**PROGRESS, "validation": 0.321})
    shown = "step 3/10  loss 1.5000  AP 0.321  4.2 images/s  1:02:05 left"
    assert shown[:59] in screen.getvalue()
    assert "roi_class" not in screen.getvalue()


@pytest.mark.parametrize(("seconds", "lines"), [(0.0, 3), (3600.0, 2)])
def test_without_a_terminal_lines_come_now_and_then(capsys, seconds, lines):
    with ProgressPrinter(seconds_between_lines=seconds) as printer:
        for step in (3, 4, 10):  # the first and the last always show
            printer({**PROGRESS, "step": step})
    assert len(capsys.readouterr().out.splitlines()) == lines
