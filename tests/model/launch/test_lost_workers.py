"""Workers that die, stall or are missed by the others: which one is named, and what is kept."""

import re
import time
from types import SimpleNamespace

import pytest

from configs.model_schema import BackboneConfig
from ground.errors import TrainingError
from model.launch import launcher, worker_group
from model.launch.errors import WorkerLostError
from model.launch.launcher import train
from model.training.status import read_beat
from tests.free_ports import free_ports
from tests.model.launch.last_words import NO_HEARTBEAT, RESET
from tests.model.launch.runs import workers_of, write_worker
from tests.model.training.tiny_run import launch, tiny_config, write_examples

pytestmark = pytest.mark.usefixtures("no_gpus")


@pytest.mark.e2e
def test_a_full_disk_ends_the_run_without_another_start(tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_FULL", "0:3")
    events = []
    with pytest.raises(TrainingError, match=r"no space left on the disk of .*: free some space"):
        launch(tmp_path, tiny_config("1x4", max_restarts=1), on_progress=events.append)
    assert [e.name for e in events].count("restart") == 0
    assert workers_of(tmp_path) == []


def test_a_used_up_quota_is_a_full_disk(tmp_path, monkeypatch):
    worker = write_worker(
        tmp_path,
        monkeypatch,
        "status.tell(WorkerFailed('SafetensorError', 'I/O error: Disk quota exceeded'))",
        "sys.exit(1)",
    )
    examples = write_examples(tmp_path / "examples")
    config = tiny_config("1x4", max_restarts=1)
    with pytest.raises(TrainingError, match=r"^no space left on the disk of .*: free some space"):
        train(config, examples, tmp_path, worker_module=worker)


@pytest.mark.e2e
def test_a_lost_worker_is_started_again_from_the_last_checkpoint(tmp_path, monkeypatch):
    once = tmp_path / "once"
    once.touch()
    monkeypatch.setenv("TINY_DIE", "1:6:SIGKILL")
    monkeypatch.setenv("TINY_ONCE", str(once))
    events = []
    result = launch(tmp_path, tiny_config("2x2", max_restarts=1), on_progress=events.append)
    assert [e.first_step for e in events if e.name == "start"] == [0, 4]
    [restart] = [e.text for e in events if e.name == "restart"]
    assert re.match(r"worker 1 was killed by SIGKILL .*step 6, log .*/worker-1\.log", restart)
    assert result.steps == 12
    log = (tmp_path / "run" / "logs" / "worker-1.log").read_text()
    assert log.count("starts: batch 2x2") == 2


def test_a_run_is_started_again_only_so_often(tmp_path, monkeypatch):
    starts = []

    def lose_a_worker(*_):
        starts.append(1)
        raise WorkerLostError("worker 1 was killed by SIGKILL")

    monkeypatch.setattr(launcher, "_run", lose_a_worker)
    events = []
    config = tiny_config("2x2", max_restarts=2)
    frozen = config.model.model_copy(update={"backbone": BackboneConfig(frozen_stages=2)})
    config = config.model_copy(update={"model": frozen})
    with pytest.raises(WorkerLostError, match=r"^worker 1 was killed by SIGKILL$"):
        launch(tmp_path, config, on_progress=events.append)
    assert len(starts) == 3
    assert [e.name for e in events] == ["warning", "restart", "restart"]


def test_the_worker_that_the_others_miss_is_named_and_shows_its_stack(tmp_path, monkeypatch):
    worker = write_worker(
        tmp_path,
        monkeypatch,
        "status.beat('step', 8)",
        "def read_a_picture():",
        "    os.kill(os.getpid(), signal.SIGSTOP)",
        "if index == 1:",
        "    faulthandler.register(signal.SIGUSR1, open(job.stacks_path(1), 'w'))",
        "    read_a_picture()",
        "    time.sleep(60)",
        f"status.tell(WorkerFailed('UnavailableError', {NO_HEARTBEAT!r}))",
        "sys.exit(1)",
    )
    examples = write_examples(tmp_path / "examples")
    with pytest.raises(WorkerLostError, match="worker 1 gave the others no sign of life"):
        train(tiny_config("2x2"), examples, tmp_path, worker_module=worker)
    assert "read_a_picture" in (tmp_path / "run/logs/worker-1.stacks").read_text()
    assert workers_of(tmp_path) == []


def test_logs_and_stacks_of_every_start_are_kept_but_none_of_another_run(tmp_path, monkeypatch):
    worker = write_worker(
        tmp_path,
        monkeypatch,
        "print('log of', time.time_ns())",
        "open(job.stacks_path(index), 'a').write('stack\\n')",
        "sys.exit(1)",
    )
    logs = tmp_path / "run/logs"
    logs.mkdir(parents=True)
    for name in ("worker-0.log", "worker-1.log", "worker-1.stacks"):
        (logs / name).write_text("of an earlier run")
    (tmp_path / "run" / "job.json").write_text('{"examples_dir": "T"}')
    examples = write_examples(tmp_path / "examples")
    with pytest.raises(WorkerLostError, match="ended with status 1"):
        train(tiny_config("1x4", max_restarts=1), examples, tmp_path, worker_module=worker)
    assert sorted(path.name for path in logs.glob("worker-*")) == [
        "worker-0.log",
        "worker-0.stacks",
    ]
    assert len(set(re.findall(r"log of \d+", (logs / "worker-0.log").read_text()))) == 2
    assert (logs / "worker-0.stacks").read_text() == "stack\n" * 2


def test_a_worker_with_an_error_of_its_own_is_named_before_those_that_miss_it(
    tmp_path, monkeypatch
):
    worker = write_worker(
        tmp_path,
        monkeypatch,
        f"kind, message = [('UnavailableError', {RESET!r}), ('KeyError', 'a')][index]",
        "status.tell(WorkerFailed(kind, message))",
        "sys.exit(1)",
    )
    examples = write_examples(tmp_path / "examples")
    with pytest.raises(WorkerLostError, match=r"^worker 1 KeyError: a "):
        train(tiny_config("2x2"), examples, tmp_path, worker_module=worker)


def test_a_worker_of_another_host_that_is_missed_is_named_with_its_host(tmp_path, monkeypatch):
    monkeypatch.setenv("TFX_RCNN_HOSTS", ",".join(f"127.0.0.1:{p}" for p in free_ports(2)))
    monkeypatch.setenv("TFX_RCNN_HOST_INDEX", "0")
    worker = write_worker(
        tmp_path,
        monkeypatch,
        f"status.tell(WorkerFailed('UnavailableError', {RESET!r}))",
        "sys.exit(1)",
    )
    examples = write_examples(tmp_path / "examples")
    with pytest.raises(
        WorkerLostError, match=r"^worker 0 no longer reaches worker 1 on 127\.0\.0\.1:\d+,"
    ):
        train(tiny_config("2x2"), examples, tmp_path, worker_module=worker)


@pytest.mark.e2e
def test_a_stalled_worker_is_found_by_its_heartbeat(tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_STALL", "1:3")

    def now() -> float:
        """Returns the time, 600 s later as soon as worker 1 stalls and worker 0 waits for it."""
        beats = [read_beat(tmp_path / "run/status", worker)[1:] for worker in (0, 1)]
        return time.time() + 600 * (beats == [(3, "step"), (3, "input")])

    clock = SimpleNamespace(time=now, monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr(worker_group, "time", clock)
    with pytest.raises(
        TrainingError, match=r"worker 1 showed no progress .* 'input' of step 3"
    ) as e:
        launch(tmp_path, tiny_config("2x2", heartbeat_seconds=300.0))
    assert "starts: batch 2x2" in str(e.value.__cause__)
    stacks = [(tmp_path / f"run/logs/worker-{w}.stacks").read_text() for w in (0, 1)]
    assert "_misbehave" in stacks[1]
    assert "train_loop.py" in stacks[0]
    assert "_misbehave" not in stacks[0]
    assert workers_of(tmp_path) == []
