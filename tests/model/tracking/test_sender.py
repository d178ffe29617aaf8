import threading

import pytest

from model.tracking import sender as module
from model.tracking.sender import Sender, without_secrets


class FakeRun:
    id = "1"

    def __init__(self):
        self.got = []


@pytest.fixture
def run():
    return FakeRun()


def giving(value):
    return lambda run: run.got.append(value)


def test_all_comes_in_its_order(run):
    sender = Sender("T", lambda: run)
    for value in range(100):
        sender.put(giving(value))
    assert sender.close(10) == []
    assert run.got == list(range(100))


def test_what_fails_is_said_once_and_tried_again(run, monkeypatch):
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)
    fails = [ConnectionError("no answer from http://me:word@host"), ConnectionError("again")]

    def open_run():
        if fails:
            raise fails.pop(0)
        return run

    sender = Sender("T", open_run)
    sender.put(giving(1))
    done = threading.Event()
    sender.put(lambda run: done.set())
    assert done.wait(10)
    assert sender.notices() == [
        "T fails, the work goes on and it is tried again: ConnectionError: no answer from "
        "http://***@host"
    ]
    assert sender.close(10) == []
    assert run.got == [1]


def test_who_never_answers_is_left_at_the_end_with_what_was_not_sent(monkeypatch):
    monkeypatch.setattr(module, "_MOST_WAITING", 3)

    def open_run():
        raise ConnectionError("gone")

    sender = Sender("T", open_run)
    for value in range(5):
        sender.put(giving(value))
    notices = sender.close(10)
    assert notices[-1] == "T: 5 things were not sent (ConnectionError: gone)"


def test_who_hangs_holds_nobody_up(run):
    release = threading.Event()
    sender = Sender("T", lambda: run)
    sender.put(lambda run: release.wait(60))
    assert sender.close(0.05) == ["T: 1 things were not sent"]
    release.set()


def test_keys_are_not_said(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123abcd")
    assert without_secrets("key 0123abcd of a:b@host is bad") == "key *** of a:b@host is bad"
    assert without_secrets("https://a:b@host/x") == "https://***@host/x"
