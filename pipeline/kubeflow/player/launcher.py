"""What KFP's launcher does in a task's pod: fetch the inputs, run, keep the outputs."""

import contextlib
import copy
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ground.errors import RcnnError
from ground.source_digest import SOURCE_ROOT
from model.object_store import ObjectStore, download, upload
from pipeline.kubeflow.entry import TERMINATION_LOG
from pipeline.kubeflow.player.compiled import Message, Task
from pipeline.kubeflow.player.dialects import Dialect
from pipeline.kubeflow.player.driver import LOG_OUTPUT
from pipeline.kubeflow.player.metadata import Metadata
from pipeline.kubeflow.player.placeholders import command_line
from pipeline.kubeflow.pod_paths import POD_ROOT_VARIABLE, local_path

_SECONDS_TO_STOP = 10.0
_LONGEST_MESSAGE = 4096  # bytes that Kubernetes keeps of a termination message, the last ones
# Of the environment here; a pod has the image's, and what the container and the platform add.
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "TF_CONFIG", POD_ROOT_VARIABLE)


class TaskFailedError(RcnnError):
    """A task's container failed, or what it left cannot be taken."""


@dataclass(frozen=True)
class Attempt:
    """One pod of a task.

    Attributes:
        task: the task.
        dialect: KFP's.
        run_root: address below which the run's outputs are.
        executor_input: the driver's.
        index: 0, then 1 for the first retry, ....
        pod: a folder of its own, which is removed at the end.
        log: file of what the container says.
    """

    task: Task
    dialect: Dialect
    run_root: str
    executor_input: Message
    index: int
    pod: Path
    log: Path


def run_attempt(attempt: Attempt, store: ObjectStore, metadata: Metadata) -> Message:
    """Runs one pod; returns `artifacts` (numbers in the metadata) and `parameters` of its outputs.

    Raises:
        TaskFailedError: the container ended with another status than 0.
        RecordError: an output has a property that the metadata cannot hold.
    """
    message = copy.deepcopy(attempt.executor_input)
    logs = message["outputs"].get("artifacts", {}).get(LOG_OUTPUT)
    if logs:  # each retry has a log of its own
        logs["artifacts"][0]["uri"] += f"-{attempt.index}"
    root = str(attempt.pod / "root")
    try:
        for folder in ("work", "home", "tmp", "root/dev"):
            (attempt.pod / folder).mkdir(parents=True)
        Path(root + TERMINATION_LOG).touch()
        _download_inputs(message, store, root)
        _prepare_outputs(message, root)
        status = _run(attempt, command_line(attempt.task, attempt.dialect, message, root), root)
        if logs:
            shutil.copyfile(attempt.log, str(local_path(logs["artifacts"][0]["uri"], root)))
        if status != 0:
            if logs:
                _keep_outputs(attempt, {LOG_OUTPUT: logs}, {}, store, metadata, root)
            raise TaskFailedError(_why(attempt, status, root))
        output = _executor_output(message, root)
        return {
            "parameters": _output_parameters(attempt.task, message, output, root),
            "artifacts": _keep_outputs(
                attempt,
                message["outputs"].get("artifacts", {}),
                output.get("artifacts", {}),
                store,
                metadata,
                root,
            ),
        }
    finally:
        shutil.rmtree(attempt.pod, ignore_errors=True)


def stored_name(uri: str) -> str:
    """Returns the name of an address in the store: scheme, bucket and key as folders."""
    return str(local_path(uri)).lstrip("/")


def _download_inputs(message: Message, store: ObjectStore, root: str) -> None:
    for listed in message["inputs"].get("artifacts", {}).values():
        uri = listed["artifacts"][0]["uri"]
        path = local_path(uri, root)
        if path is not None:  # the launcher skips an address that it does not know
            download(store, stored_name(uri), Path(path))


def _prepare_outputs(message: Message, root: str) -> None:
    for parameter in message["outputs"].get("parameters", {}).values():
        Path(root + parameter["outputFile"]).parent.mkdir(parents=True, exist_ok=True)
    for listed in message["outputs"].get("artifacts", {}).values():
        path = local_path(listed["artifacts"][0]["uri"], root)
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)


def _run(attempt: Attempt, command: list[str], root: str) -> int:
    """Runs the container's command in a process group of its own; returns its exit status."""
    if command[0] in ("python", "python3"):
        command = [sys.executable, *command[1:]]
    attempt.log.parent.mkdir(parents=True, exist_ok=True)
    with open(attempt.log, "wb") as log:
        try:
            process = subprocess.Popen(
                command,
                cwd=attempt.pod / "work",
                env=_environment(attempt, os.environ, root),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise TaskFailedError(f"{attempt.task.key}: {_not_started(command, error)}") from None
        with _ended_with_us(process):
            return process.wait()


def _not_started(command: list[str], error: Exception) -> str:
    """Returns why a command could not be started, as it could not on a cluster."""
    if isinstance(error, OSError) and error.errno == errno.E2BIG:
        longest = max(len(part.encode()) for part in command)
        return (
            f"a word of its command has {longest} bytes, and Linux takes 131071: the parameters "
            "are too long"
        )
    return f"{command[0]} cannot be started: {error}"


@contextlib.contextmanager
def _ended_with_us(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Ends the group of a container whose wait is broken off."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        raise


def _environment(attempt: Attempt, environ: Mapping[str, str], root: str) -> dict[str, str]:
    """Returns the container's: this Python is its image, and the image holds our packages."""
    kept = {name: value for name, value in environ.items() if name not in _NOT_INHERITED}
    given = {
        one["name"]: str(one.get("value", "")) for one in attempt.task.container.get("env", [])
    }
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{environ.get('PATH', '')}",
        "PYTHONPATH": str(SOURCE_ROOT),
        "HOME": str(attempt.pod / "home"),
        "TMPDIR": str(attempt.pod / "tmp"),
        POD_ROOT_VARIABLE: root,
        **given,
    }


def _why(attempt: Attempt, status: int, root: str) -> str:
    """Returns why a container failed, as Kubernetes would know it."""
    message = Path(root + TERMINATION_LOG).read_bytes()[-_LONGEST_MESSAGE:]
    said = message.decode(errors="replace").strip()
    if not said:
        lines = attempt.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = lines[-1].strip()[:400] if lines else "its log is empty"
    ended = f"status {status}" if status >= 0 else signal.Signals(-status).name
    return f"{attempt.task.key} ended with {ended}: {said} (log: {attempt.log})"


def _executor_output(message: Message, root: str) -> Message:
    path = Path(root + message["outputs"]["outputFile"])
    if not path.exists():
        return {}
    output: Message = json.loads(path.read_text(encoding="utf-8"))
    return output


def _output_parameters(task: Task, message: Message, output: Message, root: str) -> Message:
    """Returns the values: those in the output file, else the text of each parameter's own file.

    Raises:
        TaskFailedError: a file is missing, or its text is of another type.
    """
    values: Message = dict(output.get("parameterValues", {}))
    specs = task.component.get("outputDefinitions", {}).get("parameters", {})
    for name, place in message["outputs"].get("parameters", {}).items():
        if name in values:
            continue
        kind = specs[name]["parameterType"]
        try:
            text = Path(root + place["outputFile"]).read_text(encoding="utf-8")
            values[name] = text if kind == "STRING" else json.loads(text)
        except (OSError, ValueError) as error:
            raise TaskFailedError(
                f"{task.key}: failed to read output parameter {name!r} of type {kind}: {error}"
            ) from None
    return values


def _keep_outputs(
    attempt: Attempt,
    places: Message,
    written: Message,
    store: ObjectStore,
    metadata: Metadata,
    root: str,
) -> dict[str, int]:
    """Uploads outputs and records them; returns their numbers.

    Raises:
        TaskFailedError: an output's address is not below the run's.
    """
    numbers = {}
    for name, listed in places.items():
        artifact: dict[str, Any] = dict(listed["artifacts"][0])
        if name != LOG_OUTPUT:
            artifact = _merged(artifact, written.get(name, {}).get("artifacts", []))
        uri = artifact["uri"]
        path = local_path(uri, root)
        if path is not None:
            if not uri.startswith(attempt.run_root + "/"):
                raise TaskFailedError(
                    f"{attempt.task.key}: output {name}: URI {uri!r} does not have expected bucket "
                    f"prefix {attempt.run_root!r}"
                )
            with contextlib.suppress(FileNotFoundError):  # a component may leave out an output
                upload(store, Path(path), stored_name(uri))
        provider = uri.partition("://")[0]
        numbers[name] = metadata.record_artifact(name, artifact, provider)
    return numbers


def _merged(artifact: Message, written: list[Message]) -> Message:
    """Returns an output with what the executor's output file says of it."""
    if not written:
        return artifact
    metadata = {**(artifact.get("metadata") or {}), **(written[0].get("metadata") or {})}
    return {**artifact, "uri": written[0].get("uri") or artifact["uri"], "metadata": metadata}
