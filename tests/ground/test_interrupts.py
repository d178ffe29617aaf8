"""Ctrl-C and SIGTERM end a command soon and cleanly, whatever it does at the moment."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from ground import unfinished
from ground.interrupts import exit_status
from tests.interrupting import ANEW, MOST_SECONDS, ROOT, start, stop


def started(*arguments):
    return start([sys.executable, "-m", "tests.ground.interrupted", *arguments])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "way", ["plain", "advice", "child", "thread", "native", "converted", "minded"]
)
def test_a_command_ends_soon_with_one_line_and_leaves_nothing(tmp_path, way, number):
    process = started(way, tmp_path / "out")
    assert process.stdout.readline() == f"at work: {way}\n"
    children = psutil.Process(process.pid).children()
    assert len(children) == (way == "child")
    status, seconds, _, err = stop(process, number)
    assert status == exit_status(number) and seconds < MOST_SECONDS
    name = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}[number]
    assert err == f"stopped by {name}: {'do that' if way == 'advice' else ANEW}\n"
    assert os.listdir(tmp_path) == []


def test_programs_get_an_object_and_a_second_signal_changes_nothing(tmp_path):
    process = started("plain", tmp_path / "out", "--json-logs")
    process.stdout.readline()
    status, _, out, err = stop(process, signal.SIGINT, times=3)
    told = json.loads(out)
    assert (status, err, told["event"], told["exit_status"]) == (130, "", "stopped", 130)
    assert told["text"] == f"stopped by Ctrl-C: {ANEW}"


def test_an_exception_that_python_drops_ends_the_command_all_the_same(tmp_path):
    process = started("swallowed", tmp_path / "out")
    process.stdout.readline()
    status, seconds, _, err = stop(process, signal.SIGINT)
    assert (status, err) == (130, f"stopped by Ctrl-C: {ANEW}\n") and seconds < MOST_SECONDS
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_ends_on_a_signal_does_so_with_its_own_status(tmp_path, number):
    """Whatever its threads are still at."""
    process = started("served", tmp_path / "out")
    process.stdout.readline()
    status, seconds, out, err = stop(process, number)
    assert (status, out, err) == (0, "answered the last one\n", "") and seconds < 2


def of_the_program(code):
    start = f"import os, signal, tfx_rcnn; number = signal.{{}}; {code}; signal.pause()"
    ended = []
    for name in ("SIGINT", "SIGTERM"):
        command = [sys.executable, "-c", start.format(name)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        ended.append((done.returncode, done.stdout, done.stderr))
    return ended


def test_before_a_command_begins_a_signal_is_a_line(tmp_path):
    code = "tfx_rcnn.settle = lambda: os.kill(os.getpid(), number); sys = tfx_rcnn.sys; "
    code += "tfx_rcnn._mind_sigterm(); tfx_rcnn.main()"
    assert of_the_program(code) == [
        (130, "", "stopped by Ctrl-C: nothing was begun\n"),
        (143, "", "stopped by SIGTERM: nothing was begun\n"),
    ]


def test_a_door_that_is_still_imported_says_ctrl_c_in_a_line(tmp_path):
    [(status, _, err), _] = of_the_program("tfx_rcnn.settle(); os.kill(os.getpid(), number)")
    assert (status, err) == (130, "stopped by Ctrl-C: nothing was begun\n")


def test_a_signal_after_a_commands_end_changes_nothing(tmp_path):
    code = "print('done'); tfx_rcnn._end_at_signals(3); os.kill(os.getpid(), number)"
    assert of_the_program(code) == [(3, "done\n", "")] * 2


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    code = (
        "import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from ground.interrupts import interruptible\n"
        "with interruptible(): os.kill(os.getpid(), signal.SIGINT)\n"
        "print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "True\n")


def test_a_forked_process_has_its_own_signals(tmp_path):
    """Else what a pool of processes sends its own would end us."""
    code = (
        "import os, signal, time\n"
        "from ground.interrupts import interruptible, is_interrupted\n"
        "reader, writer = os.pipe()\n"
        "with interruptible():\n"
        "    child = os.fork()\n"
        "    if not child: os.write(writer, b'1'), time.sleep(60), os._exit(0)\n"
        "    os.read(reader, 1)\n"
        "    os.kill(child, signal.SIGTERM)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), is_interrupted())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "-15 False\n"), done.stderr


def test_what_is_unfinished_is_undone_from_the_newest_on():
    undone = []

    def fail():
        undone.append("fails")
        raise OSError

    with (
        unfinished.undone_at_a_forced_end(lambda: undone.append("old")),
        unfinished.undone_at_a_forced_end(fail),
        unfinished.undone_at_a_forced_end(lambda: undone.append("new")),
    ):
        unfinished.undo_all()
    unfinished.undo_all()
    assert undone == ["new", "fails", "old"]
