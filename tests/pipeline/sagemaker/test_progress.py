"""What is told of a SageMaker job: its phases, its hosts' log, and how it ended."""

import datetime
import json
from types import SimpleNamespace

from ground.speech import Manner, speaking
from pipeline.sagemaker.progress import follow

BEGAN = datetime.datetime(2026, 1, 2, 3, 4, 5)
PHASE = {"StartTime": BEGAN, "Status": "Training", "StatusMessage": "on its way"}
JOB = {"TrainingJobStatus": "Completed", "SecondaryStatusTransitions": [PHASE]}
SAGEMAKER = SimpleNamespace(describe_training_job=lambda **given: JOB)
STREAMS = [{"logStreams": [{"logStreamName": "job/algo-1-17"}]}]


class Logs:
    """One line of one host."""

    def __init__(self) -> None:
        self._left = [{"message": "step 1"}]

    def get_paginator(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(paginate=lambda **given: STREAMS)

    def get_log_events(self, **given: object) -> dict:
        events, self._left = self._left, []
        return {"events": events, "nextForwardToken": "t"}


def test_phases_and_log_are_lines(capsys) -> None:
    assert follow("job", SAGEMAKER, Logs()) is JOB
    said = ["2026-01-02 03:04:05 Training - on its way", "[algo-1] step 1"]
    assert capsys.readouterr().out.splitlines() == said


def test_a_quiet_command_tells_neither(capsys) -> None:
    with speaking(Manner.QUIET):
        follow("job", SAGEMAKER, Logs())
    assert capsys.readouterr().out == ""


def test_programs_are_told_the_host(capsys) -> None:
    with speaking(Manner.JSON):
        follow("job", SAGEMAKER, Logs())
    phase, line = map(json.loads, capsys.readouterr().out.splitlines())
    assert (phase["event"], phase["text"][-10:]) == ("progress", "on its way")
    assert (line["event"], line["host"], line["text"]) == ("log", "algo-1", "[algo-1] step 1")
