"""Follows a run to its end: a live table on a terminal, a line for each change elsewhere."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ground.command_examples import program
from ground.errors import ServiceError
from ground.speech import Manner, manner, say
from pipeline.kubeflow.api.answers import NoAnswer, Refusal, Unreachable
from pipeline.kubeflow.api.pipelines import version_by_id
from pipeline.kubeflow.api.runs import has_ended, seconds_between, state_of, time_of
from pipeline.kubeflow.api.service import Message, Service, path_of

POLL_SECONDS = 5.0
PATIENCE_SECONDS = 900.0  # of a service that is restarted, or a laptop that sleeps
_LONGEST_POLL_SECONDS = 30.0
_COLOURS = {"SUCCEEDED": "green", "FAILED": "red", "RUNNING": "yellow", "CANCELED": "red"}
_MOST_LOGS = 6
_LONGEST_MESSAGE = 500


@dataclass(frozen=True)
class TaskState:
    """One row of the table."""

    name: str
    state: str
    seconds: float | None


class LeftRunning(ServiceError):
    """We stopped following; the run goes on."""


def follow_run(
    service: Service,
    run_id: str,
    poll_seconds: float = POLL_SECONDS,
    patience_seconds: float = PATIENCE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Message:
    """Shows a run until it has ended and returns it.

    Raises:
        LeftRunning: the service does not answer for too long, or lets us in no longer.
        ServiceError: the run is not there, or was deleted.
    """
    run, names = None, None
    with _screen() as show:
        while True:
            run = _patiently(service, run_id, poll_seconds, patience_seconds, clock)
            if names is None:
                names = _task_names(service, run)
            show(run, task_states(run, names))
            if has_ended(run):
                return run
            service.sleep(poll_seconds)


def _patiently(
    service: Service,
    run_id: str,
    poll_seconds: float,
    patience_seconds: float,
    clock: Callable[[], float],
) -> Message:
    """Returns the run, also where the service is away for a while."""
    started, pause, is_told = clock(), poll_seconds, False
    while True:
        try:
            return service.get(path_of("runs", run_id))
        except (Unreachable, NoAnswer, Refusal) as error:
            if isinstance(error, Refusal) and error.status == 404:
                raise
            lasts = not isinstance(error, Refusal) or error.is_temporary or error.status == 500
            if not lasts or clock() - started > patience_seconds:
                raise LeftRunning(
                    f"{error}; the run itself goes on: {how_to_go_on(service, run_id)}"
                ) from None
            if not is_told:
                say(f"{error}; still trying", "unreachable", "warning", err=True)
                is_told = True
            pause = min(pause * 2, _LONGEST_POLL_SECONDS)
            service.sleep(pause)


def how_to_go_on(service: Service, run_id: str) -> str:
    """Returns the commands for a run that nobody follows."""
    options = service.connection.options()
    return (
        f"`{program()} follow {options} {run_id}` follows it, "
        f"`{program()} terminate {options} {run_id}` ends it"
    )


def _task_names(service: Service, run: Message) -> list[str]:
    """Returns the tasks of a run's pipeline, each after those that it needs."""
    message = run.get("pipeline_spec")
    reference = run.get("pipeline_version_reference") or {}
    if not message and reference.get("pipeline_version_id"):
        with contextlib.suppress(ServiceError):  # deleted since: the run's own tasks are shown
            message = version_by_id(
                service, str(reference.get("pipeline_id")), str(reference["pipeline_version_id"])
            ).message
    try:
        spec = message.get("pipeline_spec", message) if message else {}
        tasks = spec["root"]["dag"]["tasks"]
        needs = {key: set(task.get("dependentTasks") or ()) for key, task in tasks.items()}
    except (AttributeError, KeyError, TypeError):
        return []
    ordered: list[str] = []
    while len(ordered) < len(needs):
        ready = [key for key in needs if key not in ordered and needs[key] <= set(ordered)]
        ordered += sorted(ready or set(needs) - set(ordered))
    return ordered


def task_states(run: Message, names: list[str]) -> list[TaskState]:
    """Returns the rows of a run's table.

    KFP tells of each task a driver, `NAME-driver`, and the task itself, `NAME`, once that has
    decided about the cache.

    Args:
        run: run as the service has it.
        names: names of the tasks; [] where they are not known.
    """
    details = _details(run)
    known = names or [name for name in details if f"{name}-driver" in details and name != "root"]
    rows = []
    for name in known:
        detail, driver = details.get(name, {}), details.get(f"{name}-driver", {})
        state = state_of(detail)
        if state == "PENDING" and state_of(driver) == "FAILED":
            state = "FAILED"
        if state == "PENDING" and has_ended(run):
            state = "NOT RUN"
        started = seconds_between(detail, "start_time", "end_time")
        rows.append(TaskState(name, state, started if state != "NOT RUN" else None))
    return rows


def _details(run: Message) -> dict[str, Message]:
    """Returns the newest detail of each name, in the order of their start."""
    listed = (run.get("run_details") or {}).get("task_details") or []
    found = [detail for detail in listed if isinstance(detail, dict)]
    found.sort(key=lambda detail: str(detail.get("start_time") or ""))
    return {str(detail.get("display_name")): detail for detail in found}


def why_it_failed(service: Service, run: Message) -> str:
    """Returns in one line which task failed and what it said."""
    run_id = str(run.get("run_id"))
    failed = [row.name for row in task_states(run, []) if row.state == "FAILED"]
    told = _told(run, failed) or (_from_logs(service, run) if failed else "")
    where = f"{service.host}/#/runs/details/{run_id}"
    task = f"task {failed[0]} failed" if failed else f"the run ended as {state_of(run)}"
    if not told:
        return f"{task}; its log says why: {where}"
    return f"{task}: {' '.join(told.split())[:_LONGEST_MESSAGE]} ({where})"


def _told(run: Message, failed: list[str]) -> str:
    """Returns the message of a failed task, else of the run, where KFP has one."""
    details = _details(run)
    places = [details.get(key, {}) for name in failed for key in (name, f"{name}-driver")]
    for place in [*places, run]:
        history = place.get("state_history") or []
        for error in [place.get("error"), *(step.get("error") for step in reversed(history))]:
            if isinstance(error, dict) and error.get("message"):
                return str(error["message"])
    return ""


def _from_logs(service: Service, run: Message) -> str:
    """Returns the last line of a failed pod's log that our container entry wrote about an error."""
    for pod in _failed_pods(run)[:_MOST_LOGS]:
        with contextlib.suppress(ServiceError):
            text = service.log(str(run.get("run_id")), pod)
            lines = [line for line in text.splitlines() if "error: " in line]
            if lines:
                return lines[-1].partition("error: ")[2]
    return ""


def _failed_pods(run: Message) -> list[str]:
    """Returns what the pods of failed tasks may be called, the likeliest first.

    KFP tells the ids of a task's nodes. A pod has the name of its template in the middle, except
    where Argo still names pods after nodes.
    """
    pods = []
    for detail in _details(run).values():
        if state_of(detail) != "FAILED":
            continue
        for child in reversed(detail.get("child_tasks") or []):
            node = str(child.get("pod_name") or "")
            workflow, _, digits = node.rpartition("-")
            if workflow:
                pods += [f"{workflow}-system-container-impl-{digits}", node]
    return pods


@contextlib.contextmanager
def _screen() -> Iterator[Callable[[Message, list[TaskState]], None]]:
    """Returns what shows the state of a run each time that it is called."""
    from rich.console import Console
    from rich.live import Live

    console = Console(file=sys.stdout)
    if manner() is not Manner.PLAIN or not console.is_terminal:
        yield _Lines().show
        return
    with Live(console=console, refresh_per_second=2) as live:
        yield lambda run, rows: live.update(_table(run, rows), refresh=True)


class _Lines:
    """A line for each change of a state."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def show(self, run: Message, rows: list[TaskState]) -> None:
        """Prints what has changed since the last time."""
        for row in rows:
            if self._known.get(row.name, "PENDING") != row.state:
                seconds = "" if row.seconds is None else f"{row.seconds:8.0f} s"
                line = f"{row.name:18} {row.state:10}{seconds}".rstrip()
                say(line, "task", fields=dataclasses.asdict(row))
            self._known[row.name] = row.state
        if self._known.get("") != state_of(run):
            self._known[""] = state_of(run)
            say(f"{'run':18} {state_of(run)}", "run", fields={"state": state_of(run)})
        sys.stdout.flush()


def _table(run: Message, rows: list[TaskState]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    since = time_of(run, "created_at")
    title = escape(f"{run.get('display_name') or run.get('run_id')}: {state_of(run)}")
    caption = f"since {since:%Y-%m-%d %H:%M:%S} UTC" if since else None
    table = Table("task", "state", "seconds", title=title, caption=caption)
    table.columns[2].justify = "right"
    for row in rows:
        colour = _COLOURS.get(row.state)
        state = f"[{colour}]{row.state}[/]" if colour else row.state
        table.add_row(escape(row.name), state, "" if row.seconds is None else f"{row.seconds:.0f}")
    return table
