import importlib.util

import pytest

from configs.loader import default_config
from ground.errors import ConfigError
from model.tracking.request import TrackingRequest, asked_for, current_request
from model.training_settings import TrainingSettings


def test_nothing_is_asked_unless_somebody_does():
    assert TrackingRequest.of(default_config()) is None


def test_a_missing_package_is_said_with_the_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for kind in ("mlflow", "wandb"):
        config = default_config([f"tracking.{kind}=x"])
        with pytest.raises(ConfigError, match=rf"pip install 'tfx-rcnn\[{kind}\]'"):
            TrackingRequest.of(config)


def test_parameters_are_the_whole_config_without_where_it_is_tracked(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    config = default_config(["tracking.mlflow=http://me:word@host", "train.epochs=3"])
    request = TrackingRequest.of(config)
    assert request.parameters["train.epochs"] == "3.0"
    assert not [name for name in request.parameters if name.startswith("tracking")]
    assert "word" not in str(request.parameters)


def test_parameters_have_no_password_of_an_address(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    source = "{annotations: sftp://me:word@host/x.json, pictures: sftp://me:word@host/x}"
    config = default_config(
        [
            "tracking.mlflow=x",
            "model.weights=https://host/w.npz?token=word",
            f"data.sources=[{source}]",
            "data.split={train: 0.9, eval: 0.1}",
        ]
    )
    parameters = TrackingRequest.of(config).parameters
    assert parameters["model.weights"] == "https://host/w.npz?token=***"
    assert '"sftp://me:***@host/x.json"' in parameters["data.sources"]
    assert "word" not in str(parameters)


def test_no_result_hangs_on_it():
    plain, tracked = default_config(), default_config(["tracking.mlflow=x", "tracking.run=a"])
    assert TrainingSettings.of(plain).to_json() == TrainingSettings.of(tracked).to_json()


def test_a_request_holds_within_its_block(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    request = TrackingRequest.of(default_config(["tracking.wandb=p"]))
    with asked_for(request):
        assert current_request() is request
    with asked_for(None):
        assert current_request() is None
