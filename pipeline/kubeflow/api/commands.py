"""The commands that talk to Kubeflow Pipelines: upload, submit, follow, schedule, runs, delete."""

import dataclasses
import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ground.console import OneLineCommand, one_line_errors, print_table, show_lines
from ground.errors import EXIT_FAILED
from ground.speech import RESULT, Manner, manner, say, say_error, speech_options
from pipeline.kubeflow.api.connection import HOST_VARIABLE, Connection

EXIT_INTERRUPTED = 130  # as a shell says it of Ctrl-C
_HOST = "--host https://kubeflow.my.org/pipeline"
_FILE = click.Path(path_type=Path)

_CONNECTION_OPTIONS = (
    click.option(
        "--host",
        default=lambda: os.environ.get(HOST_VARIABLE),
        show_default=f"the variable {HOST_VARIABLE}",
        help="Address of Kubeflow Pipelines.",
    ),
    click.option("--namespace", help="Of a multi-user Kubeflow.  [default: the pod's]"),
    click.option(
        "--token-file",
        type=_FILE,
        help="File with a bearer token.  [default: the variable KF_PIPELINES_TOKEN, or the token "
        "that Kubernetes gives to a pod]",
    ),
    click.option(
        "--cookie-file",
        type=_FILE,
        help="File with a session's cookie, name=value.  [default: the variable "
        "KF_PIPELINES_COOKIE]",
    ),
    click.option(
        "--ca-file",
        type=_FILE,
        help="Certificates of your own authority.  [default: the variable SSL_CERT_FILE]",
    ),
    click.option(
        "--allow-http",
        is_flag=True,
        help="Send the token over plain http to another machine too, such as inside a cluster.",
    ),
)


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds what says where the service is; the command gets a `service`."""

    @functools.wraps(command)
    def wrapper(
        *args: Any,
        host: str | None,
        namespace: str | None,
        token_file: Path | None,
        cookie_file: Path | None,
        ca_file: Path | None,
        allow_http: bool,
        **kwargs: Any,
    ) -> Any:
        if not host:
            raise click.UsageError(f"Missing option '--host', or the variable {HOST_VARIABLE}")
        from pipeline.kubeflow.api.service import Service

        connection = Connection(host, namespace, token_file, cookie_file, ca_file, allow_http)
        return command(*args, service=Service(connection), **kwargs)

    return functools.reduce(lambda made, option: option(made), _CONNECTION_OPTIONS[::-1], wrapper)


_RUN_OPTIONS = (
    click.option("--name", required=True, help="Of the pipeline in Kubeflow."),
    click.option("--version", help="Of the pipeline.  [default: the file's, else the newest]"),
    click.option(
        "--param",
        "parameters",
        multiple=True,
        metavar="NAME=VALUE",
        help="A parameter of the run; a list as JSON; may be repeated.",
    ),
    click.option("--experiment", default="Default", show_default=True, help="Made if not there."),
    click.option("--pipeline-root", help="Address below which outputs are stored."),
    click.option("--no-cache", is_flag=True, help="Run every task, whatever is known."),
    click.option("--service-account", help="Of the pods.  [default: Kubeflow's]"),
    click.argument("pipeline_file", required=False, type=_FILE),
)


@dataclass(frozen=True)
class RunOptions:
    """What the options of a command say of a run."""

    name: str
    version: str | None
    parameters: tuple[str, ...]
    experiment: str
    pipeline_root: str | None
    no_cache: bool
    service_account: str | None
    pipeline_file: Path | None

    def request(self, service: Any) -> Any:
        """Returns the run that is asked for; a file is uploaded, after all else was checked.

        Raises:
            RcnnError: an option is not as it should be, or the service refuses.
        """
        from pipeline.kubeflow.api.pipelines import upload as store
        from pipeline.kubeflow.api.pipelines import version_of
        from pipeline.kubeflow.api.runs import Request, check_request
        from pipeline.kubeflow.pipeline_file import read_pipeline_file

        given = dict(_named_value(text) for text in self.parameters)
        if self.pipeline_file is not None:
            spec = read_pipeline_file(self.pipeline_file).spec
            check_request(spec, given, self.pipeline_root)
            found = store(service, self.pipeline_file, self.name, self.version)
            _tell_version(found)
        else:
            found = version_of(service, self.name, self.version)
        return Request(
            found,
            self.experiment,
            given,
            self.pipeline_root,
            not self.no_cache,
            self.service_account,
        )


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds what says what a run is; the command gets it as `options`."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        given = {field.name: kwargs.pop(field.name) for field in dataclasses.fields(RunOptions)}
        return command(*args, options=RunOptions(**given), **kwargs)

    return functools.reduce(lambda made, option: option(made), _RUN_OPTIONS[::-1], wrapper)


def _named_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r}: expected NAME=VALUE", param_hint="--param")
    return name, value


def _tell_version(version: Any) -> None:
    told = "" if version.is_new else "  (there already: nothing was sent)"
    show_lines(
        [f"pipeline {version.pipeline_id}", f"version  {version.version_id} {version.name}{told}"]
    )


@click.command(
    "upload",
    cls=OneLineCommand,
    epilog=f"Example: tfx-rcnn upload {_HOST} --name detector build/demo.yaml",
)
@click.option("--name", required=True, help="Of the pipeline in Kubeflow; made if not there.")
@click.option("--version", help="Of the pipeline.  [default: our revision and the file's digest]")
@click.argument("pipeline_file", type=_FILE)
@speech_options
@one_line_errors
@connection_options
def upload(service: Any, name: str, version: str | None, pipeline_file: Path) -> None:
    """Stores a compiled pipeline as a version, unless it is there; prints ids and address."""
    from pipeline.kubeflow.api.pipelines import upload as store

    stored = store(service, pipeline_file, name, version)
    _tell_version(stored)
    show_lines([stored.address(service.host)])


@click.command(
    "submit",
    cls=OneLineCommand,
    epilog=f"Example: tfx-rcnn submit {_HOST} --name detector --param epochs=3 build/demo.yaml",
)
@click.option("--run-name", help="That people see.  [default: the pipeline's, with the time]")
@click.option("--detach", is_flag=True, help="Start the run and do not follow it.")
@speech_options
@one_line_errors
@connection_options
@run_options
def submit(service: Any, options: RunOptions, run_name: str | None, detach: bool) -> None:
    """Starts a run of a file, or of a pipeline that was uploaded, and follows it to its end.

    Ends with status 1 where the run fails or is cancelled. Ctrl-C stops following, not the run.
    """
    from pipeline.kubeflow.api.runs import start_run

    run_id = start_run(service, options.request(service), run_name)
    say(f"run      {run_id}", RESULT, fields={"run_id": run_id})
    show_lines([f"{service.host}/#/runs/details/{run_id}"])
    if not detach:
        _follow(service, run_id)


@click.command(
    "follow",
    cls=OneLineCommand,
    epilog=f"Example: tfx-rcnn follow {_HOST} 8f2a0c1e-5b1d-4a6f-9a53-3a3f0a6f2f10",
)
@click.argument("run_id")
@speech_options
@one_line_errors
@connection_options
def follow(service: Any, run_id: str) -> None:
    """Follows a run to its end; status 1 where it fails or is cancelled."""
    _follow(service, run_id)


def _follow(service: Any, run_id: str) -> None:
    from pipeline.kubeflow.api.follow import follow_run, how_to_go_on, why_it_failed
    from pipeline.kubeflow.api.runs import state_of

    try:
        run = follow_run(service, run_id)
    except KeyboardInterrupt:
        line = f"stopped following; the run goes on: {how_to_go_on(service, run_id)}"
        say(line, "interrupted", "warning", err=True)
        sys.exit(EXIT_INTERRUPTED)
    if state_of(run) != "SUCCEEDED":
        say_error(why_it_failed(service, run), exit_status=EXIT_FAILED)
        sys.exit(EXIT_FAILED)


@click.command(
    "terminate",
    cls=OneLineCommand,
    epilog=f"Example: tfx-rcnn terminate {_HOST} 8f2a0c1e-5b1d-4a6f-9a53-3a3f0a6f2f10",
)
@click.argument("run_id")
@speech_options
@one_line_errors
@connection_options
def terminate(service: Any, run_id: str) -> None:
    """Ends a run; what it has stored stays."""
    from pipeline.kubeflow.api.runs import terminate_run

    show_lines([f"run      {run_id} {terminate_run(service, run_id)}"])


@click.command(
    "schedule",
    cls=OneLineCommand,
    epilog=f"Example: tfx-rcnn schedule {_HOST} --name detector --cron '0 3 * * *' build/demo.yaml",
)
@click.option("--schedule", "schedule_name", help="Its name.  [default: the pipeline's]")
@click.option("--cron", help="Five fields as in crontab, or six with seconds first; UTC.")
@click.option("--every", help="Interval, such as 6h or 1d.")
@click.option("--replace", is_flag=True, help="Put it in the place of one with other settings.")
@speech_options
@one_line_errors
@connection_options
@run_options
def schedule(
    service: Any,
    options: RunOptions,
    schedule_name: str | None,
    cron: str | None,
    every: str | None,
    replace: bool,
) -> None:
    """Starts runs again and again; one at a time, and none for what was missed."""
    from pipeline.kubeflow.api.cron import checked_cron, interval_seconds
    from pipeline.kubeflow.api.schedules import describe, trigger_of
    from pipeline.kubeflow.api.schedules import schedule as make

    if (cron is None) == (every is None):
        raise click.UsageError("expected one of --cron and --every")
    trigger = trigger_of(
        checked_cron(cron) if cron is not None else None,
        interval_seconds(every) if every is not None else None,
    )
    name = options.name if schedule_name is None else schedule_name
    made = make(service, options.request(service), name, trigger, replace)
    when = describe({"trigger": trigger})
    show_lines(
        [
            f"schedule {made.schedule_id} {name}: {made.what}, {when}",
            f"{service.host}/#/recurringrun/details/{made.schedule_id}",
        ]
    )


@click.command("runs", cls=OneLineCommand, epilog=f"Example: tfx-rcnn runs {_HOST}")
@click.option("--experiment", help="Only its runs.")
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="At most so many.",
)
@speech_options
@one_line_errors
@connection_options
def runs(service: Any, experiment: str | None, limit: int) -> None:
    """Lists runs, the newest first."""
    from pipeline.kubeflow.api.runs import list_runs, seconds_between, state_of, time_of

    rows = []
    for run in list_runs(service, experiment, limit):
        began, seconds = time_of(run, "created_at"), None
        if began is not None:
            seconds = seconds_between(run, "created_at", "finished_at")
        rows.append(
            [
                str(run.get("run_id") or ""),
                state_of(run),
                f"{began:%Y-%m-%d %H:%M}" if began else "",
                "" if seconds is None else f"{seconds / 60:.0f}",
                str(run.get("display_name") or ""),
            ]
        )
    print_table(["run", "state", "created (UTC)", "minutes", "name"], rows)


@click.command(
    "delete",
    cls=OneLineCommand,
    epilog=f"Example: tfx-rcnn delete {_HOST} schedule nightly",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("kind", type=click.Choice(["pipeline", "version", "run", "schedule"]))
@click.argument("name")
@click.argument("version", required=False)
@speech_options
@one_line_errors
@connection_options
def delete(service: Any, yes: bool, kind: str, name: str, version: str | None) -> None:
    """Deletes a pipeline NAME with its versions, its VERSION, a run by id, or a schedule NAME.

    What runs have stored stays.
    """
    from pipeline.kubeflow.api.deletion import planned

    if (kind == "version") != (version is not None):
        raise click.UsageError(
            "expected `version PIPELINE VERSION`, `pipeline NAME`, `run ID` or `schedule NAME`"
        )
    plan = planned(service, kind, name, version)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"would delete {plan.what}: say --yes")
        click.confirm(f"delete {plan.what}?", abort=True, err=manner() is Manner.JSON)
    show_lines([f"deleted  {plan.what}" if plan.do() else f"{plan.what}: was gone already"])
