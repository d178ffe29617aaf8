"""What the shard machine tells while it works, and when a shard fails."""

import errno
import json
import threading

import pytest
from apache_beam import Pipeline
from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState

from components import shard_count
from components.shard_count import InterruptedShard, ShardCount, is_done, pictures_done
from components.shard_job import ShardJob
from components.shard_results import ShardResult, do_job, read_result
from components.shards import (
    at_work,
    check_written,
    followed,
    merged,
    new_folder,
    raise_told,
)
from ground.errors import DatasetError, ServiceError
from model.tfrecord import write_tfrecord

LINE = {"file": "a", "records": 3, "sha256": "0"}


class Job(ShardJob):
    @property
    def pictures_to_do(self):
        return 3


def jobs(scratch, number=2):
    return [Job("train", n, number, f"file-{n}", "examples", str(scratch)) for n in range(number)]


def done(job):
    return ShardResult(LINE, 5, {"own": 1}, {"counter": 2})


def test_the_end_of_the_work_has_a_line(tmp_path):
    lines = []
    with followed(jobs(tmp_path), "converting", lines.append):
        for job in jobs(tmp_path):
            do_job(job, done)
    assert len(lines) == 1 and lines[0].startswith("converting: 6/6 pictures")


def test_pictures_of_a_shard_at_work_count(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_count, "_SECONDS", 0.0)
    [first, second] = jobs(tmp_path)
    do_job(first, done)
    count = ShardCount(second)
    for _ in range(2):
        count.advance()
    assert (is_done(first), is_done(second)) == (True, False)
    assert pictures_done([second]) == 2
    second.count_path.write_text("cut off")
    assert pictures_done([second]) == 0


def test_work_in_a_thread_ends_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_count, "is_interrupted", lambda: True)
    with pytest.raises(InterruptedShard):
        ShardCount(jobs(tmp_path)[0]).advance()


def test_a_screen_that_is_gone_is_met_by_the_thread_that_can_end_the_command(tmp_path):
    told = threading.Event()

    def tell(line):
        told.set()
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    for job in jobs(tmp_path):
        do_job(job, done)
    with pytest.raises(BrokenPipeError), followed(jobs(tmp_path), "converting", tell):
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
    with followed([job], "converting", lines.append), pytest.raises(DatasetError, match="broken"):
        do_job(job, fail)
    assert json.loads(job.result_path.read_text()) == {"error": ["DatasetError", "broken"]}
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


class Idle(PipelineRunner):
    """Reports success and does nothing, as DaskRunner with files."""

    def run_pipeline(self, pipeline, options):
        return Result(PipelineState.DONE)


class Result(PipelineResult):
    def wait_until_finish(self, duration=None):
        return self._state


def test_a_job_whose_output_is_missing_fails_in_one_line(tmp_path):
    [first, second] = jobs(tmp_path)
    said = (
        r"^split 'train', shard 2 of 2: Idle reports success, and nothing came of 1 shard of 2 in "
        rf"{tmp_path}: its workers must see that folder"
    )
    with (
        pytest.raises(ServiceError, match=said),
        at_work([first, second], "converting", lambda: Pipeline(runner=Idle()), lambda line: None),
    ):
        do_job(first, done)


@pytest.mark.parametrize("left", ["nothing", "less"])
def test_a_shard_that_is_short_fails_in_one_line(tmp_path, left):
    job = ShardJob("train", 0, 1, "file-0", str(tmp_path / "examples"), str(tmp_path))
    job.path.parent.mkdir(parents=True)
    with open(job.path, "wb") as stream:
        for payload in (b"a", b"b", b"c"):
            write_tfrecord(stream, payload)
    check_written(job, LINE)
    if left == "nothing":
        job.path.unlink()
    else:
        with open(job.path, "wb") as stream:
            write_tfrecord(stream, b"a")
    found = {"nothing": "is not there", "less": "holds 1"}[left]
    said = rf"^split 'train', shard 1 of 1: 3 records written, and file-0 {found} in {tmp_path}"
    with pytest.raises(DatasetError, match=said):
        check_written(job, LINE)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Pipeline job-1 failed in state FAILED:\n java"), "the job failed (Pipeline"),
        (type("FutureTimeoutError", (Exception,), {})(), "no job service answers: is it running"),
        (KeyError(), "the job failed (KeyError)"),
    ],
)
def test_what_a_runner_says_of_its_failure_is_one_line(tmp_path, error, said):
    class Failing(Idle):
        def run_pipeline(self, pipeline, options):
            raise error

    with (
        pytest.raises(ServiceError) as told,
        at_work(
            jobs(tmp_path), "converting", lambda: Pipeline(runner=Failing()), lambda line: None
        ),
    ):
        pass
    assert str(told.value).startswith(f"Failing: {said}")
    assert "\n" not in str(told.value)
