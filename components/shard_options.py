"""Beam's options for the shard machine: one of our own, and what the others mean for it."""

from argparse import ArgumentParser

from apache_beam import Pipeline
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from model.limits import Limits, machine_limits

# Below it, starting a process (0.5 s) takes longer than what it takes off the others.
_LEAST_PICTURES = 100
# What one may come to that has TensorFlow loaded and a large picture in hand.
_MOST_BYTES = 1 << 30


class ShardOptions(PipelineOptions):
    """Options of the shard machine."""

    @classmethod
    def _add_argparse_args(cls, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--shard_processes",
            type=int,
            default=0,
            help="Processes that write shards on the local runner; 0: one a core.",
        )


def shard_processes(
    pipeline: Pipeline, shards: int, pictures: int, limits: Limits | None = None
) -> int:
    """Returns how many processes of this machine are to write shards; 1 is this one alone.

    Beam's own ways of running several workers are left alone: other runners, `multi_threading`,
    `multi_processing` and a number of workers.

    Args:
        pipeline: pipeline that does the work.
        shards: shards to be written.
        pictures: that they have together; for few no process is worth its start, unless asked for.
        limits: what may be used of this machine; that is looked up if None.
    """
    direct = pipeline.options.view_as(DirectOptions)
    is_ours = isinstance(pipeline.runner, FnApiRunner) and direct.direct_num_workers == 1
    if not is_ours or direct.direct_running_mode != "in_memory":
        return 1
    asked = pipeline.options.view_as(ShardOptions).shard_processes
    if asked > 0:
        return int(min(asked, max(1, shards)))
    limits = limits or machine_limits()
    most = limits.cores
    if limits.memory_bytes:
        most = min(most, limits.free_bytes // _MOST_BYTES)
    return max(1, min(most, shards, pictures // _LEAST_PICTURES))
