"""Trains on several hosts over ssh: what scripts/train_ec2_multi_node.sh runs.

Every host prepares the examples from its own data (the same bytes everywhere). When all have them,
all train together; then the first host goes on with evaluation, gate and push. Each host's command
hangs on its ssh connection (pipeline/hosts/on_host.py): when a host fails, on Ctrl-C, and when this
process is killed, all of them end.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

import click

from configs.loader import load_config
from ground.addresses import is_address
from ground.console import OneLineCommand, one_line_errors
from ground.errors import ConfigError
from ground.speech import RESULT, Manner, manner, say, speech_options
from model.launch.cluster import DEFAULT_PORT, Cluster
from pipeline.hosts.on_host import SECONDS_TO_STOP

_REPOSITORY = Path(__file__).resolve().parents[2]
_SECONDS_TO_FOLLOW = 60.0  # between the first host's end and that of those which trained with it
_SSH = "ssh -o BatchMode=yes -o ServerAliveInterval=30"
_INTERRUPTED = 130
# Joins the first host's training whatever this host's cache knows.
_TRAINING_ALONE = ("--from=DetectionTrainer", "--to=DetectionTrainer", "--no-cache")


@dataclass(frozen=True)
class Host:
    """One line of the hosts file.

    Attributes:
        destination: what ssh connects to, `user@name`.
        address: `name:port` at which the other hosts reach its first worker.
    """

    destination: str
    address: str

    @property
    def name(self) -> str:
        """The address without its port."""
        return self.address.rpartition(":")[0]


def read_hosts(path: Path) -> list[Host]:
    """Returns the hosts of a file: `[USER@]NAME[:PORT]` a line, `#` begins a comment.

    Raises:
        ConfigError: the file is missing, names no host, or a line is not of that form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    hosts = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        destination, _, port = text.partition(":")
        name = destination.rpartition("@")[2]
        if not name or len(text.split()) > 1 or not (port or str(DEFAULT_PORT)).isdigit():
            raise ConfigError(f"{path}, line {number}: expected [USER@]NAME[:PORT], got {text!r}")
        hosts.append(Host(destination, f"{name}:{port or DEFAULT_PORT}"))
    if not hosts:
        raise ConfigError(f"{path}: names no host; one a line is expected")
    return hosts


class HostProcesses:
    """One command a host, each at the end of an ssh connection.

    Args:
        ssh: the program that is given a destination and a command line.
        commands: by host.
    """

    def __init__(self, ssh: list[str], commands: dict[Host, str]) -> None:
        self._processes: dict[Host, subprocess.Popen[str]] = {}
        self._printers = []
        self._stop_before: float | None = None
        for host, command in commands.items():
            process = subprocess.Popen(
                [*ssh, host.destination, command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # a terminal's Ctrl-C is ours to pass on
            )
            self._processes[host] = process
            assert process.stdout is not None, "it is a pipe"
            printer = threading.Thread(
                target=_print_lines, args=(host, process.stdout), daemon=True
            )
            printer.start()
            self._printers.append(printer)

    def stop(self) -> None:
        """Asks all hosts to end; a second call ends the connections at once."""
        if self._stop_before is not None:
            self._kill()
            return
        self._stop_before = time.monotonic() + SECONDS_TO_STOP + 30
        self._close_connections()

    def wait(self, leader: Host | None = None) -> int:
        """Returns 0, or the status of the host that failed first, when all have ended.

        Args:
            leader: when it has ended with 0, hosts that are still at work are ended, and how does
                not matter.
        """
        status, leader_ended = 0, None
        while True:
            codes = {host: process.poll() for host, process in self._processes.items()}
            failed = [host for host, code in codes.items() if code]
            if leader and codes[leader] == 0:
                leader_ended = leader_ended or time.monotonic()
            elif failed and not status:
                status = codes[failed[0]] or 1
                if self._stop_before is None:
                    line = f"[{failed[0].name}] ended with status {status}: ending all"
                    say(line, "error", "error", fields={"host": failed[0].name})
                    self.stop()
            if all(code is not None for code in codes.values()):
                break
            now = time.monotonic()
            if leader_ended and now - leader_ended > _SECONDS_TO_FOLLOW and not self._stop_before:
                self.stop()
            if self._stop_before and now > self._stop_before:
                self._kill()
            time.sleep(0.1)
        self._close_connections()
        for printer in self._printers:
            printer.join()
        return status if status >= 0 else 128 - status

    def _close_connections(self) -> None:
        for process in self._processes.values():
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()

    def _kill(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()


def _print_lines(host: Host, output: IO[str]) -> None:
    # A host that is quiet itself says results and troubles alone.
    event = RESULT if manner() is Manner.QUIET else "log"
    with output as lines:
        for line in lines:
            say(f"[{host.name}] {line.rstrip()}", event, fields={"host": host.name})


@contextlib.contextmanager
def _stopped_by_signals(processes: HostProcesses) -> Iterator[list[int]]:
    """Has SIGINT and SIGTERM stop the hosts; yields the list that takes the signals that came."""
    came: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        came.append(number)
        processes.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def host_commands(python: str, arguments: dict[Host, list[str]]) -> dict[Host, str]:
    """Returns each host's command line: `pipeline run` with its arguments, in this checkout."""
    addresses = ",".join(host.address for host in arguments)
    commands = {}
    for index, host in enumerate(arguments):
        places = [f"TFX_RCNN_HOSTS={addresses}", f"TFX_RCNN_HOST_INDEX={index}"]
        run = [python, "-m", "pipeline", "run", *arguments[host]]
        there = shlex.join(["exec", "env", *places, python, "-m", "pipeline.hosts.on_host", *run])
        commands[host] = f"cd {shlex.quote(str(_REPOSITORY))} && {there}"
    return commands


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn train-hosts hosts.txt 8 "
    "configs/awsdet/faster_rcnn_r50_fpn_1x_coco_16x4.yaml",
)
@click.argument("hosts_file", type=click.Path(path_type=Path))
@click.argument("gpus_per_node", type=click.IntRange(min=1))
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@speech_options
@one_line_errors
def main(hosts_file: Path, gpus_per_node: int, config: Path, settings: tuple[str, ...]) -> None:
    """Train CONFIG on the hosts of HOSTS_FILE with GPUS_PER_NODE workers each, over ssh.

    HOSTS_FILE has one [USER@]NAME[:PORT] a line; # begins a comment. The first is the chief: it
    evaluates and pushes, and only its folder gets the model. Every host needs this checkout with
    its .venv at the same path, and data/ (annotations/, train2017/, val2017/).

    Variables: DATA_DIR and ROOT for other folders than data and runs/<name of the config file>; %h
    in them is the host's name, for hosts that share a disk. SSH for another program than
    `ssh -o BatchMode=yes`, PYTHON for another than .venv/bin/python.
    """
    hosts = read_hosts(hosts_file)
    workers = len(hosts) * gpus_per_node
    Cluster(tuple(host.address for host in hosts), 0, str(hosts_file)).worker_addresses(workers)
    settings = (f"train.workers={workers}", *settings)
    settings = _with_absolute_weights(settings, load_config(config, settings).model.weights)

    examples = {h: _arguments(h, config, settings, "--to=CocoTransform") for h in hosts}
    training = {h: _arguments(h, config, settings, *_TRAINING_ALONE) for h in hosts}
    training[hosts[0]] = _arguments(hosts[0], config, settings)
    _run_everywhere("examples", examples)
    _run_everywhere("training", training, leader=hosts[0])


def _arguments(host: Host, config: Path, settings: tuple[str, ...], *more: str) -> list[str]:
    """Returns the arguments of a host's `pipeline run`."""
    data = os.environ.get("DATA_DIR", "data").replace("%h", host.name)
    root = os.environ.get("ROOT", f"runs/{config.stem}").replace("%h", host.name)
    places = {
        "--config": os.path.abspath(config),
        "--data-dir": data if is_address(data) else os.path.abspath(data),
        "--root": os.path.abspath(root),
    }
    options = [text for name, place in places.items() for text in (name, place)]
    speech = ["--quiet"] if manner() is Manner.QUIET else []
    return [*options, *(f"--set={setting}" for setting in settings), *more, *speech]


def _with_absolute_weights(settings: tuple[str, ...], weights: str | None) -> tuple[str, ...]:
    """Returns settings by which hosts, at work in the checkout, find a file named from here."""
    from model.weights.named import is_file_name

    if weights is None or not is_file_name(weights):
        return settings
    others = [text for text in settings if text.partition("=")[0].strip() != "model.weights"]
    return (*others, f"model.weights={json.dumps(os.path.abspath(weights))}")


def _run_everywhere(
    name: str, arguments: dict[Host, list[str]], leader: Host | None = None
) -> None:
    """Runs the pipeline on all hosts; ends this process where one fails or a signal comes.

    Args:
        name: name of this part of the work, for the screen.
        arguments: arguments of each host's `pipeline run`.
        leader: see `HostProcesses.wait`.
    """
    say(f"{name} on {', '.join(host.name for host in arguments)}")
    commands = host_commands(os.environ.get("PYTHON", ".venv/bin/python"), arguments)
    processes = HostProcesses(shlex.split(os.environ.get("SSH", _SSH)), commands)
    with _stopped_by_signals(processes) as came:
        status = processes.wait(leader)
    if came:
        status = status or (0 if leader else _INTERRUPTED)
        line = "stopped: run the same again to go on"
        say(line, "stopped", "error", fields={"exit_status": status})
        sys.exit(status)
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main(prog_name="scripts/train_ec2_multi_node.sh")
