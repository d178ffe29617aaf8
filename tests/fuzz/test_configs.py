"""A short run of the config fuzzer; the long one is `make fuzz`."""

from tests.fuzz.configs import mutant, run


def test_mutated_configs_load_or_end_in_a_line() -> None:
    outcomes, failures = run(200)
    assert failures == []
    assert sum(outcomes.values()) == 200
    assert outcomes["loads"] > 10 and outcomes["status 2"] > 50


def test_a_seed_gives_the_same_mutant() -> None:
    assert mutant(7) == mutant(7)
