"""Each event has its line, and comes back from JSON as it was."""

import json
from dataclasses import replace

import pytest

from model.training import events
from model.training.events import (
    CheckpointSaved,
    Event,
    RunDone,
    RunRestarted,
    RunStarted,
    RunStopped,
    ScalarsWritten,
    StepDone,
    StepSkipped,
    StoppedEarly,
    WarningGiven,
    WeightsValidated,
    WorkerFailed,
    event_from_json,
)
from model.training.validated import Validated

PROGRESS = StepDone(3, 10, 1.5, {"rpn_box": 0.5, "roi_class": 1.0}, 0.02, 4.25, 3725.0, None)
START = RunStarted(
    workers=8,
    pictures_per_worker=4,
    accumulate=1,
    device="Tesla V100-SXM2-32GB",
    memory_bytes=32 << 30,
    precision="mixed_float16",
    jit=True,
    learning_rate=0.04,
    buckets=[[800, 1344], [1344, 800]],
    parameters=41_500_000,
    pictures=117266,
    steps=43980,
    steps_per_epoch=3665,
    first_step=0,
)
BEST = Validated(6, {"box/AP": 0.5})
ENDED = (12, 12, 0, BEST, 3.5, 4.0, {"a": 2.0}, {"a": 1.0}, [Validated(3, {}), BEST])
ALL = [
    START,
    PROGRESS,
    WarningGiven("w"),
    RunRestarted("r"),
    StepSkipped("s", 5, [7, 8]),
    StoppedEarly("e"),
    ScalarsWritten(3, {"loss/total": 1.5}),
    WeightsValidated(6, {"box/AP": 0.25, "box/AP50": -1.0}, True, 2.0),
    CheckpointSaved(6, "step-00000006.safetensors"),
    RunDone(*ENDED, model_id="ab"),
    RunStopped(*ENDED),
    WorkerFailed("KeyError", "a"),
]


def test_the_start_is_one_line():
    assert START.line == (
        "batch 8x4 (workers x pictures) on Tesla V100-SXM2-32GB of 32 GiB, mixed_float16, jit on, "
        "learning rate 0.04, buckets 800x1344 1344x800, 41.5 M weights, 117266 pictures, "
        "43980 steps (3665 an epoch)"
    )
    resumed = replace(START, first_step=500, memory_bytes=0).line
    assert "V100-SXM2-32GB, mixed_float16" in resumed
    assert resumed.endswith(", goes on at step 500")


def test_a_step_and_a_validation_are_one_line():
    assert PROGRESS.line == (
        "step 3/10  loss 1.5000  4.2 images/s  1:02:05 left  (rpn_box 0.500 roi_class 1.000)"
    )
    validated = "validation after step 6: box/AP 0.250, box/AP50 -1.000, the best so far"
    assert [event.line for event in ALL if isinstance(event, WeightsValidated)] == [validated]


def test_notices_are_their_text_and_the_rest_has_no_line():
    lines = {event.name: event.line for event in ALL if event not in (START, PROGRESS)}
    shown = {name: line for name, line in lines.items() if line and name != "validation"}
    assert shown == {"warning": "w", "restart": "r", "skipped": "s", "early_stop": "e"}


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.name)
def test_json_and_back(event):
    written = json.loads(json.dumps({**event.to_json(), "time": 1.5}))
    assert event_from_json(written) == event


def test_every_kind_is_read():
    kinds = {
        kind
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, Event) and kind.name
    }
    assert {type(event) for event in ALL} == kinds
