"""Runs a compiled file as KFP does, one task after the other."""

import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ground.errors import RcnnError
from ground.files import held_folder
from model.object_store import ObjectStore, open_store
from pipeline.kubeflow.player.cache import cache_key, fingerprint
from pipeline.kubeflow.player.compiled import Compiled, Message, Task, run_parameters
from pipeline.kubeflow.player.dialects import Dialect
from pipeline.kubeflow.player.driver import executor_input
from pipeline.kubeflow.player.launcher import Attempt, TaskFailedError, run_attempt
from pipeline.kubeflow.player.metadata import Metadata
from pipeline.screen import show, show_meanwhile


@dataclass
class TaskRun:
    """What became of a task: `succeeded`, `cached`, `failed` or `skipped`."""

    state: str
    seconds: float = 0.0
    attempts: int = 0
    error: str = ""
    outputs: Message = field(default_factory=lambda: {"artifacts": {}, "parameters": {}})


def seconds_between_tries(policy: Mapping[str, Any]) -> Iterator[float]:
    """Gives the wait before each retry, as Argo does.

    Args:
        policy: a RetryPolicy; {} is no retry.
    """
    # Argo takes whole numbers (`int32(retryPolicy.GetBackoffFactor())` in KFP 2.5).
    factor = int(policy.get("backoffFactor", 0))
    for index in range(int(policy.get("maxRetryCount", 0))):
        yield _duration(policy, "backoffDuration") * (factor**index if factor > 0 else 1)


def _duration(policy: Mapping[str, Any], name: str) -> float:
    """Returns a duration's whole seconds; 0 where it is not given, as KFP tells Argo."""
    return float(int(float(str(policy.get(name, "0s")).removesuffix("s"))))


class Player:
    """One run of a compiled pipeline.

    Args:
        compiled: the pipeline.
        dialect: KFP's.
        folder: all that is kept: metadata, logs, and the store where none is given.
        store: address or folder of the object store; None for one in `folder`.
        use_cache: whether results of earlier runs in this folder are taken.
        wait: between retries, seconds.
    """

    def __init__(
        self,
        compiled: Compiled,
        dialect: Dialect,
        folder: Path,
        store: str | None = None,
        use_cache: bool = True,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._compiled = compiled
        self._dialect = dialect
        self._folder = folder
        self._store: ObjectStore = open_store(store or str(folder / "store"))
        self._metadata = Metadata(folder / "metadata.json")
        self._use_cache = use_cache
        self._wait = wait
        self.run_id = str(uuid.uuid4())
        root = compiled.root.partition("?")[0]  # what it says of the store is for KFP's client
        self._run_root = f"{root.rstrip('/')}/{compiled.name}/{self.run_id}"

    def run(self, given: Mapping[str, str]) -> Message:
        """Runs all tasks; after one that failed, none is started.

        Args:
            given: text of parameters by name.

        Returns:
            `run_id`, `state`, `error`, `parameters` and `tasks` by key: state, seconds, attempts,
            outputs with address and properties.

        Raises:
            ConfigError: a parameter is unknown, missing or of another type.
            FolderInUseError: another run is at work in the folder.
        """
        parameters = run_parameters(self._compiled, given)
        with held_folder(self._folder, "wait for its end, or give another --root"):
            runs: dict[str, TaskRun] = {}
            failed = ""
            for task in self._compiled.tasks:
                if failed:
                    runs[task.key] = TaskRun("skipped")
                    continue
                runs[task.key] = self._run_task(task, parameters, runs)
                failed = runs[task.key].error
            self._metadata.save()
        return {
            "run_id": self.run_id,
            "state": "FAILED" if failed else "SUCCEEDED",
            "error": failed or None,
            "parameters": parameters,
            "tasks": {key: self._told(run) for key, run in runs.items()},
        }

    def _run_task(
        self, task: Task, parameters: Mapping[str, Any], runs: Mapping[str, TaskRun]
    ) -> TaskRun:
        show_meanwhile(f"{task.key:18} ...")
        start = time.monotonic()
        run = TaskRun("failed")
        try:
            message = executor_input(
                task,
                self._dialect,
                self._run_root,
                str(uuid.uuid4()),
                parameters,
                {key: one.outputs for key, one in runs.items()},
                self._metadata.runtime_artifact,
            )
            self._run_or_reuse(task, message, run)
        except RcnnError as error:
            run.error = " ".join(str(error).split())
        run.seconds = time.monotonic() - start
        retries = f" ({run.attempts} attempts)" if run.attempts > 1 else ""
        show(
            f"{task.key:18} {run.seconds:7.1f} s  {run.state}{retries}",
            "task",
            task=task.key,
            seconds=run.seconds,
            state=run.state,
            attempts=run.attempts,
        )
        return run

    def _run_or_reuse(self, task: Task, message: Message, run: TaskRun) -> None:
        """Takes the outputs from the cache, or from the pod of the task or of a retry."""
        key = None
        if task.is_cached and self._use_cache:
            key = fingerprint(cache_key(task, self._dialect, message))
            known = self._metadata.cached(self._compiled.name, key)
            if known is not None:
                run.state, run.outputs = "cached", known
                return
        policy = task.spec.get("retryPolicy", {}) if self._dialect.retries_tasks else {}
        waits = seconds_between_tries(policy)
        start = time.monotonic()
        while True:
            run.attempts += 1
            try:
                attempt = self._attempt(task, message, run.attempts - 1)
                run.outputs = run_attempt(attempt, self._store, self._metadata)
                break
            except RcnnError as error:
                seconds = next(waits, None)
                if seconds is None:
                    raise
                if time.monotonic() - start + seconds > _duration(policy, "backoffMaxDuration"):
                    raise TaskFailedError(
                        f"{error}; not tried again: the backoffMaxDuration of the retryPolicy is "
                        "over, which counts from the first start (without one it is 0)"
                    ) from None
                said = " ".join(str(error).split())
                line = f"{task.key:18} failed, next try in {seconds:g} s: {said}"
                show(line, "retry", "warning", task=task.key, error=said)
                self._wait(seconds)
        run.state = "succeeded"
        if key is not None:
            self._metadata.remember(self._compiled.name, key, run.outputs)
        self._metadata.save()

    def _attempt(self, task: Task, message: Message, index: int) -> Attempt:
        pod = self._folder / "pods" / f"{task.key}-{index}"
        shutil.rmtree(pod, ignore_errors=True)  # of a run that was killed
        suffix = f"-{index}" if index else ""
        log = (self._folder / "logs" / self.run_id / f"{task.key}{suffix}.log").resolve()
        return Attempt(task, self._dialect, self._run_root, message, index, pod.resolve(), log)

    def _told(self, run: TaskRun) -> Message:
        artifacts = {
            name: {
                key: value
                for key, value in self._metadata.runtime_artifact(number).items()
                if key in ("uri", "metadata")
            }
            for name, number in run.outputs["artifacts"].items()
        }
        return {
            "state": run.state,
            "seconds": round(run.seconds, 2),
            "attempts": run.attempts,
            "outputs": {**artifacts, **run.outputs["parameters"]},
        }
