"""python -m tests.parity FOLDER: compare with torchvision's numbers, a line a check.

FOLDER has the format of the shared fixtures (README.md there). The exit status is 0 if every check
passes, 1 if one fails, 2 if the folder is not one of fixtures.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import click

from model.quiet_tensorflow import quiet_tensorflow

_FILES = ("components.npz", "images.npz", "losses.npz", "meta.json", "weights_rule.py")


@click.command(epilog="Example: python -m tests.parity ../shared/data/parity")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--only", type=click.Choice(["components", "models"]), help="Leave out the rest.")
def main(folder: Path, only: str | None) -> None:
    """Compares single parts and whole detectors with the numbers in FOLDER."""
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise click.BadParameter(f"{folder} holds no parity fixtures: {missing[0]} is missing")

    with quiet_tensorflow():
        sys.exit(_compare(folder, only))


def _compare(folder: Path, only: str | None) -> int:
    """Prints a line a check and their number; returns the exit status."""
    import tensorflow as tf

    from tests.parity.components import component_checks
    from tests.parity.models import model_checks

    tf.get_logger().setLevel("ERROR")  # Each check traces its function anew, on purpose.
    parts = {"components": component_checks, "models": model_checks}
    passed = failed = 0
    for name, checks in parts.items():
        if only in (None, name):
            for check in checks(folder):
                click.echo(f"{'pass' if check.passes else 'FAIL'}  {check.name}: {check.detail}")
                passed += check.passes
                failed += not check.passes
    click.echo(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    main()
