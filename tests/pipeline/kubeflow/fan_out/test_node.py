"""The other pods: what they train, and that none outlives the trainer's."""

import inspect
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ground.errors import ConfigError, DatasetError
from model.launch.errors import TrainingStopped
from model.training.events import WarningGiven
from pipeline.kubeflow.fan_out import node
from pipeline.kubeflow.fan_out.cluster_api import ClusterApi
from pipeline.kubeflow.fan_out.manifests import WORK_VARIABLE, Work
from tests.pipeline.kubeflow.fan_out.api_server import UID, ApiServer

# Of the client, whose urllib3 is another one.
pytestmark = pytest.mark.filterwarnings("ignore:HTTPResponse.getheaders:DeprecationWarning")


@pytest.fixture(autouse=True)
def readiness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = (*node.run.__defaults__[:-1], str(tmp_path / "ready"))
    monkeypatch.setattr(node.run, "__defaults__", defaults)


@pytest.fixture
def environ(message: dict[str, Any], tmp_path: Path) -> dict[str, str]:
    settings = message["inputs"]["parameterValues"]["settings"]
    hosts = ("10.1.2.3:2222", "a-0.a:2222", "a-1.a:2222")
    examples = tmp_path / "examples"
    examples.mkdir()
    work = Work(settings, "train.epochs=3;model.weights=null", str(examples), hosts, "trainer", UID)
    return {WORK_VARIABLE: work.to_json(), "JOB_COMPLETION_INDEX": "1"}


def test_it_trains_along_at_its_place(
    api: ClusterApi, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    signature = inspect.signature(node.train)
    monkeypatch.setattr(node, "train", lambda *a, **k: seen.append(signature.bind(*a, **k)))
    node.run(tmp_path / "work", environ, lambda: api, ready_file=str(tmp_path / "ready"))
    assert (tmp_path / "ready").exists()
    [call] = seen
    given = call.arguments
    assert (given["config"].train.epochs, given["config"].model.weights) == (3.0, None)
    assert given["examples_dir"] == tmp_path / "examples"
    assert given["out_dir"] == tmp_path / "work" / "out" and "checkpoints_dir" not in given
    given["on_progress"](WarningGiven("odd"))
    assert environ["TFX_RCNN_HOSTS"] == "10.1.2.3:2222,a-0.a:2222,a-1.a:2222"
    assert environ["TFX_RCNN_HOST_INDEX"] == "2"


def test_its_place_in_a_tf_job_is_that_of_a_label(
    api: ClusterApi, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "train", lambda *_, **__: None)
    del environ["JOB_COMPLETION_INDEX"]
    environ |= {"TFX_RCNN_NODE_PLACE": "0", "TF_CONFIG": '{"cluster": {"worker": ["a", "b"]}}'}
    ready = tmp_path / "ready"
    ready.touch()  # of a container before, in a volume
    monkeypatch.setattr(node, "_examples", lambda *_: pytest.fail("late") if ready.exists() else "")
    node.run(tmp_path / "work", environ, lambda: api, ready_file=str(ready))
    assert environ["TFX_RCNN_HOST_INDEX"] == "1" and "TF_CONFIG" not in environ
    assert ready.exists()


@pytest.mark.parametrize("change", [{"phase": "Failed"}, {"phase": "Succeeded"}, None, "uid"])
def test_it_ends_with_the_trainer_s_pod(
    server: ApiServer,
    api: ClusterApi,
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Any,
) -> None:
    stops: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: stops.append(number))

    def train(*_: Any, **__: Any) -> None:
        end()
        deadline = time.monotonic() + 10
        while not stops and time.monotonic() < deadline:
            time.sleep(0.01)
        raise TrainingStopped(5)

    def end() -> None:
        if change is None:
            server.state.objects.pop(("pods", "trainer"))
        elif change == "uid":
            server.state.objects["pods", "trainer"]["metadata"]["uid"] = "another"
        else:
            server.state.objects["pods", "trainer"]["status"] = change

    monkeypatch.setattr(node, "train", train)
    try:
        node.run(tmp_path, environ, lambda: api, poll_seconds=0.01)
        assert stops == [signal.SIGTERM]
        # And one that is made anew after that starts nothing.
        monkeypatch.setattr(node, "train", lambda *_, **__: pytest.fail("trained"))
        node.run(tmp_path, environ, lambda: api)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_server_that_is_away_ends_nothing(
    server: ApiServer,
    api: ClusterApi,
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.state.troubles["GET", "pods"] = ["drop", 500, 403, "drop", 503]

    def train(*_: Any, **__: Any) -> None:
        deadline = time.monotonic() + 10
        while server.state.troubles["GET", "pods"] and time.monotonic() < deadline:
            time.sleep(0.01)

    monkeypatch.setattr(node, "train", train)
    node.run(tmp_path, environ, lambda: api, poll_seconds=0.01)
    assert not server.state.troubles["GET", "pods"]


def test_its_own_sigterm_is_an_eviction_and_not_the_end(
    api: ClusterApi, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: Any, **__: Any) -> None:
        raise TrainingStopped(5)

    monkeypatch.setattr(node, "train", train)
    with pytest.raises(TrainingStopped):
        node.run(tmp_path, environ, lambda: api)


def test_what_is_missing_ends_in_a_line(
    api: ClusterApi, environ: dict[str, str], tmp_path: Path
) -> None:
    os.rmdir(tmp_path / "examples")
    with pytest.raises(DatasetError, match="no such folder in this pod: is its volume mounted"):
        node.run(tmp_path, environ, lambda: api)
    assert not (tmp_path / "ready").exists()
    for missing in (WORK_VARIABLE, "JOB_COMPLETION_INDEX"):
        with pytest.raises(ConfigError, match="this is none"):
            node.run(tmp_path, {**environ, missing: ""}, lambda: api)
