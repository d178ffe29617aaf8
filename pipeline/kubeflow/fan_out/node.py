"""What the training's other pods run: `python -m pipeline.kubeflow.entry node`."""

import os
import signal
import threading
from collections.abc import Callable, MutableMapping
from pathlib import Path

from absl import logging

from components.detection_trainer.settings import DetectionTrainerSettings
from ground.addresses import is_address, shown_address
from ground.errors import ConfigError, DatasetError, ServiceError
from model.launch.errors import TrainingStopped
from model.launch.launcher import WORKER_MODULE, train
from model.object_store import download, open_store
from model.training.events import Event, Notice
from pipeline.kubeflow.fan_out.cluster_api import ApiRefusal, ClusterApi
from pipeline.kubeflow.fan_out.manifests import (
    COMPLETION_INDEX,
    HOSTS_VARIABLE,
    INDEX_VARIABLE,
    PLACE_VARIABLE,
    READY_FILE,
    WORK_VARIABLE,
    Work,
)

_POLL_SECONDS, _SECONDS_TO_STOP = 10.0, 20.0


def run(
    folder: Path,
    environ: MutableMapping[str, str] = os.environ,
    connect: Callable[[], ClusterApi] = ClusterApi.of_this_pod,
    worker_module: str = WORKER_MODULE,
    poll_seconds: float = _POLL_SECONDS,
    ready_file: str = READY_FILE,
) -> None:
    """Trains along until the training ends; ends with it, and with the trainer's pod.

    Args:
        folder: for the examples and what else this pod needs.
        environ: environment of the process; is told the hosts.
        connect: makes the API server's client.
        worker_module: the module that is run for each worker.
        poll_seconds: between looks at the trainer's pod.
        ready_file: is made when the examples are there; the trainer waits for that.

    Raises:
        ConfigError: this is no pod of such a Job.
        DatasetError: there are no examples where they should be.
        TrainingError: a worker was lost; the Job makes another pod, which goes on.
    """
    work = _take_place(environ)
    Path(ready_file).unlink(missing_ok=True)  # of a container before, where /tmp is a volume
    api = connect()
    if _has_ended(api, work):
        logging.info("the trainer's pod %s has ended: there is nothing to do", work.owner)
        return
    logging.set_verbosity(logging.INFO)
    examples = _examples(work.examples, folder)
    Path(ready_file).touch()
    ended, orphaned = threading.Event(), threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(api, work, ended, orphaned, poll_seconds), daemon=True
    )
    watcher.start()
    try:
        config = DetectionTrainerSettings.from_json(work.settings, work.overrides)
        train(config, examples, folder / "out", on_progress=_tell, worker_module=worker_module)
    except TrainingStopped:
        if not orphaned.is_set():
            raise
        logging.info("the trainer's pod %s has ended, and this one with it", work.owner)
    finally:
        ended.set()
        watcher.join()


def _tell(event: Event) -> None:
    """Logs what this pod's first worker has to say; the chief tells of the training."""
    if isinstance(event, Notice):
        logging.warning("%s", event.line)


def _take_place(environ: MutableMapping[str, str]) -> Work:
    """Returns the work, and sets the variables by which the training finds its hosts.

    Raises:
        ConfigError: this is no pod of a training on several.
    """
    text = environ.get(WORK_VARIABLE, "")
    index = environ.get(PLACE_VARIABLE) or environ.get(COMPLETION_INDEX, "")
    if not text or not index.isdecimal():
        raise ConfigError(
            f"node: {WORK_VARIABLE} and {COMPLETION_INDEX} (or {PLACE_VARIABLE}) are set in the "
            "pods that a training on several pods makes: this is none"
        )
    work = Work.from_json(text)
    environ[HOSTS_VARIABLE] = ",".join(work.hosts)
    environ[INDEX_VARIABLE] = str(int(index) + 1)  # the trainer's pod is the first
    environ.pop("TF_CONFIG", None)  # a TFJob's names its own pods, without the trainer's
    return work


def _examples(place: str, folder: Path) -> Path:
    """Returns the local folder of the examples; fetches them from an address.

    Raises:
        DatasetError: there is nothing.
        ServiceError: the store refuses.
    """
    if not is_address(place):
        if not Path(place).is_dir():
            raise DatasetError(f"{place}: no such folder in this pod: is its volume mounted?")
        return Path(place)
    above, _, name = place.rstrip("/").rpartition("/")
    local = folder / "examples"
    if not download(open_store(above), name, local):
        raise DatasetError(f"{shown_address(place)}: there is nothing")
    return local


def _watch(
    api: ClusterApi,
    work: Work,
    ended: threading.Event,
    orphaned: threading.Event,
    poll_seconds: float,
) -> None:
    """Ends the training here when the trainer's pod has ended; nobody else would."""
    while not ended.wait(poll_seconds):
        if _has_ended(api, work):
            orphaned.set()
            os.kill(os.getpid(), signal.SIGTERM)
            if not ended.wait(_SECONDS_TO_STOP):
                os.kill(os.getpid(), signal.SIGTERM)
            return


def _has_ended(api: ClusterApi, work: Work) -> bool:
    """Returns whether the trainer's pod is known to have ended."""
    try:
        pod = api.pod(work.owner)
    except ApiRefusal as refusal:
        return refusal.status == 404
    except ServiceError as error:
        logging.log_every_n_seconds(logging.WARNING, "%s", 60, error)
        return False
    is_other = pod["metadata"]["uid"] != work.owner_uid
    return is_other or pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
