"""All checks of the doctor: each on its own, side by side where they take seconds."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model.limits import machine_limits
from pipeline.doctor.ask import end_all
from pipeline.doctor.libraries import library_checks
from pipeline.doctor.packages import packages_rows
from pipeline.doctor.rows import Row
from pipeline.doctor.settings import ADDRESS_VARIABLE, kubeflow_row, settings_rows
from pipeline.doctor.system import system_checks

Check = Callable[[], list[Row]]
_MOST_AT_ONCE = 4


def examine(
    config_file: str, data_dir: str, kubeflow: str, root: Path, seconds: float
) -> list[Row]:
    """Returns the rows of all checks, always in the same order.

    Args:
        config_file: "" leaves out what hangs on a config.
        data_dir: "" leaves it out.
        kubeflow: address; "" takes that of the environment, if any.
        root: where a run would write.
        seconds: for each probe.
    """
    checks: list[Check] = [
        *system_checks(root, os.environ),
        packages_rows,
        *library_checks(seconds),
    ]
    if config_file:
        checks.append(lambda: settings_rows(config_file, data_dir, seconds))
    if address := kubeflow or os.environ.get(ADDRESS_VARIABLE, ""):
        checks.append(lambda: [kubeflow_row(address, os.environ)])
    return run_checks(checks)


def run_checks(checks: Sequence[Check]) -> list[Row]:
    """Returns the rows of checks in their order; one that fails by itself is a row too."""

    def rows(check: Check) -> list[Row]:
        try:
            return check()
        except Exception as error:  # so that the others are seen all the same
            found = f"{type(error).__name__}: {' '.join(str(error).split())}"
            return [Row("doctor", "error", f"a check failed: {found}", "please report this line")]

    at_once = max(1, min(_MOST_AT_ONCE, machine_limits().cores))
    with ThreadPoolExecutor(at_once) as pool:
        try:
            return [row for found in pool.map(rows, checks) for row in found]
        except BaseException:  # Ctrl-C: the pool would wait for all that is still to come
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise
