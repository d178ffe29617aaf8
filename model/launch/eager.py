"""One worker in this very process, its step undecorated: `breakpoint()` anywhere in `model/` works.

No subprocess, no signal handlers, no heartbeat, no redirected stream: Python's debugger finds its
terminal. The input stays a tf.data pipeline, whose functions are traced.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ground.errors import ConfigError
from model.launch.cluster import Cluster
from model.launch.job import TrainingJob
from model.launch.worker import build, run_training
from model.training.events import Event, OnEvent, RunEnded
from model.training.status import WorkerStatus, events_path

if TYPE_CHECKING:
    from model.training_settings import TrainingSettings


def eager_config(config: "TrainingSettings", cluster: Cluster) -> "TrainingSettings":
    """Returns the config with one worker of as many pictures as each of its workers has.

    Raises:
        ConfigError: there are several hosts.
    """
    if len(cluster.hosts) > 1:
        raise ConfigError(
            f"--eager runs one worker, but {cluster.source} names {len(cluster.hosts)} hosts: "
            f"unset {cluster.source}"
        )
    return config.model_copy(update={"train": config.train.with_workers(1)})


def run_eagerly(
    job: TrainingJob, on_progress: OnEvent, build_parts: Callable[..., Any] = build
) -> RunEnded:
    """Trains to the last step in this process; returns how it ended.

    Args:
        job: the job of one worker.
        on_progress: is called with every event, within the step that it tells of.
        build_parts: see `model.launch.worker.main`.

    Raises:
        Exception: whatever a step raises, as it is.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from model.training.devices import set_up_device
    from model.training.distribution import Distribution

    set_up_device(job.threads)
    events_path(job.status_dir, 0).unlink(missing_ok=True)
    status = _ToldStatus(job, on_progress)
    return run_training(job, Distribution(), status, lambda: False, build_parts, eager=True)


class _ToldStatus(WorkerStatus):
    """Passes each event on as it is written."""

    def __init__(self, job: TrainingJob, on_progress: OnEvent) -> None:
        super().__init__(job.status_dir, 0)
        self._on_progress = on_progress

    def tell(self, event: Event) -> None:
        super().tell(event)
        self._on_progress(event)
