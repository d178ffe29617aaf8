"""A training as MLflow's stores and Weights & Biases' files have it: the real libraries."""

import json
import time

import pytest

from configs.tracking_schema import TrackingConfig
from model.launch.errors import TrainingStopped
from model.tracking import sender, tracking
from model.tracking.request import TrackingRequest
from model.tracking.tracking import IDS_FILE, track_outcome, tracked
from model.training.events import RunDone, ScalarsWritten, WarningGiven

PARAMETERS = {f"section.{n}": str(n) for n in range(250)}


def ended(model_id="abc"):
    return RunDone(8, 8, 0, None, 1.0, 2.0, {}, {}, [], model_id=model_id)


def request(**settings):
    return TrackingRequest(TrackingConfig(**settings), "shapes", PARAMETERS)


def train(asked, folder, steps, stops=False):
    """Plays a training's events; returns the warnings."""
    events = []
    try:
        with tracked(asked, folder, events.append) as on_event:
            for step in steps:
                on_event(ScalarsWritten(step, {"loss/total": 1.0 / step, "learning_rate": 0.1}))
            if stops:
                raise TrainingStopped(step)
            on_event(ended())
    except TrainingStopped:
        assert stops
    return [event.text for event in events if isinstance(event, WarningGiven)]


@pytest.fixture(params=["file", "sqlite"])
def mlflow_uri(request, tmp_path):
    pytest.importorskip("mlflow", reason="tfx-rcnn[mlflow] is not installed")
    if request.param == "file":
        return f"file://{tmp_path}/mlruns"
    pytest.importorskip("sqlalchemy", reason="MLflow's SQLite store needs the whole mlflow")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.mark.filterwarnings("ignore")  # MLflow's own, of pydantic and of its file store
def test_mlflow_has_parameters_curves_outcome_and_report(tmp_path, mlflow_uri, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    asked, folder = request(mlflow=mlflow_uri, experiment="cells", run="first"), tmp_path / "run"
    folder.mkdir()
    assert train(asked, folder, [1, 2, 3], stops=True) == []
    client = MlflowClient(tracking_uri=mlflow_uri)
    [experiment] = client.search_experiments(filter_string="name = 'cells'")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED" and run.info.run_name == "first"

    assert train(asked, folder, [3, 4]) == []  # it goes on
    (tmp_path / "report.html").write_text("<p>fine")
    files = {"evaluation": str(tmp_path / "report.html")}
    tags = {"blessed": "true", "pushed_version": "7"}
    assert track_outcome(asked, folder, {"evaluation/box/AP": 0.5}, tags, files) == []

    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params == PARAMETERS
    assert run.data.metrics["evaluation/box/AP"] == 0.5
    tags |= {"model_id": "abc"}
    assert {name: run.data.tags[name] for name in tags} == tags
    curve = client.get_metric_history(run.info.run_id, "loss/total")
    assert [(m.step, m.value) for m in curve] == [(s, 1.0 / s) for s in (1, 2, 3, 3, 4)]
    kept = client.download_artifacts(run.info.run_id, "evaluation/report.html", str(tmp_path))
    assert open(kept).read() == "<p>fine"
    assert "mlruns" not in {p.name for p in tmp_path.iterdir()} or "file://" in mlflow_uri


def wait_for_texts(paths, texts):
    """Returns which texts are in no file; a process of W&B's writes them when it likes."""
    until = time.monotonic() + 60
    while True:
        content = b"".join(path.read_bytes() for path in paths)
        missing = [text for text in texts if text not in content]
        if not missing or time.monotonic() > until:
            return missing
        time.sleep(0.1)


@pytest.mark.filterwarnings("ignore")
def test_wandb_has_them_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="tfx-rcnn[wandb] is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    asked = request(wandb="cells")
    assert train(asked, folder, [1, 2]) == []
    (tmp_path / "report.html").write_text("<p>fine")
    files = {"evaluation": str(tmp_path / "report.html")}
    assert (
        track_outcome(asked, folder, {"evaluation/box/AP": 0.5}, {"blessed": "true"}, files) == []
    )
    run_id = json.loads((folder / IDS_FILE).read_text())["wandb"]["id"]
    stores = list((folder / "wandb").rglob(f"run-{run_id}.wandb"))
    assert len(stores) == 2
    texts = [b"section.249", b"loss/total", b"model_id", b"evaluation/box/AP", b"blessed"]
    assert wait_for_texts(stores, texts) == []
    assert not (tmp_path / "wandb").exists()


def test_bad_credentials_and_a_server_that_is_gone_are_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(sender, "_FIRST_PAUSE", 0.01)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    first, *_, last = train(request(wandb="cells"), tmp_path, [1, 2])
    assert "not logged in: set WANDB_API_KEY" in first
    assert last.startswith("tracking: Weights & Biases: 5 things were not sent")


def test_trackers_share_the_time_that_is_left(monkeypatch):
    """One that hangs takes none of the other's, and a person waits for both at once."""

    class Hanging:
        def __init__(self):
            self.seconds = []

        def put(self, item):
            pass

        def close(self, seconds):
            self.seconds.append(seconds)
            time.sleep(seconds)
            return []

    both = [Hanging(), Hanging()]
    monkeypatch.setattr(tracking, "_senders", lambda *_: both)
    with (
        pytest.raises(KeyboardInterrupt),
        tracked(request(wandb="cells"), None, lambda event: None),
    ):
        raise KeyboardInterrupt
    [first], [second] = (one.seconds for one in both)
    assert 0 < first <= tracking._SECONDS_TO_INTERRUPT and second < 0.1


def test_without_a_request_events_go_on_as_they_are(tmp_path):
    assert train(None, tmp_path, [1]) == []
    assert list(tmp_path.iterdir()) == []
