"""A compiled file run as Kubeflow Pipelines runs it, in both dialects."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ground.errors import ConfigError, FolderInUseError
from ground.files import held_folder
from pipeline.kubeflow.player.compiled import read_compiled
from pipeline.kubeflow.player.dialects import DIALECTS
from pipeline.kubeflow.player.run import Player

Write = Callable[..., Path]
BOTH = pytest.mark.parametrize("dialect", list(DIALECTS))


def _run(
    path: Path,
    folder: Path,
    dialect: str = "2.17",
    store: Path | None = None,
    waits: list[float] | None = None,
    **given: str,
) -> dict[str, Any]:
    wait = ([] if waits is None else waits).append
    place = str(store) if store else None
    player = Player(read_compiled(path), DIALECTS[dialect], folder, place, wait=wait)
    return player.run(given)


def _container(pipeline: dict[str, Any], label: str) -> dict[str, Any]:
    return pipeline["deploymentSpec"]["executors"][label]["container"]


@BOTH
def test_only_declared_outputs_travel_through_the_store(
    pipeline: dict[str, Any], write: Write, tmp_path: Path, dialect: str
) -> None:
    summary = _run(write(pipeline), tmp_path / "run", dialect, tmp_path / "store", words="c d")
    assert (summary["state"], summary["error"]) == ("SUCCEEDED", None)
    assert summary["tasks"]["read"]["outputs"]["loud"] == "C D"
    stored = sorted(
        p.relative_to(tmp_path / "store").as_posix() for p in _files(tmp_path / "store")
    )
    task = "make" if dialect == "2.17" else "Maker"
    assert [name for name in stored if "executor-logs" not in name] == [
        name for name in stored if name.endswith("/data/below/words.txt")
    ]
    [data] = [name for name in stored if name.endswith("words.txt")]
    assert data.startswith(f"minio/bucket/root/words/{summary['run_id']}/{task}/")
    logs = [name for name in stored if name.endswith("/executor-logs-0")]
    assert len(logs) == (2 if dialect == "2.17" else 0)
    assert list((tmp_path / "run" / "pods").iterdir()) == []


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_properties_come_back_as_mlmd_keeps_them(
    pipeline: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    metadata = _run(write(pipeline), tmp_path)["tasks"]["make"]["outputs"]["data"]["metadata"]
    assert metadata["count"] == 3
    assert metadata["is_short"] == 1
    assert metadata["parts"] == {"list": [1]}
    assert metadata["more"] == {"struct": {"a": 1}}
    assert metadata["display_name"] == "data"
    assert json.loads(metadata["store_session_info"])["Provider"] == "minio"


@BOTH
def test_the_second_run_takes_all_from_the_cache_and_another_parameter_nothing(
    pipeline: dict[str, Any], write: Write, tmp_path: Path, dialect: str
) -> None:
    path = write(pipeline)
    first = _run(path, tmp_path, dialect)
    again = _run(path, tmp_path, dialect)
    assert _states(again) == {"make": "cached", "read": "cached"}
    assert again["tasks"]["make"]["outputs"] == first["tasks"]["make"]["outputs"]
    other = _run(path, tmp_path, dialect, words="e")
    assert _states(other) == {"make": "succeeded", "read": "succeeded"}


def _states(summary: dict[str, Any]) -> dict[str, str]:
    return {key: task["state"] for key, task in summary["tasks"].items()}


def test_a_task_without_caching_runs_each_time_and_so_does_what_reads_it(
    pipeline: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    pipeline["root"]["dag"]["tasks"]["make"]["cachingOptions"] = {}
    path = write(pipeline)
    _run(path, tmp_path)
    assert _states(_run(path, tmp_path)) == {"make": "succeeded", "read": "succeeded"}


def test_dialects_do_not_share_a_cache(
    pipeline: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    """The log that 2.17 adds is one of the outputs in the fingerprint."""
    path = write(pipeline)
    _run(path, tmp_path, "2.4")
    assert _states(_run(path, tmp_path, "2.17"))["make"] == "succeeded"


FAILS_ONCE = """
import os, sys
mark = sys.argv[1]
if not os.path.exists(mark):
    open(mark, "w").close()
    sys.exit("not the first time")
"""


@pytest.mark.parametrize(("dialect", "state"), [("2.17", "succeeded"), ("2.4", "failed")])
def test_a_retry_policy_is_followed_from_the_version_on_that_knows_it(
    pipeline: dict[str, Any], write: Write, tmp_path: Path, dialect: str, state: str
) -> None:
    container = _container(pipeline, "exec-make")
    container["command"] = ["python", "-c", FAILS_ONCE]
    container["args"] = [str(tmp_path / "mark")]
    policy = {"maxRetryCount": 2, "backoffMaxDuration": "60s"}
    pipeline["root"]["dag"]["tasks"]["make"]["retryPolicy"] = policy
    del pipeline["root"]["dag"]["tasks"]["read"]
    summary = _run(write(pipeline), tmp_path / "run", dialect, tmp_path / "store")
    assert summary["tasks"]["make"]["state"] == state
    assert summary["tasks"]["make"]["attempts"] == (2 if state == "succeeded" else 1)
    logs = [path.name for path in _files(tmp_path / "store")]
    assert sorted(logs) == (["executor-logs-0", "executor-logs-1"] if dialect == "2.17" else [])


def _failing(pipeline: dict[str, Any], **policy: Any) -> dict[str, Any]:
    _container(pipeline, "exec-make")["command"] = ["python", "-c", "raise SystemExit('no')"]
    pipeline["root"]["dag"]["tasks"]["make"]["retryPolicy"] = policy
    return pipeline


def test_the_wait_doubles_from_retry_to_retry(
    pipeline: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    policy = {
        "maxRetryCount": 3,
        "backoffDuration": "60s",
        "backoffFactor": 2.0,
        "backoffMaxDuration": "2592000s",
    }
    waits: list[float] = []
    summary = _run(write(_failing(pipeline, **policy)), tmp_path, waits=waits)
    assert (summary["tasks"]["make"]["attempts"], waits) == (4, [60, 120, 240])
    assert summary["error"].startswith("make ended with status 1: no (log: ")


def test_a_policy_without_an_end_never_retries(
    pipeline: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    """KFP tells Argo 0 seconds then (container.go, `addParameterDefault`)."""
    policy = {"maxRetryCount": 3, "backoffDuration": "60s"}
    waits: list[float] = []
    summary = _run(write(_failing(pipeline, **policy)), tmp_path, waits=waits)
    assert (summary["tasks"]["make"]["attempts"], waits) == (1, [])
    assert "backoffMaxDuration" in summary["error"]


@BOTH
@pytest.mark.parametrize(
    ("words", "arrives"),
    [
        ("größer 日本 🙂", "größer 日本 🙂"),
        ("{{workflow.name}} {{x", "{{workflow.name}} {{x"),
        ("$(A) $(NOT) $$ $HOME", "b $(NOT) $ $HOME"),
        ('"quoted" \\ line\nbreak', '"quoted" \\ line\nbreak'),
        ("-x", "-x"),
        ("", ""),
        ("x" * 100_000, "x" * 100_000),
    ],
    ids=["unicode", "braces", "dollars", "quotes", "dash", "empty", "long"],
)
def test_parameters_arrive_as_kubernetes_lets_them(
    pipeline: dict[str, Any], write: Write, tmp_path: Path, dialect: str, words: str, arrives: str
) -> None:
    _container(pipeline, "exec-make")["env"] = [{"name": "A", "value": "b"}]
    summary = _run(write(pipeline), tmp_path, dialect, words=words)
    assert summary["error"] is None
    assert summary["tasks"]["read"]["outputs"]["loud"] == arrives.upper()


def test_parameters_that_are_too_long_are_one_line(
    pipeline: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    summary = _run(write(pipeline), tmp_path, words="x" * 200_000)
    assert summary["tasks"]["make"]["state"] == "failed"
    assert "bytes, and Linux takes 131071: the parameters are too long" in summary["error"]


def test_a_command_that_is_not_there_is_one_line(
    pipeline: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    _container(pipeline, "exec-make")["command"] = ["no-such-command"]
    assert "make: no-such-command cannot be started" in _run(write(pipeline), tmp_path)["error"]


def test_what_a_root_says_of_its_store_is_not_in_addresses(
    pipeline: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    pipeline["defaultPipelineRoot"] = "s3://bucket?region=eu-west-1&endpoint=a.b:9000"
    summary = _run(write(pipeline), tmp_path)
    uri = summary["tasks"]["make"]["outputs"]["data"]["uri"]
    assert uri.startswith(f"s3://bucket/words/{summary['run_id']}/make/")


def test_after_a_failure_nothing_is_started_and_one_line_says_why(
    pipeline: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    container = _container(pipeline, "exec-make")
    container["command"] = ["python", "-c", "import sys; sys.exit('no good')"]
    summary = _run(write(pipeline), tmp_path)
    assert (summary["state"], _states(summary)) == (
        "FAILED",
        {"make": "failed", "read": "skipped"},
    )
    assert summary["error"].startswith("make ended with status 1: no good (log: ")
    assert _states(_run(write(pipeline), tmp_path))["make"] == "failed"


def test_of_a_long_termination_message_the_end_is_kept(
    pipeline: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    say = (
        "import os; open(os.environ['TFX_RCNN_POD_ROOT'] + '/dev/termination-log', 'w')"
        ".write('lost' + 'ä' * 5000 + 'the end'); raise SystemExit(3)"
    )
    _container(pipeline, "exec-make")["command"] = ["python", "-c", say]
    error = _run(write(pipeline), tmp_path)["error"]
    assert "the end" in error
    assert "lost" not in error


def test_the_termination_message_is_what_is_told(
    pipeline: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    say = (
        "import os; open(os.environ['TFX_RCNN_POD_ROOT'] + '/dev/termination-log', 'w')"
        ".write('the one reason'); print('noise'); raise SystemExit(3)"
    )
    _container(pipeline, "exec-make")["command"] = ["python", "-c", say]
    assert "make ended with status 3: the one reason" in _run(write(pipeline), tmp_path)["error"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ('{"artifacts": {"data": {"artifacts": [{"metadata": {"x": None}}]}}}', "NullValue"),
        (
            '{"artifacts": {"data": {"artifacts": [{"uri": "minio://other/x"}]}}}',
            "does not have expected bucket prefix",
        ),
    ],
)
def test_what_the_launcher_cannot_record_fails_the_task(
    pipeline: dict[str, Any], write: Write, tmp_path: Path, code: str, said: str
) -> None:
    container = _container(pipeline, "exec-make")
    container["command"] = [
        "python",
        "-c",
        "import json, os, sys; file = os.environ['TFX_RCNN_POD_ROOT'] + "
        "json.loads(sys.argv[3])['outputs']['outputFile']; "
        f"os.makedirs(os.path.dirname(file), exist_ok=True); json.dump({code}, open(file, 'w'))",
    ]
    summary = _run(write(pipeline), tmp_path)
    assert summary["tasks"]["make"]["state"] == "failed"
    assert said in summary["error"]


def test_a_pod_sees_no_environment_of_ours_but_the_containers(
    pipeline: dict[str, Any], write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", "{}")
    look = (
        "import os, sys; assert 'TF_CONFIG' not in os.environ; assert os.environ['A'] == 'b'; "
        "assert os.listdir(os.environ['HOME']) == []; assert not sys.stdin.read()"
    )
    container = _container(pipeline, "exec-make")
    container["command"], container["env"] = ["python", "-c", look], [{"name": "A", "value": "b"}]
    del pipeline["root"]["dag"]["tasks"]["read"]
    assert _run(write(pipeline), tmp_path)["error"] is None


def test_a_missing_output_is_recorded_and_given_as_an_empty_input(
    pipeline: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    """KFP lets components leave out outputs."""
    _container(pipeline, "exec-make")["command"] = ["python", "-c", "pass"]
    summary = _run(write(pipeline), tmp_path)
    assert _states(summary) == {"make": "succeeded", "read": "failed"}
    assert "FileNotFoundError" in summary["error"]


def test_a_folder_in_use_is_left_alone(
    pipeline: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    with held_folder(tmp_path / "run", ""), pytest.raises(FolderInUseError):
        _run(write(pipeline), tmp_path / "run")


def test_unknown_parameters_are_refused_before_anything_runs(
    pipeline: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no such parameter of the pipeline; it has words"):
        _run(write(pipeline), tmp_path / "run", word="x")
