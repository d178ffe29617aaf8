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

    Beam's `multi_processing` says how many at most: its own processes each load Beam, and TFX's
    components have no others. Other runners and `multi_threading` are left alone.

    Args:
        pipeline: pipeline that does the work.
        shards: shards to be written.
        pictures: that they have together; for few no process is worth its start, unless asked for.
        limits: what may be used of this machine; that is looked up if None.
    """
    direct = pipeline.options.view_as(DirectOptions)
    mode, workers = direct.direct_running_mode, direct.direct_num_workers
    is_one_here = mode == "in_memory" and workers == 1
    are_processes = mode == "multi_processing" and workers > 1
    if not isinstance(pipeline.runner, FnApiRunner) or not (is_one_here or are_processes):
        return 1
    asked = pipeline.options.view_as(ShardOptions).shard_processes
    if asked > 0:
        return int(min(asked, max(1, shards)))
    limits = limits or machine_limits()
    most = workers if are_processes else limits.cores
    if limits.memory_bytes:
        most = min(most, limits.free_bytes // _MOST_BYTES)
    return max(1, min(most, shards, pictures // _LEAST_PICTURES))


def leave_processes_to_us(pipeline: Pipeline) -> None:
    """Has Beam run a pipeline in this process: each of its own would start as many of ours."""
    direct = pipeline.options.view_as(DirectOptions)
    direct.direct_running_mode, direct.direct_num_workers = "in_memory", 1
