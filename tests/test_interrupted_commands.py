"""Ctrl-C and SIGTERM at any moment of our long commands: soon, one line, nothing half-written."""

import json
import os
import random
import signal
import sys

import pytest

from tests.interrupting import ANEW, MOST_SECONDS, start, stop

COMMAND = os.path.join(os.path.dirname(sys.executable), "tfx-rcnn")


def interrupted(arguments, seconds, number=signal.SIGINT):
    """Returns how a command ended that was stopped after some seconds; None where it was over."""
    process = start([COMMAND, *arguments])
    try:
        process.wait(seconds)
    except Exception:
        return stop(process, number)
    process.communicate()
    return None


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_shapes_leave_nothing(tmp_path, number):
    begun = random.Random(number).uniform(1.5, 3.0)
    arguments = ["shapes", "--out", tmp_path / "data", "--train", "100000", "--size", "640"]
    found = interrupted(arguments, begun, number)
    assert found.status == 128 + number and found.seconds < MOST_SECONDS
    assert found.err.splitlines()[-1].endswith(ANEW) and len(found.err.splitlines()) == 1
    assert files(tmp_path) == []


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted") / "data"
    process = start([COMMAND, "shapes", "--out", folder, "--train", "400", "--val", "100"])
    process.communicate()
    assert process.returncode == 0
    return folder


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_example_gen_leaves_nothing_at_any_moment(tmp_path, data, workers):
    """Also of Beam's worker processes."""
    mode = ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    arguments = ["example-gen", "--data-dir", data, "--config", "configs/demo.yaml"]
    arguments += ["--out", tmp_path / "out"]
    if workers > 1:
        arguments += ["--set", f"pipeline.beam_args={json.dumps(mode)}"]
    chance = random.Random(workers)
    for _ in range(4):
        found = interrupted(arguments, chance.uniform(1, 25))
        if found is None:
            break
        assert found.status == 130 and found.seconds < MOST_SECONDS
        assert "Traceback" not in found.err
        assert found.err.splitlines()[-1] == f"stopped by Ctrl-C: {ANEW}"
        assert files(tmp_path) == []


@pytest.mark.e2e
@pytest.mark.slow
def test_a_run_that_is_interrupted_again_and_again_comes_to_its_end(tmp_path, data):
    """Its workers train meanwhile; what is done is not done again."""
    arguments = ["run", "--data-dir", data, "--config", "configs/demo.yaml", "--root"]
    arguments += [tmp_path / "run", "--set", "train.batch=2x2", "--set", "train.epochs=0.2"]
    arguments += ["--set", "train.checkpoint_every_steps=5"]
    chance = random.Random(0)
    for tries in range(40):
        found = interrupted(arguments, chance.uniform(10, 60) + 5 * tries)
        if found is None:
            break
        assert found.status == 130 and found.seconds < MOST_SECONDS
        [line] = found.err.splitlines()
        assert line.startswith("stopped by Ctrl-C: ") and "run the same again to go on" in line
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["seconds"]["ModelPusher"] >= 0
