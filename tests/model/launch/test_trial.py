"""A worker of a trial; whole ones are in tests/model/test_tune.py."""

import subprocess
import sys

from tests.model.launch.runs import ROOT


def test_it_ends_at_once_when_it_is_asked_to_stop(tmp_path):
    """Also while it compiles, where a training would wait for its step and a checkpoint."""
    code = (
        "import pathlib, sys, time; from model.launch.trial import end_when_asked;"
        "place = pathlib.Path(sys.argv[1]); end_when_asked(place); place.touch(); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "stop")]
    assert subprocess.run(command, cwd=ROOT, timeout=30).returncode == 1
