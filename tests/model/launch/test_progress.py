import io
import json
import sys
from dataclasses import replace

import pytest

from ground.speech import Manner, speaking
from model.launch.progress import ProgressPrinter
from model.training.events import CheckpointSaved, WarningGiven
from tests.model.training.test_events import PROGRESS


def test_what_has_a_line_is_shown(capsys):
    printer = ProgressPrinter()
    for event in (PROGRESS, CheckpointSaved(3, "a"), WarningGiven("odd")):
        printer(event)
    assert capsys.readouterr().out == f"{PROGRESS.line}\nodd\n"


def test_programs_get_the_values_and_quiet_the_warnings(capsys):
    odd = replace(PROGRESS, loss=float("nan"))
    for chosen in (Manner.JSON, Manner.QUIET):
        printer = ProgressPrinter()
        with speaking(chosen):
            printer(odd)
            printer(WarningGiven("odd"))
    progress, warning, last = capsys.readouterr().out.splitlines()
    told = json.loads(progress)
    assert (told["event"], told["level"], told["loss"]) == ("progress", "info", None)
    assert (told["step"], told["losses"]) == (PROGRESS.step, PROGRESS.losses)
    assert (json.loads(warning)["level"], json.loads(warning)["text"]) == ("warning", "odd")
    assert last == "odd"


def test_a_narrow_terminal_keeps_speed_and_time(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "92")
    with speaking(Manner.PLAIN):
        ProgressPrinter()(replace(PROGRESS, validation=0.321))
    shown = "step 3/10  loss 1.5000  AP 0.321  4.2 images/s  1:02:05 left"
    assert shown in screen.getvalue()
    assert "roi_class" not in screen.getvalue()


@pytest.mark.parametrize(("seconds", "lines"), [(0.0, 3), (3600.0, 2)])
def test_without_a_terminal_lines_come_now_and_then(capsys, seconds, lines):
    printer = ProgressPrinter(seconds_between_lines=seconds)
    for step in (3, 4, 10):  # the first and the last always show
        printer(replace(PROGRESS, step=step))
    assert len(capsys.readouterr().out.splitlines()) == lines
