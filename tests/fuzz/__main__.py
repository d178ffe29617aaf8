"""`python -m tests.fuzz [NAME ...] --runs 10000 --seed 0`: long runs.

Status 1 if one ends badly.
"""

import sys
import time

import click

from tests.fuzz import annotations, configs
from tests.fuzz.frame import Fuzzer, fuzz

FUZZERS: dict[str, Fuzzer] = {
    fuzzer.name: fuzzer for fuzzer in (*annotations.FUZZERS, *configs.FUZZERS)
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(FUZZERS)))
@click.option("--runs", default=10_000, show_default=True, help="Mutated inputs of each.")
@click.option("--seed", default=0, show_default=True, help="Of the first one.")
def main(names: tuple[str, ...], runs: int, seed: int) -> None:
    """Reads mutated inputs and says how it ended."""
    is_good = True
    for name in names or sorted(FUZZERS):
        start = time.monotonic()
        outcomes = fuzz(FUZZERS[name], range(seed, seed + runs))
        counts = ", ".join(f"{outcome} {n:,}" for outcome, n in outcomes.counts.most_common())
        click.echo(f"{name}: {counts} ({time.monotonic() - start:.0f} s)")
        for bad_seed, outcome, text in outcomes.bad[:20]:
            click.echo(f"  seed {bad_seed}: {outcome}: {text}")
        is_good = is_good and not outcomes.bad
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
