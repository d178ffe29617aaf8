"""What our own code logs within a node comes to the screen, and in which form."""

import json
import logging

import pytest

from ground.source_digest import SOURCE_ROOT
from ground.speech import Manner, speaking
from pipeline.screen import own_lines_shown, show, show_meanwhile

OURS = str(SOURCE_ROOT / "model" / "training" / "somewhere.py")


def log(level: int, text: str, path: str = OURS, **more: object) -> None:
    """Logs as absl does from a file."""
    import absl.logging

    logger = absl.logging.get_absl_logger()
    record = logging.LogRecord("absl", level, path, 1, text, (), None)
    vars(record).update(more)
    logger.handle(record)


def said(capsys: pytest.CaptureFixture[str], chosen: Manner) -> list[str]:
    with speaking(chosen), own_lines_shown():
        show_meanwhile("Node ...")
        log(logging.INFO, "step 1/2", told=("progress", {"step": 1}))
        log(logging.INFO, "theirs", path="/site-packages/tfx/x.py")
        log(logging.WARNING, "odd\n things")
        show("Node 1.0 s ran", "node", node="Node", seconds=1.0)
    return capsys.readouterr().out.splitlines()


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, Manner.PLAIN) == ["  step 1/2", "  odd things", "Node 1.0 s ran"]
    assert said(capsys, Manner.QUIET) == ["  odd things"]
    objects = [json.loads(line) for line in said(capsys, Manner.JSON)]
    for one in objects:
        del one["time"]
    assert objects == [
        {"level": "info", "event": "progress", "text": "step 1/2", "step": 1},
        {"level": "warning", "event": "log", "text": "odd things"},
        {
            "level": "info",
            "event": "node",
            "text": "Node 1.0 s ran",
            "node": "Node",
            "seconds": 1.0,
        },
    ]
