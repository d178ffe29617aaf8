"""What every container of a compiled pipeline runs, TFX's own components too.

    python -m pipeline.kubeflow.entry --executor_class_path C \
        --json_serialized_invocation_args '{{$}}' --json_serialized_inputs_spec_args I \
        --json_serialized_outputs_spec_args O [Beam's arguments]

The arguments are those of TFX's entry and one more. It translates what KFP's launcher says
(messages.py), has TFX's entry run the executor, and translates back what that leaves for the
launcher. How it ends:

    0    the executor came to its end
    143  SIGTERM came; a training wrote a checkpoint and goes on from it the next time
    else the status that the same error has at the command line, as a rule 1

and where it does not end with 0, one line in /dev/termination-log, which Kubernetes keeps.

The launcher passes no signal on (`execute` in backend/src/v2/component/launcher_v2.go starts the
command and waits). Argo's emissary, the container's first process, sends SIGTERM to the whole
process group, thus to us; but the launcher ends of it at once, and the container a second later at
most (cmd/argoexec/commands/emissary.go, workflow/executor/os-specific). So what a training must not
lose it writes by steps, not at the end.
"""

import argparse
import contextlib
import getpass
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ground.console import explain
from ground.errors import EXIT_FAILED, ConfigError, RcnnError, TrainingError
from ground.files import write_json
from model.limits import share_machine
from pipeline.kubeflow import data_version
from pipeline.kubeflow.messages import Message, for_launcher, for_tfx
from pipeline.kubeflow.mirrors import Mirrors
from pipeline.kubeflow.parameters import with_typed_as_overrides
from pipeline.kubeflow.pod_paths import pod_root
from pipeline.kubeflow.tracked import tracking_asked

EXIT_TERMINATED = 128 + signal.SIGTERM
TERMINATION_LOG = "/dev/termination-log"
# Of a training on several pods (fan_out/): how many, by what kind of object, what the others run.
NODES_VARIABLE = "TFX_RCNN_TRAINER_NODES"
NODES_BY_VARIABLE = f"{NODES_VARIABLE}_BY"
NODE_COMMAND = "node"
_LONGEST_MESSAGE = 2000  # bytes; Kubernetes keeps the last 4096 of the file.

# `python -m` looks for modules in the working folder first, where `model` or `configs` may be a
# folder of the user's; so that place comes last, for an image where our packages are nowhere else.
COMMAND = (
    "python",
    "-c",
    "import sys; sys.path.append(sys.path.pop(0)); "
    "from pipeline.kubeflow.entry import main; main()",
)


class Terminated(RcnnError):
    """Kubernetes asked this container to end."""

    exit_status = EXIT_TERMINATED


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one task and ends the process."""
    root = pod_root()
    mirrors = Mirrors(Path(f"{root}/tmp/tfx-rcnn"))
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        _make_home(Path(f"{root}/tmp/tfx-rcnn/home"))
        with _termination_raised():
            if given == [NODE_COMMAND]:
                from pipeline.kubeflow.fan_out import node

                share_machine(os.environ)
                node.run(Path(f"{root}/tmp/tfx-rcnn"))
            elif given[:1] == [data_version.COMMAND_NAME]:
                data_version.run(given[1:], _Parser(prog=data_version.COMMAND_NAME))
            else:
                _run(given, root, mirrors)
    except Exception as error:
        _tell(error, root, mirrors)
        _end(_exit_status(error))
    _end(0)


def _make_home(folder: Path) -> None:
    """Gives a user that the image does not know, as clusters choose them, a home and a name.

    Libraries keep settings there, and matplotlib, which Keras imports, ends without one.

    Raises:
        ConfigError: there is nowhere to write.
    """
    try:
        tempfile.gettempdir()
        if not os.access(os.environ.get("HOME") or "/nonexistent", os.W_OK | os.X_OK):
            folder.mkdir(parents=True, exist_ok=True)
            os.environ["HOME"] = str(folder)
    except OSError as error:
        raise ConfigError(
            f"the pod has no /tmp to write to ({error.strerror}): give its tasks one by "
            "pipeline.kubeflow.tasks: {TASK: {scratch: 10Gi}}, or a container whose root is not "
            "read-only"
        ) from None
    try:
        getpass.getuser()
    except (KeyError, OSError):  # the second from Python 3.13 on
        os.environ["USER"] = "tfx-rcnn"


def _run(arguments: Sequence[str], root: str, mirrors: Mirrors) -> None:
    """Translates, fetches, runs TFX's entry, stores, translates back."""
    given, beam_args = _parser().parse_known_args(arguments)
    executor_input = _json("--json_serialized_invocation_args", given.invocation)
    message = for_tfx(
        executor_input,
        _json("--json_serialized_inputs_spec_args", given.inputs_spec),
        _json("--json_serialized_outputs_spec_args", given.outputs_spec),
        root,
    )
    inputs = message["inputs"]
    inputs["parameterValues"] = with_typed_as_overrides(inputs.get("parameterValues") or {})
    mirrors.enter(message)
    path = given.executor_class_path
    with tracking_asked(path, message), _other_pods(path, message, root):
        _run_tfx(given.executor_class_path, message, given.inputs_spec, beam_args)
    mirrors.leave()
    output_file = Path(message["outputs"]["outputFile"])
    if output_file.exists():
        written = json.loads(output_file.read_text(encoding="utf-8"))
        write_json(output_file, for_launcher(written, root, mirrors.addresses_in))


def _other_pods(
    executor_class_path: str, message: Message, root: str
) -> contextlib.AbstractContextManager[None]:
    """Returns what has the trainer's other pods at work, where it has any."""
    if os.environ.get(NODES_VARIABLE, "1") == "1":
        return contextlib.nullcontext()
    from pipeline.kubeflow.fan_out.trainer import fan_out

    return fan_out(executor_class_path, message, root)


def _run_tfx(
    executor_class_path: str, message: Message, inputs_spec: str, beam_args: list[str]
) -> None:
    sys.argv = sys.argv[:1]  # Beam would read our arguments as its own.
    share_machine(os.environ)
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

    given = argparse.Namespace(
        executor_class_path=executor_class_path,
        json_serialized_invocation_args=json.dumps(message),
        json_serialized_inputs_spec_args=inputs_spec,
    )
    kubeflow_v2_run_executor.main((given, beam_args))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m pipeline.kubeflow.entry", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--executor_class_path", required=True, metavar="MODULE.CLASS")
    for name, target in (
        ("--json_serialized_invocation_args", "invocation"),
        ("--json_serialized_inputs_spec_args", "inputs_spec"),
        ("--json_serialized_outputs_spec_args", "outputs_spec"),
    ):
        parser.add_argument(name, dest=target, required=True, metavar="JSON")
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser whose refusal is one line, as everywhere."""

    def error(self, message: str) -> NoReturn:
        """Raises in place of ending the process.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{message}: was this file compiled by tfx-rcnn compile?")


def _json(name: str, text: str) -> Message:
    """Returns the value of an argument.

    Raises:
        ConfigError: it is no JSON object.
    """
    try:
        value: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{name}: expected JSON ({error}), got {text[:80]!r}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: expected a JSON object, got {text[:80]!r}")
    return value


@contextlib.contextmanager
def _termination_raised() -> Iterator[None]:
    """Turns SIGTERM into an exception here; a training takes the signal over while it runs.

    Raises:
        Terminated: the signal came.
    """

    def terminate(*_: Any) -> NoReturn:
        raise Terminated("stopped by SIGTERM: the pod was deleted or its node is drained")

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit_status(error: Exception) -> int:
    """Returns the status of an error; a training that was asked to stop ended by a signal."""
    if isinstance(error, TrainingError):
        from model.launch.errors import TrainingStopped

        if isinstance(error, TrainingStopped):
            return EXIT_TERMINATED
    return int(getattr(error, "exit_status", EXIT_FAILED))


def _tell(error: Exception, root: str, mirrors: Mirrors) -> None:
    """Writes in one line why the task failed, where Kubernetes keeps it and into the log."""
    line = explain(error).removesuffix(" (run again with --debug for the traceback)")
    line = mirrors.addresses_in(line)
    lines = [f"error: {line}"]
    if not isinstance(error, RcnnError):
        lines.insert(0, "".join(traceback.format_exception(error)).rstrip())
    path = root + TERMINATION_LOG
    try:
        with open(path, "r+b") as log:
            log.write(line.encode()[:_LONGEST_MESSAGE].decode(errors="ignore").encode())
    except OSError as problem:  # not a pod, or a user without the right to write there
        lines.append(f"{path}: {problem.strerror}: left without a message")
    with contextlib.suppress(BrokenPipeError):
        print("\n".join(lines), file=sys.stderr, flush=True)


def _end(status: int) -> NoReturn:
    """Ends with a status of our own, also where nobody reads the log any more.

    KFP's launcher reads it through a pipe, and may end before us.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(status)


if __name__ == "__main__":
    main()
