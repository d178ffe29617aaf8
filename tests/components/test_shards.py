"""What the shard machine tells while it works, and when a shard fails."""

import errno
import json
import threading

import pytest

from components.shard_job import ShardJob
from components.shards import (
    ShardResult,
    do_job,
    followed,
    merged,
    new_folder,
    raise_told,
    read_result,
)
from ground.errors import DatasetError

LINE = {"file": "a", "records": 3, "sha256": "0"}


def jobs(scratch, number=2):
    return [
        ShardJob("train", n, number, f"file-{n}", "examples", str(scratch)) for n in range(number)
    ]


def done(job):
    return ShardResult(LINE, 5, {"own": 1}, {"counter": 2})


def test_each_shard_has_a_line(tmp_path):
    lines = []
    with followed(jobs(tmp_path), lines.append):
        for job in jobs(tmp_path):
            do_job(job, done)
    assert lines == [f"train: shard {n} of 2 written, 3 pictures" for n in (1, 2)]


def test_a_screen_that_is_gone_is_met_by_the_thread_that_can_end_the_command(tmp_path):
    told = threading.Event()

    def tell(line):
        told.set()
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    for job in jobs(tmp_path):
        do_job(job, done)
    with pytest.raises(BrokenPipeError), followed(jobs(tmp_path), tell):
        assert told.wait(60)


def test_a_result_is_read_back_but_for_its_counters(tmp_path):
    [job] = jobs(tmp_path, 1)
    do_job(job, done)
    assert read_result(job) == ShardResult(LINE, 5, {"own": 1})


def test_a_failed_shard_leaves_its_account_and_has_no_line(tmp_path):
    def fail(job):
        raise DatasetError("broken")

    lines = []
    [job] = jobs(tmp_path, 1)
    with followed([job], lines.append), pytest.raises(DatasetError, match="broken"):
        do_job(job, fail)
    assert json.loads(job.result_path.read_text()) == {"dataset_error": "broken"}
    assert lines == []


def test_shards_add_up_to_their_split():
    split = merged([done(None), done(None)])
    assert split == {"records": 6, "objects": 10, "shards": [LINE, LINE]}


def test_a_new_folder_is_whole_or_not_there_and_its_scratch_is_gone(tmp_path):
    (tmp_path / ".out.scratch" / "results").mkdir(parents=True)  # of a killed run
    (tmp_path / ".out.12345678.partial").mkdir()
    with pytest.raises(DatasetError), new_folder(tmp_path / "out") as (folder, scratch):
        assert list(scratch.iterdir()) == [] and folder.parent == scratch.parent
        raise DatasetError("no")
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "out") as (folder, _):
        (folder / "a").write_text("a")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "a"]


@pytest.mark.parametrize(
    ("text", "number", "file"),
    [
        ("OSError: [Errno 28] No space left on device [while running 'W']", errno.ENOSPC, "O"),
        ("OSError: [Errno 28] No space left on device: '/a/b' [while ...", errno.ENOSPC, "/a/b"),
        ("PermissionError: [Errno 13] Permission denied: 'x'", errno.EACCES, "x"),
    ],
)
def test_an_error_of_the_system_is_found_in_beams_text(text, number, file):
    with pytest.raises(OSError) as error:
        raise_told(RuntimeError(text), "O")
    assert (error.value.errno, error.value.filename) == (number, file)


def test_another_error_is_left_to_the_caller():
    raise_told(RuntimeError("ValueError: no number [while running 'WriteShard']"), "O")
