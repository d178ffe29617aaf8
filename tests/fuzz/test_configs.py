"""A short run of the config fuzzer; `make fuzz` is the long one."""

import random

from tests.fuzz.configs import FUZZERS, mutant
from tests.fuzz.frame import fuzz


def test_mutated_configs_load_or_end_in_a_line() -> None:
    [fuzzer] = FUZZERS
    outcomes = fuzz(fuzzer, range(200))
    assert outcomes.bad == []
    assert sum(outcomes.counts.values()) == 200
    assert outcomes.counts["fine"] >= 5 and outcomes.counts["one-line error"] >= 100


def test_a_seed_gives_the_same_mutant() -> None:
    assert mutant(random.Random(7)) == mutant(random.Random(7))
