"""Beam's arguments: a runner is named wherever the user names none."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from components.beam_options import _NO_PIP, LOCAL_RUNNER, beam_arguments
from ground.errors import ConfigError
from model.limits import Limits

OURS = f"--runner={LOCAL_RUNNER}"


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ([], True),
        (["--direct_running_mode=in_memory"], True),
        (["--direct_num_workers", "3", "--direct_running_mode=multi_threading"], True),
        (["--resource_hint=runner=none"], True),
        (["--runner=DirectRunner"], True),
        (["--runner", "direct"], True),
        (["--runner=PortableRunner", "--job_endpoint=embed"], False),
        (["--runner", "FlinkRunner", "--flink_version=1.18"], False),
        (["--runner=apache_beam.runners.dataflow.DataflowRunner"], False),
        (["--runner=DirectRunner", "--runner=SparkRunner"], False),
    ],
)
def test_the_local_runner_is_named_where_none_is(given: list[str], added: bool) -> None:
    assert beam_arguments(given) == [*given, OURS if added else _NO_PIP]


def test_one_worker_a_core_is_one_a_core_of_the_container(monkeypatch) -> None:
    limits = Limits(3, 64, 0, 0, {})
    monkeypatch.setattr("components.beam_options.machine_limits", lambda: limits)
    given = ["--direct_num_workers=0"]
    assert beam_arguments(given) == [*given, "--direct_num_workers=3", OURS]
    flink = [*given, "--runner=FlinkRunner"]
    assert beam_arguments(flink) == [*flink, _NO_PIP]


def test_beam_takes_it_by_that_name() -> None:
    pipeline = beam.Pipeline(options=PipelineOptions(beam_arguments(["--runner=DirectRunner"])))
    assert type(pipeline.runner) is FnApiRunner


def test_what_beam_cannot_read_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    said = "pipeline.beam_args: argument --runner: expected one argument"
    with pytest.raises(ConfigError, match=said):
        beam_arguments(["--runner"])
    with pytest.raises(ConfigError, match=r"--shard_processes: invalid int value: 'all'$"):
        beam_arguments(["--shard_processes=all"])
    with pytest.raises(ConfigError, match=r"--shard_processes: expected 0 .one a core. or more"):
        beam_arguments(["--shard_processes=-1"])
    assert capfd.readouterr() == ("", "")
