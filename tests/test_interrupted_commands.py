"""Ctrl-C and SIGTERM at any moment of our long commands: soon, one line, nothing half-written."""

import json
import os
import random
import signal
import sys
import tarfile
import time

import psutil
import pytest
from PIL import Image

from model.lanes import LANE
from tests.interrupting import ANEW, MOST_SECONDS, start, stop
from tests.lanes.make import CONFIG, archive

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
    """Also of its worker processes."""
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


# Each command of one part, by the most seconds until it is stopped; D has the lane's artifacts.
COMMANDS = {
    "train": (30, "--examples D/transformed/examples --config C --out O/out"),
    "tune": (25, "--examples D/transformed/examples --config C --out O/tuned.yaml"),
    "evaluate": (20, "--model D/model --examples D/generated/examples --config C --out O/out"),
    "predict": (12, "--model D/model --out O/out D/picture.png"),
    "export": (25, "--model D/model --out O/out D/picture.png"),
    "import-weights": (9, "--from ours D/w.safetensors --config C --num-classes 3 --out O/w.npz"),
    "look": (6, "D/generated/examples --port 0"),
    "serve": (9, "--model D/model --port 0"),
}
_SERVERS = ("look", "serve")
_AT_ONCE = ("evaluate", "export", "import-weights")  # all that they write is there at the end
_GOES_ON = "again to go on"
_TRIES = 3


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    with tarfile.open(archive(LANE)) as packed:
        packed.extractall(folder, filter="data")
    [weights] = folder.glob("checkpoints/*/step-*.safetensors")
    (folder / "w.safetensors").symlink_to(weights)
    Image.new("RGB", (200, 160), "grey").save(folder / "picture.png")
    return folder


def begun(process):
    """Waits until a command minds signals itself: a thread of its own watches for them."""
    of_process = psutil.Process(process.pid)
    while of_process.num_threads() < 2:
        assert process.poll() is None
        time.sleep(0.01)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_alone_ends_soon_at_any_moment(tmp_path, artifacts, name, number):
    """The first time while it is being imported; its temporary files go, too."""
    most, text = COMMANDS[name]
    places = {"D": artifacts, "C": CONFIG, "O": tmp_path / "o"}
    split = [word.split("/") for word in text.split()]
    words = [os.path.join(places.get(first, first), *rest) for first, *rest in split]
    (tmp_path / "o").mkdir()
    (tmp_path / "tmp").mkdir()
    chance = random.Random(f"{name} {number}")
    for seconds in (0.2, *(chance.uniform(1, most) for _ in range(_TRIES - 1))):
        process = start(
            [COMMAND, name, *words], env={**os.environ, "TMPDIR": str(tmp_path / "tmp")}
        )
        begun(process)
        try:
            process.wait(seconds)
        except Exception:
            found = stop(process, number)
        else:
            process.communicate()
            break
        assert "Traceback" not in found.err
        if found.status == -number and name in _AT_ONCE:
            whole = files(tmp_path / "o")  # there at the end: it came as Python itself was ending
            assert whole and ".partial" not in "".join(whole) and not found.err, found
            return
        ends_well = name in _SERVERS or (name == "train" and number == signal.SIGTERM)
        assert found.status == 128 + number or (ends_well and found.status == 0), found
        is_for_a_checkpoint = name == "train" and not found.status  # up to 120 s
        assert is_for_a_checkpoint or found.seconds < MOST_SECONDS, found
        if found.status:
            line = found.err.splitlines()[-1]
            assert line.startswith(
                f"stopped by {'Ctrl-C' if number == signal.SIGINT else 'SIGTERM'}"
            )
            assert line.endswith((ANEW, _GOES_ON)), line
        assert not [path for path in files(tmp_path / "o") if path.endswith(".partial")]
        assert [path for path in files(tmp_path / "tmp") if path.startswith("tfx-rcnn")] == []
    if name in _AT_ONCE and process.returncode:
        assert files(tmp_path / "o") == []
