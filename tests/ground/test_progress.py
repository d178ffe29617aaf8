import io
import json
import sys
import threading
import time

import pytest

from ground import progress
from ground.progress import Progress, elapsed_shown, say_or_log
from ground.speech import Manner, say, say_error, speaking


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def terminal_in(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "120")
    return screen


def count(clock, told, total=121, **options):
    """Counts a piece a second."""
    work = Progress("looking", total, told, **options)
    for _ in range(total):
        work.advance()
        clock.now += 1.0


def test_a_line_every_30_seconds_and_at_the_end(clock):
    lines = []
    count(clock, lambda line, values: lines.append(line))
    assert lines == [
        "looking: 31/121 pictures, 1.0 pictures/s, 1:30 left",
        "looking: 61/121 pictures, 1.0 pictures/s, 1:00 left",
        "looking: 91/121 pictures, 1.0 pictures/s, 0:30 left",
        "looking: 121/121 pictures, 1.0 pictures/s, 0:00 left",
    ]


def test_what_is_soon_done_has_a_line_only_where_its_end_is_told(clock):
    lines = []
    count(clock, lambda line, values: lines.append(line), 20, says_end=False)
    assert lines == []
    count(clock, lambda line, values: lines.append(line), 20, noun="megabyte")
    assert lines == ["looking: 20/20 megabytes, 1.0 megabytes/s, 0:00 left"]


def test_a_terminal_has_a_bar_that_the_next_line_replaces(clock, monkeypatch):
    terminal = terminal_in(monkeypatch)
    with speaking(Manner.PLAIN):
        count(clock, say_or_log, 3)
        say_error("odd")
        say("done", "result")
    first, *_, last = terminal.getvalue().split("\r\x1b[K")[1:]
    assert "looking: 2/3 pictures, 1.0 pictures/s, 0:01 left" in first and "\u2501" in first
    assert last == "done\n"


def test_a_bar_does_not_outlast_its_command(clock, monkeypatch):
    terminal = terminal_in(monkeypatch)
    with speaking(Manner.PLAIN):
        count(clock, say_or_log, 3)
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_programs_get_the_numbers_and_quiet_nothing(clock, capsys):
    with speaking(Manner.JSON):
        count(clock, lambda line, values: None)
    with speaking(Manner.QUIET):
        count(clock, say_or_log)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["event"], line["done"], line["total"]) for line in lines] == [
        ("progress", done, 121) for done in (31, 61, 91, 121)
    ]
    assert (lines[0]["pictures_per_second"], lines[0]["seconds_left"]) == (1.0, 90.0)


def test_pieces_may_come_many_at_once_and_never_go_back(clock):
    told = []
    work = Progress("reading", 100, lambda line, values: told.append(values["done"]))
    for done in (10, 50, 50, 40, 100):
        clock.now += 30.0
        work.reach(done)
    assert told == [50, 100]


def test_a_work_that_tells_no_pieces_has_its_time_shown(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.01)
    told = threading.Event()

    def emit(line, values):
        lines.append((line, values))
        told.set()

    lines = []
    with elapsed_shown("onnx: converting", emit):
        assert told.wait(10)
    assert lines[0][0] == "onnx: converting: 0:00 so far" and lines[0][1]["seconds"] >= 0
    assert "seconds_left" not in lines[0][1]
    assert "elapsed" not in [thread.name for thread in threading.enumerate()]


def test_a_work_of_known_length_says_what_is_left_until_that_is_over(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.01)
    lines = []
    with elapsed_shown("onnx: converting", lambda *said: lines.append(said), 0.5):
        deadline = time.monotonic() + 10
        while not (lines and "left" not in lines[-1][0]) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert lines[0][0] == "onnx: converting: 0:00 so far, about 0:00 left"
    assert 0 < lines[0][1]["seconds_left"] <= 0.5
    assert lines[-1][0].endswith("so far") and lines[-1][1]["seconds"] >= 0.5
