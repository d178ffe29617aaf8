"""The frame tells apart how a run ends."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from ground.errors import DatasetError
from tests.fuzz.frame import Fuzzer, fuzz


def end(generator: random.Random, folder: Path) -> None:
    """Ends as the seed says."""
    assert list(folder.iterdir()) == []
    kind = int(generator.random() * 1e9) % 7
    (folder / "x").write_text("x")
    if kind == 1:
        raise DatasetError("one line")
    if kind == 2:
        raise TypeError("not ours")
    if kind == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == 4:
        time.sleep(60)
    if kind == 5:
        bytearray(3 << 30)
    if kind == 6:
        raise FileNotFoundError(2, "No such file", "a")


SEED_OF_KIND = {int(random.Random(seed).random() * 1e9) % 7: seed for seed in range(100)}


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5, 6), (3, 3, 0)])
def test_each_outcome_is_told(order: tuple[int, ...]) -> None:
    expected = ("fine", "one-line error", "debug line", "crash", "hang", "growth", "one-line error")
    fuzzer = Fuzzer("frame", end, seconds=1, megabytes=500)
    outcomes = fuzz(fuzzer, [SEED_OF_KIND[kind] for kind in order])
    counted = {kind: sum(expected[k] == kind for k in order) for kind in set(expected)}
    assert outcomes.counts == {kind: count for kind, count in counted.items() if count}
    bad = [expected[k] for k in order if expected[k] not in ("fine", "one-line error")]
    assert [outcome for _, outcome, _ in outcomes.bad] == bad
