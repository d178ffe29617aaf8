"""Signs of life of a process that computes, and none of one that waits."""

import threading

import pytest

from model.training.busy import beats_while_busy, processor_seconds
from model.training.status import WorkerStatus, read_beat


@pytest.mark.parametrize(("each", "beats"), [(10.0, True), (0.0, False)])
def test_only_who_computes_gives_a_sign(each: float, beats: bool) -> None:
    looks, beaten, used = threading.Semaphore(0), [], [0.0]

    def look() -> float:
        used[0] += each
        looks.release()
        return used[0]

    with beats_while_busy(lambda: beaten.append(1), 0.01, look):
        for _ in range(4):
            assert looks.acquire(timeout=60)
    assert bool(beaten) is beats


def test_the_thread_ends_with_the_block_whatever_happens() -> None:
    before = threading.active_count()
    with pytest.raises(ValueError, match="a step fails"):
        with beats_while_busy(lambda: None):
            raise ValueError("a step fails")
    assert threading.active_count() == before


def test_work_takes_the_processor() -> None:
    before = processor_seconds()
    while processor_seconds() - before < 0.02:
        sum(range(10_000))


def test_a_worker_says_that_it_compiles(tmp_path) -> None:
    status = WorkerStatus(tmp_path, 0)
    status.beat("step", 7)
    with status.compiling(False):
        assert read_beat(tmp_path, 0)[1:] == (7, "step")
    with status.compiling(True):
        assert read_beat(tmp_path, 0)[1:] == (7, "compiling")
    assert read_beat(tmp_path, 0)[1:] == (7, "step")
