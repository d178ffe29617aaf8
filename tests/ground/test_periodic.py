"""What is done now and then while something longer goes on."""

import threading

import pytest

from ground.periodic import every


def test_calls_come_again_and_end_with_the_block() -> None:
    calls, before = threading.Semaphore(0), threading.active_count()
    with every(0.001, calls.release, "test"):
        for _ in range(3):
            assert calls.acquire(timeout=60)
    assert threading.active_count() == before


def test_none_comes_before_its_time() -> None:
    calls = []
    with every(60.0, lambda: calls.append(1), "test"):
        pass
    assert calls == []


def test_a_call_that_fails_is_the_last_and_is_told_at_the_end() -> None:
    called, calls = threading.Event(), []

    def fail() -> None:
        calls.append(1)
        called.set()
        raise OSError("screen is gone")

    reached = False
    with pytest.raises(OSError, match="screen is gone"):
        with every(0.001, fail, "test"):
            assert called.wait(60)
            reached = True
    assert reached and calls == [1]


def test_an_error_of_the_block_comes_before_that_of_a_call() -> None:
    called, before = threading.Event(), threading.active_count()

    def fail() -> None:
        called.set()
        raise OSError("screen is gone")

    with pytest.raises(ValueError, match="a step fails"):
        with every(0.001, fail, "test"):
            assert called.wait(60)
            raise ValueError("a step fails")
    assert threading.active_count() == before
