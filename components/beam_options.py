"""The options that our Beam pipelines run with."""

import contextlib
import io
from collections.abc import Sequence

from components.beam_runners import check_options, check_runner
from ground.errors import ConfigError
from model.limits import machine_limits

# By its full name, as Beam has no short one. Its default, the "DirectRunner", looks from Beam 2.65
# on for a binary to download first, and only then takes this one.
LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
# Else Beam asks pip, which is not everywhere, for what is installed, to have the workers log it.
_NO_PIP = "--experiments=disable_logging_submission_environment"


def beam_arguments(given: Sequence[str]) -> list[str]:
    """Returns Beam's arguments with the local runner named where they name none, or its default.

    Args:
        given: `pipeline.beam_args` of the config.

    Raises:
        ConfigError: Beam cannot read them, has no such runner, or lacks an option of the local one.
    """
    # Beam takes seconds to import.
    from apache_beam.options.pipeline_options import (
        DirectOptions,
        PipelineOptions,
        StandardOptions,
    )

    from components.shard_options import ShardOptions

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            options = PipelineOptions(list(given))
            runner = options.view_as(StandardOptions).runner
            workers = options.view_as(DirectOptions).direct_num_workers
            processes = options.view_as(ShardOptions).shard_processes
    except SystemExit:  # argparse's way
        reason = (said.getvalue().strip().splitlines() or ["not readable"])[-1]
        raise ConfigError(f"pipeline.beam_args: {reason.rpartition('error: ')[2]}") from None
    if processes < 0:
        raise ConfigError(
            "pipeline.beam_args: --shard_processes: expected 0 (one a core) or more, "
            f"got {processes}"
        )
    if runner is None or runner.lower() in ("direct", "directrunner"):
        check_options(list(given))
        # The last one counts. 0 is Beam's "one a core", which takes all that the node has.
        limited = [f"--direct_num_workers={machine_limits().cores}"] if workers == 0 else []
        return [*given, *limited, f"--runner={LOCAL_RUNNER}"]
    check_runner(runner)
    return [*given, _NO_PIP]
