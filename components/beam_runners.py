"""Which of Beam's runners do our work; said before anything is begun."""

import logging
from difflib import get_close_matches

from ground.errors import ConfigError

# Those that people meet; Beam knows more, for its own tests and for notebooks.
KNOWN_RUNNERS = ("DirectRunner", "PortableRunner", "FlinkRunner", "SparkRunner", "DataflowRunner")
_SETTING = "pipeline.beam_args"


def check_runner(name: str) -> None:
    """Checks that Beam has a runner of this name, and that it can do our work.

    Args:
        name: what `--runner` says: a name of Beam's, with or without "Runner", in letters of any
            case, or a class with its module.

    Raises:
        ConfigError: there is none, its packages are missing, or it is known to lose the output.
    """
    from apache_beam.runners.runner import PipelineRunner, create_runner  # takes seconds

    known = f"known are {', '.join(KNOWN_RUNNERS)}"
    if name.rpartition(".")[2].lower().removesuffix("runner") == "dask":
        raise ConfigError(
            f"{_SETTING}: --runner={name} reports success and writes no files: give another, "
            f"{known}"
        )
    try:
        runner = create_runner(name)
    except ImportError as error:
        raise ConfigError(
            f"{_SETTING}: --runner={name} cannot be loaded ({' '.join(str(error).split())}): "
            f"install what it needs, or give another, {known}"
        ) from None
    except (ValueError, AttributeError, TypeError):
        runner = None
    if not isinstance(runner, PipelineRunner):
        near = get_close_matches(name.lower(), [each.lower() for each in KNOWN_RUNNERS], 1)
        meant = next((each for each in KNOWN_RUNNERS if [each.lower()] == near), None)
        raise ConfigError(
            f"{_SETTING}: --runner={name}: Beam has no such runner"
            f"{f', did you mean {meant}?' if meant else ''}: {known}, or a class with its module"
        )


def check_options(given: list[str]) -> None:
    """Checks that Beam has each of the options: it passes over those that it does not know.

    Only for the local runner: another one's job service may know what is not known here.

    Raises:
        ConfigError: it has not, with the nearest one.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    options = PipelineOptions(given)
    logger = logging.getLogger("apache_beam.options.pipeline_options")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of those that it discards
    try:
        known = options.get_all_options()
        unknown = options.get_all_options(retain_unknown_options=True).keys() - known.keys()
    finally:
        logger.setLevel(level)
    for name in sorted(unknown):
        near = get_close_matches(name, known, 1)
        meant = f": did you mean --{near[0]}?" if near else ""
        raise ConfigError(f"{_SETTING}: Beam has no option --{name}{meant}")
