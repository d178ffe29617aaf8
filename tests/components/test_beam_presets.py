"""`configs/beam`: each file changes a config, and Beam reads every option of it."""

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from components.beam_options import LOCAL_RUNNER, beam_arguments
from configs.loader import load_config

RUNNERS = {
    "direct": LOCAL_RUNNER,
    "portable": "PortableRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
}


def test_there_is_one_for_each_runner(repo):
    assert {path.stem for path in (repo / "configs/beam").glob("*.yaml")} == RUNNERS.keys()


@pytest.mark.parametrize("name", RUNNERS)
def test_beam_reads_every_option_of_it(name, repo, tmp_path):
    configs = repo / "configs"
    own = tmp_path / "own.yaml"
    own.write_text(f"base: [{configs / 'tiny.yaml'}, {configs / 'beam' / name}.yaml]\n")
    config = load_config(own)
    assert config.name == "tiny"
    options = PipelineOptions(beam_arguments(config.pipeline.beam_args))
    given = [argument.removeprefix("--") for argument in config.pipeline.beam_args]
    read = options.get_all_options(retain_unknown_options=False)
    assert read["runner"] == RUNNERS[name]
    for option, _, value in (argument.partition("=") for argument in given):
        assert option in read, option
        if option != "direct_num_workers":  # 0 is the cores that this process may use
            assert str(read[option]) == (value or "True")
