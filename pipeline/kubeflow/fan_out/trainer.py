"""The trainer's side: brings up the other pods, watches them, takes them away."""

import contextlib
import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from absl import logging

from components.detection_trainer.settings import DetectionTrainerSettings
from ground.errors import ConfigError, RcnnError, ServiceError, TrainingError
from model.launch.errors import TrainingStopped
from pipeline.kubeflow.entry import NODES_VARIABLE
from pipeline.kubeflow.fan_out.cluster_api import ApiAway, ClusterApi, Seen
from pipeline.kubeflow.fan_out.kinds import kind_from
from pipeline.kubeflow.fan_out.manifests import (
    HOSTS_VARIABLE,
    INDEX_VARIABLE,
    Manifest,
    Work,
    hosts_of,
    name_of,
)
from pipeline.kubeflow.fan_out.pods import (
    losses,
    ready,
    why_hopeless,
    why_no_image,
    why_suspended,
    why_waiting,
)
from pipeline.kubeflow.messages import Message
from pipeline.kubeflow.parameters import OVERRIDES, with_overrides
from pipeline.kubeflow.pod_paths import address_of

EXECUTOR = "components.detection_trainer.executor.Executor"
IN_KUBERNETES = "KUBERNETES_SERVICE_HOST"  # in every pod
Look = Callable[[], Seen]  # at the object that has the other pods
_RESTARTS = 3  # of a training whose settings ask for none: pods come and go


@dataclass(frozen=True)
class Patience:
    """How long what is waited for, in seconds.

    Attributes:
        poll: between two looks.
        image: for one that cannot be pulled.
        start: for all pods to be ready; nodes may have to be made, and examples fetched.
        away: for an API server that does not answer while pods start.
        stop: between asking a training to stop and ending it.
    """

    poll: float = 5.0
    image: float = 180.0
    start: float = 3600.0
    away: float = 600.0
    stop: float = 30.0


@contextlib.contextmanager
def fan_out(
    executor: str,
    message: Message,
    root: str,
    environ: MutableMapping[str, str] = os.environ,
    connect: Callable[[], ClusterApi] = ClusterApi.of_this_pod,
    patience: Patience | None = None,
) -> Iterator[None]:
    """Has the trainer's other pods at work within the block; does nothing for other components.

    Args:
        executor: class path of what is run.
        message: its ExecutorInput with the pod's paths; the overrides are changed.
        root: root of the pod's folders.
        environ: environment of the process; is told the hosts.
        connect: makes the API server's client.
        patience: how long what is waited for.

    Raises:
        ConfigError: the number of pods or their kind is none.
        ServiceError: Kubernetes refuses, or does not answer.
        TrainingError: the pods do not come, or were taken away.
    """
    nodes = _nodes(environ) if executor == EXECUTOR else 1
    if nodes == 1:
        yield
        return
    if root or not environ.get(IN_KUBERNETES):  # played by run-compiled, perhaps in a pod
        logging.warning("not in Kubernetes: trains in this process instead of %d pods", nodes)
        yield
        return
    patience, kind = patience or Patience(), kind_from(environ)
    logging.set_verbosity(logging.INFO)
    _allow_restarts(message)
    api = connect()
    pod = api.own_pod(environ)
    work = _work(message, root, pod, hosts_of(pod, nodes, environ, kind.host))
    values = message["inputs"]["parameterValues"]
    restarts = _settings(values).train.max_restarts
    try:
        api.create(kind, kind.manifests(pod, work, restarts))
        look = functools.partial(api.look, kind, name_of(pod))
        _wait_until_all_are_ready(look, nodes - 1, patience)
        environ[HOSTS_VARIABLE], environ[INDEX_VARIABLE] = ",".join(work.hosts), "0"
        with _watched(look, patience):
            yield
    finally:
        api.delete(kind, pod)
        for name in (HOSTS_VARIABLE, INDEX_VARIABLE):
            environ.pop(name, None)


def _nodes(environ: MutableMapping[str, str]) -> int:
    text = environ.get(NODES_VARIABLE, "1")
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise ConfigError(f"{NODES_VARIABLE} is {text!r}: expected a number of pods")
    return int(text)


def _allow_restarts(message: Message) -> None:
    """Has the training go on when a pod is lost, unless its settings say how often."""
    values = message["inputs"]["parameterValues"]
    if _settings(values).train.max_restarts == 0:
        given = {"train.max_restarts": _RESTARTS}
        values[OVERRIDES] = with_overrides(given, values.get(OVERRIDES), wins=True)


def _settings(values: Mapping[str, Any]) -> DetectionTrainerSettings:
    return DetectionTrainerSettings.from_json(values["settings"], values.get(OVERRIDES))


def _work(message: Message, root: str, pod: Manifest, hosts: tuple[str, ...]) -> Work:
    """Returns what the other pods are told; the chief alone reads weights to start from."""
    values = message["inputs"]["parameterValues"]
    [examples] = message["inputs"]["artifacts"]["examples"]["artifacts"]
    overrides = with_overrides({"model.weights": None}, values.get(OVERRIDES), wins=True)
    return Work(
        settings=values["settings"],
        overrides=overrides,
        examples=address_of(examples["uri"], root) or examples["uri"],
        hosts=hosts,
        owner=pod["metadata"]["name"],
        owner_uid=pod["metadata"]["uid"],
    )


def _wait_until_all_are_ready(look: Look, count: int, patience: Patience) -> None:
    """Returns when all pods have their examples and can train.

    Raises:
        TrainingError: they cannot, or do not in time.
        ServiceError: Kubernetes refuses, or is away for too long.
    """
    started = time.monotonic()
    answered, no_image_since, told = started, None, ""
    while True:
        now = time.monotonic()
        try:
            seen = look()
        except ApiAway:
            if now - answered > patience.away:
                raise
            time.sleep(patience.poll)
            continue
        answered = now
        if ready(seen) >= count:
            logging.info("all %d other pods of the training are ready", count)
            return
        no_image = why_no_image(seen)
        no_image_since = (no_image_since or now) if no_image else None
        hopeless = why_hopeless(seen)
        if no_image_since is not None and now - no_image_since >= patience.image:
            hopeless = hopeless or no_image
        waiting = why_waiting(seen)
        if not hopeless and now - started > patience.start:
            hopeless = f"{ready(seen)} of {count} are ready after {patience.start:g} s: {waiting}"
        if hopeless:
            raise TrainingError(f"the training's other pods do not come: {hopeless}")
        line = f"{ready(seen)} of {count} other pods are ready" + (
            f": {waiting}" if waiting else ""
        )
        if line != told:
            logging.info("%s", line)
            told = line
        time.sleep(patience.poll)


@contextlib.contextmanager
def _watched(look: Look, patience: Patience) -> Iterator[None]:
    """Ends the training of the block where its other pods are gone for good.

    Raises:
        TrainingError: that is so; with what Kubernetes says.
    """
    ended = threading.Event()
    found: list[str] = []
    watcher = threading.Thread(
        target=_watch, args=(look, patience, ended, found), name="pods", daemon=True
    )
    watcher.start()
    try:
        yield
    except RcnnError as error:
        is_lost = isinstance(error, TrainingError) and not isinstance(error, TrainingStopped)
        reason = found[0] if found else _reason_now(look) if is_lost else ""
        if reason:
            raise TrainingError(f"{reason}; {error}") from error
        raise
    finally:
        ended.set()
        watcher.join()


def _watch(look: Look, patience: Patience, ended: threading.Event, found: list[str]) -> None:
    """Tells of lost pods; asks the training to stop, then ends it, where no others will come."""
    told: set[str] = set()
    while not ended.wait(patience.poll):
        try:
            seen = look()
        except ServiceError as error:  # the training itself needs no API server
            logging.log_every_n_seconds(logging.WARNING, "%s; the training goes on", 60, error)
            continue
        for loss, line in losses(seen).items():
            if loss not in told:
                logging.warning("%s", line)
                told.add(loss)
        reason = why_hopeless(seen)
        if reason and not ended.is_set():
            found.append(reason)
            logging.error("%s", reason)
            os.kill(os.getpid(), signal.SIGTERM)  # as a person would: a checkpoint is written
            if not ended.wait(patience.stop):
                os.kill(os.getpid(), signal.SIGTERM)
            return


def _reason_now(look: Look) -> str:
    """Returns why the pods are gone; "" where they are not, or nobody can say."""
    try:
        seen = look()
    except ServiceError:
        return ""
    return why_hopeless(seen) or why_suspended(seen)
