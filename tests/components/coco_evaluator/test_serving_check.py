"""The process in which a candidate is served: how it may end, and what is compared with it."""

import sys

import numpy as np
import pytest

from components.coco_evaluator import serving_check
from components.coco_evaluator.serving_check import Served, check_served, differs_from_measured
from components.coco_evaluator.sources import AnnotationsSource
from model.predict import Detections

STEP = "open('steps.jsonl', 'a').write('\"it is shown picture 1 (1.png)\"\\n')\n"
GOOD = (
    "import json, numpy as np\n"
    "job = json.load(open('job.json'))\n"
    "assert job['pictures'][job['drawn']:] == ['picture 1 (1.png)', 'picture 2 (2.png)']\n"
    "for n in range(len(job['pictures'])):\n"
    "    assert open(str(n), 'rb').read(1) in (b'\\xff', b'\\x89')\n"
    "    np.savez(f'{n}.npz', boxes_norm=[[0, 0, 1, 1]], scores=[0.75], category_ids=[90])\n"
    "json.dump({'problems': [], 'load_s': 2.0, 'memory_mb': 500.0}, open('answer.json', 'w'))\n"
)


@pytest.fixture
def source(data):
    return AnnotationsSource(data / "instances.json", data / "pictures")


@pytest.fixture
def run(source, make_model, monkeypatch):
    """Checks a model by a process that runs a script in the job's folder."""

    def run_script(script, seconds=60.0):
        def command(module, folder):
            return [sys.executable, "-c", f"import os; os.chdir({folder!r})\n{script}"]

        monkeypatch.setattr(serving_check, "command", command)
        return check_served(make_model("model", 0.75), source, 2, None, seconds)

    return run_script


def test_what_it_finds_and_costs_comes_back(run):
    served = run(GOOD)

    assert (served.problems, served.is_dead) == ((), False)
    assert {k: served.costs[k] for k in ("load_s", "memory_mb")} == {
        "load_s": 2.0, "memory_mb": 500.0
    }  # fmt: skip
    assert served.costs["size_mb"] > 0
    assert sorted(served.found) == [1, 2]
    assert served.found[1].scores.tolist() == [0.75]


WHEN = "when it is shown picture 1 (1.png)"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"{STEP}import signal; os.kill(os.getpid(), signal.SIGSEGV)",
         f"crashes in a process of its own, {WHEN}: SIGSEGV"),
        (f"{STEP}import signal; os.kill(os.getpid(), signal.SIGKILL)",
         f"crashes in a process of its own, {WHEN}: SIGKILL (out of memory?)"),
        (f"{STEP}raise MemoryError('no more')",
         f"fails in a process of its own, {WHEN}: MemoryError: no more"),
        ("import sys; sys.exit('no such library')",
         "fails in a process of its own, before it was loaded: no such library"),
        (f"{STEP}import time; time.sleep(60)",
         f"hangs in a process of its own, {WHEN}: no answer in 3 s"),
    ],
)  # fmt: skip
def test_a_process_that_ends_badly_is_one_line(run, script, words):
    served = run(script, seconds=3.0 if "sleep" in script else 60.0)

    assert served.is_dead
    assert served.problems == (words,)
    assert set(served.costs) == {"size_mb"}


@pytest.mark.parametrize(("every_s", "is_late"), [(40.0, False), (90.0, True)])
def test_it_hangs_where_it_stays_at_one_step(tmp_path, monkeypatch, every_s, is_late):
    steps, clock = tmp_path / "steps.jsonl", [0.0]

    class Process:
        def poll(self):
            return 0 if clock[0] > 300 else None

    def sleep(seconds):
        clock[0] += 10.0
        if clock[0] % every_s == 0:
            steps.write_text("step\n" * int(clock[0]))

    monkeypatch.setattr(serving_check.time, "sleep", sleep)
    monkeypatch.setattr(serving_check.time, "monotonic", lambda: clock[0])

    assert serving_check._waits_too_long(Process(), steps, 60.0) is is_late


def result(score, category_id=90, image_id=1):
    return {"image_id": image_id, "category_id": category_id, "bbox": [0, 0, 80, 50],
            "score": score}  # fmt: skip


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ([result(0.76)], None),
        ([result(0.76), result(0.9, image_id=3)], None),  # that picture was not shown
        ([result(0.5)], "picture 1 (1.png): 100% of the detections, by score"),
        ([result(0.75, 18)], "picture 1 (1.png): 100%"),
        ([], "picture 1 (1.png): 100% of the detections, by score, have no counterpart"),
    ],
)
def test_other_things_than_were_measured_are_said(source, measured, words):
    whole = np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    # The second is of a category that the data do not have: it is not measured.
    found = Detections(whole, np.array([0.75, 0.9]), np.array([90, 5]), None)

    line = differs_from_measured(Served(found={1: found}), measured, source)

    assert line is None if words is None else words in line
