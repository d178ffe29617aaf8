"""Runners that Beam has not, or that lose the output, are refused in one line; so are options."""

import pytest

from components.beam_options import beam_arguments
from ground.errors import ConfigError

KNOWN = "known are DirectRunner, PortableRunner, FlinkRunner, SparkRunner, DataflowRunner"


@pytest.mark.parametrize(
    ("runner", "said"),
    [
        ("Nope", rf"--runner=Nope: Beam has no such runner: {KNOWN}"),
        ("FlinkRuner", r"no such runner, did you mean FlinkRunner\?: known are"),
        ("DaskRunner", rf"--runner=DaskRunner reports success and writes no files: .*{KNOWN}"),
        ("dask", "reports success and writes no files"),
        ("apache_beam.runners.dask.dask_runner.DaskRunner", "writes no files"),
        ("no.such.Runner", r"--runner=no.such.Runner cannot be loaded \(No module named 'no'\)"),
        ("os.path", "Beam has no such runner"),
        ("json.JSONDecoder", "Beam has no such runner"),
        ("json.Nothing", "Beam has no such runner"),
        (".", "Beam has no such runner"),
    ],
)
def test_a_runner_that_is_none_is_refused_in_one_line(runner: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        beam_arguments([f"--runner={runner}"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--nonsense"], "Beam has no option --nonsense$"),
        (["--direct_number_workers=2"], r"--direct_number_workers: did you mean --direct_num_w"),
        (["--runner=DirectRunner", "--nonsense", "3"], "Beam has no option --nonsense$"),
    ],
)
def test_an_option_that_beam_would_pass_over_is_refused(options: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        beam_arguments(options)


def test_the_options_of_another_job_service_are_its_own() -> None:
    assert "--nonsense" in beam_arguments(["--runner=FlinkRunner", "--nonsense"])
