"""Jobs in several processes: done once each, and none outlives a failure or whoever started it."""

import collections
import os
import signal
import subprocess
import sys
import time

import pytest

from components.shard_pool import do_jobs
from components.shard_results import raise_failure, read_result
from ground.errors import DatasetError, LostProcessError
from tests.components import shard_jobs
from tests.components.shard_jobs import jobs
from tfx_rcnn import ROOT

_STARTER = """
import sys
from pathlib import Path
from components.shard_pool import do_jobs
from tests.components.shard_jobs import jobs, leave_number_and_stay
list(do_jobs(jobs(Path(sys.argv[1]), 2), leave_number_and_stay, 2))
"""


def children() -> list[str]:
    with open(f"/proc/self/task/{os.getpid()}/children") as stream:
        return stream.read().split()


def test_each_job_is_done_once_and_the_work_is_shared(tmp_path):
    before = children()
    counted = collections.Counter()
    for counters in do_jobs(jobs(tmp_path, 6), shard_jobs.say_process, 2):
        counted.update(counters)
    assert counted.total() == 6
    assert len(counted) == 2
    assert [read_result(job).line["file"] for job in jobs(tmp_path, 6)] == [
        f"file-{n}" for n in range(6)
    ]
    assert children() == before


def test_the_first_failure_ends_all(tmp_path):
    before = children()
    with pytest.raises(DatasetError, match=r"^shard 2 is broken$"):
        list(do_jobs(jobs(tmp_path, 50), shard_jobs.fail_with_the_second, 2))
    with pytest.raises(DatasetError, match=r"^shard 2 is broken$"):
        raise_failure(jobs(tmp_path, 50)[1], RuntimeError())
    assert not jobs(tmp_path, 50)[49].result_path.exists()
    assert children() == before


def test_a_mistake_is_raised_as_it_was_with_its_place(tmp_path):
    with pytest.raises(KeyError, match="file-0") as raised:
        list(do_jobs(jobs(tmp_path, 1), shard_jobs.fail_by_mistake, 2))
    assert "in fail_by_mistake" in str(raised.value.__cause__)


def test_a_killed_process_ends_in_one_line_and_ends_the_others(tmp_path):
    before = children()
    said = (
        r"^split 'train', shard 1 of 2: the process that wrote it was ended by SIGKILL, as where "
        r"memory runs out: run it again, if need be with fewer processes "
        r"\(pipeline.beam_args: \[--shard_processes=1\]\)$"
    )
    with pytest.raises(LostProcessError, match=said):
        list(do_jobs(jobs(tmp_path, 2), shard_jobs.be_killed_with_the_first, 2))
    first, second = jobs(tmp_path, 2)
    with pytest.raises(LostProcessError, match=said):
        raise_failure(first, RuntimeError())
    assert not second.result_path.exists()  # it was ended by us: that is no reason
    assert children() == before


def test_processes_end_with_a_starter_that_is_killed(tmp_path):
    starter = subprocess.Popen([sys.executable, "-c", _STARTER, str(tmp_path)], cwd=ROOT)
    files = [tmp_path / f"{n}.pid" for n in range(2)]
    try:
        _wait(lambda: all(file.exists() and file.read_text() for file in files))
        assert starter.poll() is None
    finally:
        starter.send_signal(signal.SIGKILL)
        starter.wait()
    _wait(lambda: not any(os.path.exists(f"/proc/{file.read_text()}/cwd") for file in files))


def _wait(is_so, seconds=60):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)
