"""A probe that answers, fails, crashes, hangs: always an answer, never an exception."""

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.doctor import ask as asking
from pipeline.doctor.ask import ask


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch):
    def use(text: str) -> None:
        monkeypatch.setattr(asking, "command", lambda *given: [sys.executable, "-c", text, *given])

    return use


@pytest.mark.parametrize(
    ("text", "problem", "mend"),
    [
        ("import absent_package", "No module named 'absent_package'", "make setup"),
        ("import os; os.kill(os.getpid(), 4)", "ended by SIGILL: this processor lacks", "with AVX"),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL: out of memory?", "more memory"),
        ("import os; os.kill(os.getpid(), 11)", "ended by SIGSEGV", "make setup"),
        ("import os; os.kill(os.getpid(), 15)", "ended by SIGTERM: no reason given", "make setup"),
        ("raise SystemExit('a sum of 3 for 4')", "a sum of 3 for 4", "make setup"),
        ("raise SystemExit(7)", "ended with status 7", "make setup"),
        ("raise OSError(28, 'No space left on device')", "No space left", "free some space"),
        ("print('hello')", "gave no answer", "make setup"),
        ("pass", "gave no answer", "make setup"),
        ("import sys; sys.stderr.buffer.write(b'\\xff\\n'); sys.exit(1)", "\ufffd", "make setup"),
    ],
)
def test_what_fails_is_a_line_with_what_mends_it(program, text, problem, mend) -> None:
    program(text)
    asked = ask("a.probe", seconds=60)
    assert asked.values is None
    assert problem in asked.problem and "\n" not in asked.problem
    assert mend in asked.mend


def test_the_last_line_is_the_answer(program) -> None:
    program(
        "import os, sys; print('noise'); sys.stderr.write('why'); "
        "print('[\"%s\", \"%s\"]' % (sys.argv[2], os.environ['EXTRA']))"
    )
    asked = ask("a.probe", "given", seconds=60, environ={"EXTRA": "x"})
    assert asked.values == ["given", "x"] and asked.log == "why" and not asked.problem


def test_what_hangs_is_ended_with_all_that_it_started(program, tmp_path: Path) -> None:
    program(
        "import subprocess, sys, time; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        f"open('{tmp_path}/pid', 'w').write(str(child.pid)); time.sleep(600)"
    )
    asked = ask("a.probe", seconds=2)
    assert asked.values is None and asked.problem == "did not answer within 2 s"
    child = int((tmp_path / "pid").read_text())
    until = time.monotonic() + 30  # a process that was killed still has to end
    while _runs(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _runs(child)
    assert not asking._running


def _runs(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_nothing_of_ours_runs_in_the_users_folder(program, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program("import os; print('\"%s\"' % os.environ.get('PYTHONPATH'))")
    assert ask("a.probe", seconds=60).values == "None"
    assert os.environ["PYTHONPATH"] == str(tmp_path)
