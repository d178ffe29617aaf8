"""A short run of each fuzzer of COCO files; `make fuzz` is the long one."""

import pytest

from tests.fuzz.annotations import FUZZERS
from tests.fuzz.frame import Fuzzer, fuzz


@pytest.mark.parametrize("fuzzer", FUZZERS, ids=lambda fuzzer: fuzzer.name)
def test_mutated_files_end_well(fuzzer: Fuzzer) -> None:
    outcomes = fuzz(fuzzer, range(100))
    assert outcomes.bad == []
    assert sum(outcomes.counts.values()) == 100
    # Some are read to the end, some refused: the mutations are neither too mild nor too wild.
    assert min(outcomes.counts["fine"], outcomes.counts["one-line error"]) >= 10
