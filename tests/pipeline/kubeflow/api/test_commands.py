"""The commands: what they print, how they end, and that no secret is among it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.__main__ import main
from pipeline.kubeflow.api import service as http
from tests.pipeline.kubeflow.api.server import HTML, KfpServer, Trouble

Invoke = Callable[..., Result]
SECRETS = ("tok-5ecret", "coo-5ecret")


@pytest.fixture
def invoke(server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command with secrets in the environment, and looks for them in what it says."""
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.address)
    monkeypatch.setenv("KF_PIPELINES_TOKEN", SECRETS[0])
    monkeypatch.setenv("KF_PIPELINES_COOKIE", f"session={SECRETS[1]}")
    monkeypatch.setattr(http, "PAUSES_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(http.Service.__init__, "__defaults__", (os.environ, 5.0, (0.0,), _no_sleep))
    server.state.token, server.state.cookie = SECRETS[0], f"session={SECRETS[1]}"

    def invoked(*arguments: str, status: int = 0, **more: Any) -> Result:
        result = CliRunner().invoke(main, list(arguments), **more)
        assert result.exit_code == status, result.output
        assert not any(secret in result.output for secret in SECRETS)
        assert "Traceback" not in result.output
        return result

    return invoked


def _no_sleep(_: float) -> None:
    """Does not wait."""


def test_upload_prints_ids_and_address_and_says_what_was_there(
    server: KfpServer, invoke: Invoke, pipeline_file: Path
) -> None:
    arguments = ("upload", "--name", "detector", str(pipeline_file))
    lines = invoke(*arguments).stdout.splitlines()
    [pipeline], [version] = server.state.stored["pipelines"], server.state.stored["versions"]
    where = f"{pipeline['pipeline_id']}/version/{version['pipeline_version_id']}"
    assert lines == [
        f"pipeline {pipeline['pipeline_id']}",
        f"version  {version['pipeline_version_id']} {version['display_name']}",
        f"{server.address}/#/pipelines/details/{where}",
    ]
    again = invoke(*arguments).stdout.splitlines()
    assert again[1] == f"{lines[1]}  (there already: nothing was sent)"
    assert len(server.state.files) == 1


def test_submit_ends_as_the_run_does(
    server: KfpServer, invoke: Invoke, pipeline_file: Path
) -> None:
    file = str(pipeline_file)
    server.state.progress = [{"state": "RUNNING"}, {"state": "SUCCEEDED"}]
    done = invoke("submit", "--name", "detector", "--param", "epochs=3", file)
    [run] = server.state.stored["runs"]
    assert f"run      {run['run_id']}" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1].split() == ["run", "SUCCEEDED"]
    assert run["runtime_config"]["parameters"] == {"epochs": 3}

    detail = {"display_name": "Train", "state": "FAILED", "error": {"message": "no space left"}}
    driver = {"display_name": "Train-driver", "state": "SUCCEEDED"}
    server.state.progress = [{"state": "FAILED", "run_details": {"task_details": [driver, detail]}}]
    failed = invoke("submit", "--name", "detector", status=1)
    assert "error: task Train failed: no space left (http" in failed.output
    server.state.progress = [{"state": "CANCELED"}]
    invoke("submit", "--name", "detector", status=1)
    assert len(server.state.files) == 1
    server.state.progress = [{"state": "SUCCEEDED"}]
    invoke("follow", run["run_id"])


def test_submit_detached_is_listed_terminated_and_deleted(
    server: KfpServer, invoke: Invoke, pipeline_file: Path
) -> None:
    file = str(pipeline_file)
    invoke("submit", "--name", "detector", "--detach", "--run-name", "my [run]", "--no-cache", file)
    [run] = server.state.stored["runs"]
    listed = invoke("runs").stdout.splitlines()
    assert listed[1].split()[:4] == [run["run_id"], "PENDING", "2026-01-02", "03:04"]
    assert listed[1].endswith("my [run]")
    assert "CANCELING" in invoke("terminate", run["run_id"]).stdout
    refused = invoke("delete", "run", run["run_id"], status=2)
    assert "would delete run 'my [run]'" in refused.output and "say --yes" in refused.output
    invoke("delete", "--yes", "run", run["run_id"])
    assert server.state.stored["runs"] == []
    assert "404" in invoke("delete", "--yes", "run", run["run_id"], status=1).output


def test_schedule_is_made_told_of_and_deleted(
    server: KfpServer, invoke: Invoke, pipeline_file: Path
) -> None:
    file = str(pipeline_file)
    made = invoke("schedule", "--name", "detector", "--cron", "0 3 * * *", file)
    assert "detector: created, cron 0 0 3 * * *" in made.output
    kept = invoke("schedule", "--name", "detector", "--cron", "0 3 * * *", file)
    assert ": kept, cron" in kept.output
    arguments = ("schedule", "--name", "detector", "--every", "6h")
    assert "--replace" in invoke(*arguments, status=2).output
    assert ": replaced, every 21600 s" in invoke(*arguments, "--replace").output

    refused = invoke("delete", "pipeline", "detector", status=2).output
    assert "pipeline 'detector' with 1 versions, which schedule detector starts runs of" in refused
    assert (
        "deleted  schedule 'detector'" in invoke("delete", "--yes", "schedule", "detector").output
    )
    assert (
        "no schedule 'detector'"
        in invoke("delete", "--yes", "schedule", "detector", status=2).output
    )
    [version] = server.state.stored["versions"]
    invoke("delete", "--yes", "version", "detector", version["display_name"])
    invoke("delete", "--yes", "pipeline", "detector")
    assert server.state.stored["pipelines"] == server.state.stored["versions"] == []


@pytest.mark.parametrize("option", ["--quiet", "--json-logs"])
def test_results_are_said_in_every_manner(
    server: KfpServer, invoke: Invoke, pipeline_file: Path, option: str
) -> None:
    def texts(*arguments: str) -> list[str]:
        lines = invoke(*arguments, option).stdout.splitlines()
        return [json.loads(line)["text"] for line in lines] if option == "--json-logs" else lines

    file = str(pipeline_file)
    assert [line.split()[0] for line in texts("upload", "--name", "detector", file)] == [
        "pipeline",
        "version",
        f"{server.address}/#/pipelines/details/"
        f"{server.state.stored['pipelines'][0]['pipeline_id']}/version/"
        f"{server.state.stored['versions'][0]['pipeline_version_id']}",
    ]
    made = texts("schedule", "--name", "detector", "--every", "6h")
    assert ": created, every 21600 s" in made[0] and made[1].startswith(server.address)
    invoke("submit", "--name", "detector", "--detach")
    [run] = server.state.stored["runs"]
    assert run["run_id"] in texts("runs")[-1]
    assert texts("terminate", run["run_id"]) == [f"run      {run['run_id']} CANCELING"]
    [gone] = texts("delete", "--yes", "schedule", "detector")
    assert gone.startswith("deleted  schedule 'detector'")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("schedule", "--cron", "0 3 * *"), "expected five fields"),
        (("schedule", "--every", "often"), "expected a number"),
        (("schedule",), "one of --cron and --every"),
        (("schedule", "--cron", "@daily", "--every", "1d"), "one of --cron and --every"),
        (("submit", "--param", "epochs"), "expected NAME=VALUE"),
        (("submit", "--param", "epoch=1"), "no such parameter"),
        (("submit", "--pipeline-root", "/x"), "--pipeline-root"),
        (("submit", "--host", "http://kubeflow.my.org"), "plain http to another machine"),
        (("submit", "--token-file", "/no/such"), "--token-file /no/such: No such file"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_sent(
    server: KfpServer, invoke: Invoke, pipeline_file: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = invoke(*arguments, "--name", "detector", str(pipeline_file), status=2)
    assert said in result.output and result.output.count("\n") == 1
    assert not server.state.requests


def test_host_is_needed(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    assert "--host" in invoke("runs", status=2).output


def test_login_page_and_wrong_token_end_in_a_line(server: KfpServer, invoke: Invoke) -> None:
    server.state.troubles = [Trouble((403, HTML, b"<title>Sign in</title>"))]
    assert "403, not allowed (a web page ('Sign in'))" in invoke("runs", status=1).output
    server.state.token = "another"
    assert (
        "401, not allowed (Unauthenticated: bad token Bearer ***)"
        in invoke("runs", status=1).output
    )


def test_ctrl_c_stops_following_and_not_the_run(
    server: KfpServer, invoke: Invoke, pipeline_file: Path
) -> None:
    invoke("submit", "--name", "detector", "--detach", str(pipeline_file))
    [run] = server.state.stored["runs"]
    # Pytest may have been started with the signal ignored, which children inherit.
    code = (
        "import signal, runpy, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "sys.argv[0] = 'pipeline'; runpy.run_module('pipeline', run_name='__main__')"
    )
    following = subprocess.Popen(
        [sys.executable, "-c", code, "follow", run["run_id"]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = server.state.count("GET", "runs/.*")
    deadline = time.monotonic() + 30
    while server.state.count("GET", "runs/.*") == seen and time.monotonic() < deadline:
        time.sleep(0.02)
    following.send_signal(signal.SIGINT)
    _, told = following.communicate(timeout=30)
    assert following.returncode == 130
    assert "the run goes on: `python -m pipeline follow --host" in told
    assert f"terminate --host {server.address} {run['run_id']}` ends it" in told
    assert run["state"] == "PENDING" and "Traceback" not in told
    assert not any(secret in told for secret in SECRETS)
