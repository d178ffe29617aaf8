"""What differs between the versions of KFP that are played."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    """One version's way.

    Attributes:
        name: name of the release.
        has_log_output: the driver adds an output `executor-logs` (PUBLISH_LOGS=true, which the
            manifests set from 2.5 on), and the launcher writes the task's log into it.
        names_outputs: outputs carry their key as name.
        output_file_in_task_root: the executor's output file lies beside the outputs, in place of
            /tmp/kfp_outputs.
        retries_tasks: a task's `retryPolicy` is followed.
        claims_in_cache_key: the names of mounted claims are part of the fingerprint.
        nulls_are_absent: a pipeline parameter without a value leaves out a task's optional input.
        resolves_parameters_first: the driver fills in input parameters before the launcher does
            the rest.
        task_named_by_key: outputs lie below the task's key in the graph, not its display name.
    """

    name: str
    has_log_output: bool
    names_outputs: bool
    output_file_in_task_root: bool
    retries_tasks: bool
    claims_in_cache_key: bool
    nulls_are_absent: bool
    resolves_parameters_first: bool
    task_named_by_key: bool


DIALECTS = {
    "2.4": Dialect("2.4", False, False, False, False, False, False, False, False),
    "2.17": Dialect("2.17", True, True, True, True, True, True, True, True),
}
