"""How many processes write shards."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from components.beam_options import beam_arguments
from components.shard_options import leave_processes_to_us, shard_processes
from model.limits import Limits

GIB = 1 << 30
MACHINE = Limits(4, 64, 32 * GIB, 16 * GIB, {})
MANY = 10_000  # pictures
PROCESSES = ["--direct_running_mode=multi_processing"]


@pytest.mark.parametrize(
    ("arguments", "limits", "shards", "pictures", "expected"),
    [
        ([], MACHINE, 8, MANY, 4),  # the container's cores, not the node's
        (["--direct_running_mode=in_memory"], MACHINE, 8, MANY, 4),
        ([], MACHINE, 3, MANY, 3),
        ([], MACHINE, 0, MANY, 1),
        ([], MACHINE, 8, 250, 2),  # few pictures
        ([], MACHINE, 8, 20, 1),
        ([], MACHINE._replace(free_bytes=2 * GIB), 8, MANY, 2),
        ([], MACHINE._replace(free_bytes=1), 8, MANY, 1),
        ([], MACHINE._replace(memory_bytes=0, free_bytes=0), 8, MANY, 4),  # unknown
        (["--shard_processes=1"], MACHINE, 8, MANY, 1),
        (["--shard_processes=7"], MACHINE, 8, 20, 7),  # as it was asked for
        (["--shard_processes=7"], MACHINE, 2, MANY, 2),
        (["--direct_num_workers=3"], MACHINE, 8, MANY, 1),  # Beam's own ways
        (["--direct_running_mode=multi_threading"], MACHINE, 8, MANY, 1),
        (["--direct_running_mode=multi_processing"], MACHINE, 8, MANY, 1),
        ([*PROCESSES, "--direct_num_workers=3"], MACHINE, 8, MANY, 3),
        ([*PROCESSES, "--direct_num_workers=6"], MACHINE, 8, MANY, 6),  # as it was asked for
        ([*PROCESSES, "--direct_num_workers=6"], MACHINE._replace(free_bytes=GIB), 8, MANY, 1),
        ([*PROCESSES, "--direct_num_workers=3"], MACHINE, 8, 150, 1),
        ([*PROCESSES, "--direct_num_workers=3", "--shard_processes=2"], MACHINE, 8, 20, 2),
        (["--runner=PortableRunner", "--job_endpoint=embed"], MACHINE, 8, MANY, 1),
    ],
)
def test_as_many_processes_as_are_of_use(arguments, limits, shards, pictures, expected) -> None:
    pipeline = beam.Pipeline(options=PipelineOptions(beam_arguments(arguments)))
    assert shard_processes(pipeline, shards, pictures, limits) == expected


def test_beam_starts_no_processes_where_ours_do_the_work() -> None:
    arguments = beam_arguments([*PROCESSES, "--direct_num_workers=3"])
    pipeline = beam.Pipeline(options=PipelineOptions(arguments))
    leave_processes_to_us(pipeline)
    direct = pipeline.options.view_as(DirectOptions)
    assert (direct.direct_running_mode, direct.direct_num_workers) == ("in_memory", 1)
