"""Runs: started once with typed parameters, followed to their end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ground.errors import ConfigError, ServiceError
from pipeline.kubeflow.api.follow import LeftRunning, follow_run, task_states, why_it_failed
from pipeline.kubeflow.api.pipelines import Version, upload
from pipeline.kubeflow.api.runs import (
    Request,
    has_ended,
    list_runs,
    seconds_between,
    start_run,
    terminate_run,
)
from pipeline.kubeflow.api.service import Service
from tests.pipeline.kubeflow.api.conftest import PIPELINE, PLATFORM
from tests.pipeline.kubeflow.api.server import NEVER, KfpServer, Trouble

Connect = Callable[..., Service]


@pytest.fixture
def version(service: Service, pipeline_file: Path) -> Version:
    return upload(service, pipeline_file, "detector")


def test_a_run_is_a_version_with_typed_parameters(
    server: KfpServer, service: Service, version: Version
) -> None:
    given = {"epochs": "3", "rounds": "2", "thresholds": "[1]", "overrides": "a=1"}
    request = Request(version, "nightly", given, "s3://bucket/x", service_account="trainer")
    run_id = start_run(service, request, "my run")

    [run] = server.state.stored["runs"]
    [experiment] = server.state.stored["experiments"]
    assert (run["run_id"], run["display_name"]) == (run_id, "my run")
    assert experiment["display_name"] == "nightly"
    assert run["experiment_id"] == experiment["experiment_id"]
    assert run["pipeline_version_reference"] == {
        "pipeline_id": version.pipeline_id,
        "pipeline_version_id": version.version_id,
    }
    assert run["runtime_config"] == {
        "parameters": {"epochs": 3, "rounds": 2, "thresholds": [1], "overrides": "a=1"},
        "pipeline_root": "s3://bucket/x",
    }
    assert run["service_account"] == "trainer"
    start_run(service, request)
    assert len(server.state.stored["experiments"]) == 1
    assert server.state.stored["runs"][1]["display_name"].startswith("shapes 20")


def test_a_run_without_cache_says_so_in_its_own_spec(
    server: KfpServer, service: Service, version: Version
) -> None:
    start_run(service, Request(version, use_cache=False))
    [run] = server.state.stored["runs"]
    assert "pipeline_version_reference" not in run
    sent = run["pipeline_spec"]
    assert sent["platform_spec"] == PLATFORM
    tasks = sent["pipeline_spec"]["root"]["dag"]["tasks"]
    assert all(task["cachingOptions"] == {"enableCache": False} for task in tasks.values())
    assert tasks["Train"]["dependentTasks"] == ["Read"]
    assert PIPELINE["root"]["dag"]["tasks"]["Read"]["cachingOptions"] == {"enableCache": True}


@pytest.mark.parametrize(
    ("given", "root", "said"),
    [
        ({"epoch": "3"}, None, "--param epoch: no such parameter"),
        ({"epochs": "three"}, None, "--param epochs: expected NUMBER_DOUBLE"),
        ({"rounds": "1.5"}, None, "--param rounds: expected NUMBER_INTEGER"),
        ({"thresholds": "{}"}, None, "--param thresholds: expected LIST"),
        ({"epochs": "NaN"}, None, "NaN or infinite"),
        ({}, "/tmp/x", "--pipeline-root"),
    ],
)
def test_a_parameter_of_another_type_starts_nothing(
    server: KfpServer,
    service: Service,
    version: Version,
    given: dict[str, str],
    root: str | None,
    said: str,
) -> None:
    with pytest.raises(ConfigError, match=said):
        start_run(service, Request(version, parameters=given, pipeline_root=root))
    assert not server.state.stored["runs"]


@pytest.mark.parametrize("what", ["lose", "hang", "drop", 503])
def test_a_run_is_started_once_whatever_breaks(
    server: KfpServer, connect: Connect, version: Version, what: str | int
) -> None:
    service = connect(read_seconds=0.3)
    # One of the same name is not taken for ours.
    start_run(service, Request(version), "nightly")
    server.state.troubles = [Trouble(what, "POST", "runs")]
    run_id = start_run(service, Request(version), "nightly")
    first, second = server.state.stored["runs"]
    assert second["run_id"] == run_id != first["run_id"]


def test_runs_of_several_users_are_in_a_namespace(
    server: KfpServer, connect: Connect, version: Version
) -> None:
    server.state.is_multi_user = True
    with pytest.raises(ConfigError, match="give --namespace"):
        start_run(connect(), Request(version))
    service = connect(namespace="team")
    start_run(service, Request(version))
    assert server.state.stored["experiments"][0]["namespace"] == "team"
    assert len(list_runs(service, None, 9)) == 1
    with pytest.raises(ServiceError, match=r"403, not allowed .* another --namespace"):
        list_runs(connect(namespace="theirs"), None, 9)


def test_newest_runs_are_listed(server: KfpServer, service: Service, version: Version) -> None:
    for number in range(5):
        experiment = "even" if number % 2 == 0 else "odd"
        start_run(service, Request(version, experiment), f"run {number}")
    server.state.page_size = 2
    assert [run["display_name"] for run in list_runs(service, None, 3)] == [
        "run 4", "run 3", "run 2",
    ]  # fmt: skip
    assert [run["display_name"] for run in list_runs(service, "odd", 9)] == ["run 3", "run 1"]
    with pytest.raises(ConfigError, match="no experiment 'none'"):
        list_runs(service, "none", 3)


def test_terminating_ends_what_is_at_work(
    server: KfpServer, service: Service, version: Version
) -> None:
    run_id = start_run(service, Request(version))
    assert terminate_run(service, run_id) == "CANCELING"
    server.state.progress = [{"state": "CANCELED"}]
    assert terminate_run(service, run_id) == "CANCELED"
    assert server.state.count("POST", "runs/.*:terminate") == 1
    # It ends between our look and our request.
    server.state.progress = [{"state": "RUNNING"}, {"state": "SUCCEEDED"}]
    server.state.troubles = [Trouble(400, "POST", "runs/.*:terminate")]
    assert terminate_run(service, run_id) == "SUCCEEDED"


def test_what_has_ended_is_known(server: KfpServer) -> None:
    assert [has_ended({"state": state}) for state in ("SUCCEEDED", "FAILED", "CANCELED")] == [
        True
    ] * 3
    assert not any(has_ended({"state": s}) for s in ("PENDING", "RUNNING", "PAUSED", "", None))
    canceling = {"state": "CANCELING", "finished_at": NEVER}
    assert not has_ended(canceling)
    assert has_ended({**canceling, "finished_at": "2026-01-02T03:04:05.123456789Z"})
    took = {"start_time": "2026-01-02T03:04:05Z", "end_time": "2026-01-02T03:05:06.5Z"}
    assert seconds_between(took, "start_time", "end_time") == 61.0
    assert seconds_between({"start_time": NEVER}, "start_time", "end_time") is None


def _task(name: str, state: str, children: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {
        "display_name": name,
        "state": state,
        "start_time": "2026-01-02T03:04:05Z",
        "end_time": "2026-01-02T03:04:15Z",
        "child_tasks": [{"pod_name": child} for child in children],
        **more,
    }


def _seen(state: str, *tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"state": state, "run_details": {"task_details": list(tasks)}, **more}


def test_a_run_is_followed_to_its_end(
    server: KfpServer, service: Service, version: Version, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = start_run(service, Request(version))
    read = (_task("root-driver", "SUCCEEDED"), _task("root", "RUNNING"),
            _task("Read-driver", "SUCCEEDED"), _task("Read", "SUCCEEDED"))  # fmt: skip
    server.state.progress = [
        {"state": "PENDING"},
        _seen("RUNNING", *read[:3], _task("Read", "RUNNING")),
        _seen("RUNNING", *read, _task("Train", "RUNNING"), _task("executor", "RUNNING")),
        _seen("SUCCEEDED", *read, _task("Train", "SUCCEEDED"), _task("Push", "SKIPPED")),
    ]
    slept: list[float] = []
    service.sleep = slept.append
    assert follow_run(service, run_id)["state"] == "SUCCEEDED"
    assert slept == [5.0] * 3
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["run", "PENDING"],
        ["Read", "RUNNING"],
        ["run", "RUNNING"],
        ["Read", "SUCCEEDED"],
        ["Train", "RUNNING"],
        ["Train", "SUCCEEDED"],
        ["Push", "SKIPPED"],
        ["run", "SUCCEEDED"],
    ]


def test_a_terminal_gets_a_table(
    server: KfpServer,
    service: Service,
    version: Version,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    run_id = start_run(service, Request(version), "my [bold]run")
    server.state.progress = [_seen("FAILED", _task("Read", "SUCCEEDED"), _task("Train", "FAILED"))]
    follow_run(service, run_id)
    shown = capsys.readouterr().out
    assert "my [bold]run: FAILED" in shown and "NOT RUN" in shown
    assert "\x1b[31mFAILED" in shown and "\x1b[32mSUCCEEDED" in shown


def test_a_service_that_is_away_is_waited_for(
    server: KfpServer, service: Service, version: Version, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = start_run(service, Request(version))
    server.state.progress = [{"state": "RUNNING"}, {"state": "SUCCEEDED"}]
    server.state.troubles = [Trouble("drop", times=4), Trouble(503, times=4)]
    assert follow_run(service, run_id, 0.0)["state"] == "SUCCEEDED"
    assert capsys.readouterr().err.count("still trying") == 1

    server.state.stored["runs"][0]["state"] = "RUNNING"
    server.state.troubles = [Trouble(503, times=999)]
    ticks = iter(range(0, 10_000, 100))
    with pytest.raises(LeftRunning, match="the run itself goes on: `tfx-rcnn follow"):
        follow_run(service, run_id, 0.0, 300.0, clock=lambda: float(next(ticks)))


def test_a_session_that_ends_leaves_the_run_alone(
    server: KfpServer, service: Service, version: Version
) -> None:
    run_id = start_run(service, Request(version))
    server.state.troubles = [Trouble(401, "GET", "runs/.*", times=9)]
    with pytest.raises(LeftRunning, match=f"401.* goes on: .* follow --host .* {run_id}`"):
        follow_run(service, run_id)
    assert server.state.count("GET", "runs/.*") == 1


def test_a_run_that_somebody_deletes_ends_in_a_line(
    server: KfpServer, service: Service, version: Version
) -> None:
    run_id = start_run(service, Request(version))
    server.state.troubles = [Trouble(404, "GET", "runs/.*", times=9)]
    with pytest.raises(ServiceError, match=r"404 .* no longer"):
        follow_run(service, run_id)


def test_tasks_are_known_without_their_pipeline() -> None:
    run = _seen("FAILED", _task("root-driver", "SUCCEEDED"), _task("root", "FAILED"),
                _task("B-driver", "FAILED", start_time="2026-01-02T03:04:09Z"),
                _task("A-driver", "SUCCEEDED"), _task("A", "SUCCEEDED"),
                _task("B", "", start_time=NEVER))  # fmt: skip
    rows = task_states(run, ["A", "B", "C"])
    assert [(row.name, row.state) for row in rows] == [
        ("A", "SUCCEEDED"),
        ("B", "FAILED"),
        ("C", "NOT RUN"),
    ]
    assert rows[0].seconds == 10.0 and rows[2].seconds is None
    assert {row.name for row in task_states(run, [])} == {"A", "B"}
    assert task_states({"run_details": None}, []) == []


def test_the_failed_task_and_its_message_are_one_line(server: KfpServer, service: Service) -> None:
    base = (_task("Train-driver", "SUCCEEDED"), _task("Train", "FAILED", ("wf-abc-123",)))
    error = {"code": 13, "message": "OOMKilled\n(exit code 137)"}

    def told(*tasks: dict[str, Any], **more: Any) -> str:
        return why_it_failed(service, {"run_id": "r1", **_seen("FAILED", *tasks, **more)})

    where = f"{service.host}/#/runs/details/r1"
    assert told(*base, error=error) == f"task Train failed: OOMKilled (exit code 137) ({where})"
    with_error = {**base[1], "error": error}
    assert "task Train failed: OOMKilled" in told(base[0], with_error)
    history = {**base[1], "state_history": [{"state": "RUNNING"}, {"error": error}]}
    assert "task Train failed: OOMKilled" in told(base[0], history)
    assert told(*base) == f"task Train failed; its log says why: {where}"
    server.state.logs["wf-abc-system-container-impl-123"] = (
        "step 1\nerror: train.batch: a step before\nsome [entry] error: loss is not finite\nbye\n"
    )
    assert told(*base) == f"task Train failed: loss is not finite ({where})"
    canceled = why_it_failed(service, {"run_id": "r1", "state": "CANCELED"})
    assert canceled == f"the run ended as CANCELED; its log says why: {where}"
