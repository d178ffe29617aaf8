"""What the trainer's pod is told of MLflow and W&B, and what is refused instead."""

import json
from typing import Any

import pytest

from components.detection_trainer.settings import DetectionTrainerSettings
from configs.loader import checked
from configs.schema import Config
from ground.errors import ConfigError
from model.tracking import request
from model.tracking.request import current_request
from pipeline.kubeflow.platform import platform_spec
from pipeline.kubeflow.rewrite import set_variables
from pipeline.kubeflow.tracked import (
    TRACKING_VARIABLE,
    check_tracking,
    tracking_asked,
    tracking_secret,
    tracking_variables,
)

TRAINER = "components.detection_trainer.executor.Executor"
SERVER = "http://mlflow.kubeflow:5000"
SECRET = {"name": "trackers", "keys": {"WANDB_API_KEY": "wandb", "MLFLOW_TRACKING_TOKEN": "t"}}
VOLUMES = [{"claim": "runs", "path": "/data"}]


def config(tracking: dict[str, Any], **asked: Any) -> Config:
    values = {"name": "cells", "tracking": tracking, "pipeline": {"kubeflow": asked}}
    return checked(Config, values, "config")


@pytest.mark.parametrize(
    "uri",
    [
        SERVER,
        "https://mlflow.my.org/path",
        "sqlite:////data/mlflow.db",
        "/data/mlruns",
        "file:///data/mlruns",
        "/shared/mlruns",
        "postgresql+psycopg2://mlflow@db/mlflow",
    ],
)
def test_what_a_pod_reaches_is_taken(uri: str) -> None:
    check_tracking(config({"mlflow": uri}, volumes=VOLUMES), "/shared/", False)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mlruns", r"mlruns: a file of the pod goes with it: .*\(/data, /shared\)"),
        ("/tmp/mlruns", "a file of the pod goes with it"),
        ("/data/../tmp/mlruns", "a file of the pod goes with it"),
        ("/database/mlruns", "a file of the pod goes with it"),
        ("file:///srv/mlruns", "a file of the pod goes with it"),
        ("sqlite:///mlflow.db", "a file of the pod goes with it"),
        ("sqlite:////tmp/mlflow.db", "a file of the pod goes with it"),
        ("http://localhost:5000", "that is the pod itself"),
        ("http://127.0.0.1:5000", "that is the pod itself"),
        ("http://[::1]:5000", "that is the pod itself"),
        ("http://0.0.0.0:5000", "that is the pod itself"),
        ("http:///x", "that is the pod itself"),
        ("http://[x", "no URI"),
        ("s3://bucket/mlruns", "a pod cannot use s3"),
        ("http://me:hidden@mlflow:5000", r"http://\*\*\*@mlflow:5000 holds a secret"),
        ("https://hidden@mlflow", "holds a secret"),
        ("mysql://me:hidden@db/mlflow", "holds a secret"),
        ("postgresql://db/m?user=me&password=hidden", "holds a secret"),
    ],
)
def test_what_no_pod_reaches_and_what_is_secret_is_refused(uri: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        check_tracking(config({"mlflow": uri}, volumes=VOLUMES), "/shared", False)
    line = str(refused.value)
    assert line.startswith("tracking.mlflow ") and "hidden" not in line and "\n" not in line


def test_a_folder_that_stays_is_named_where_there_is_none() -> None:
    with pytest.raises(ConfigError, match=r"\(pipeline\.kubeflow\.volumes\), or name a server"):
        check_tracking(config({"mlflow": "/data/mlruns"}), "s3://bucket/shared", False)


def test_wandb_needs_a_key_or_to_be_offline() -> None:
    wandb = {"wandb": "cells"}
    check_tracking(config(wandb, tracking_secret=SECRET), "/shared", False)
    check_tracking(config(wandb, env={"WANDB_MODE": "offline"}), "/shared", True)
    other = {"name": "trackers", "keys": {"MLFLOW_TRACKING_TOKEN": "t"}}
    for asked in ({}, {"tracking_secret": other}, {"env": {"WANDB_MODE": "online"}}):
        with pytest.raises(ConfigError, match=r"^tracking\.wandb: the trainer's pod would have no"):
            check_tracking(config(wandb, **asked), "/shared", False)
    with pytest.raises(ConfigError, match=r"^tracking\.wandb: Vertex gives its containers no"):
        check_tracking(config(wandb), "gs://b/shared", True)


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ({"name": "trackers", "keys": {}}, "at least one entry"),
        ({"name": "trackers", "keys": {"WANDB_KEY": "wandb"}}, "WANDB_KEY"),
        ({"name": "trackers", "keys": {"WANDB_API_KEY": "a key"}}, "name of an entry"),
        ({"name": "No_Name", "keys": {"WANDB_API_KEY": "wandb"}}, "name of a secret"),
    ],
)
def test_a_secret_that_is_none_is_refused(secret: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config({"wandb": "cells"}, tracking_secret=secret)


def test_the_trainer_s_container_alone_has_variables_and_keys() -> None:
    asked = config({"mlflow": SERVER, "wandb": "cells"}, tracking_secret=SECRET, trainer_gpus=1)
    labels = {"DetectionTrainer": "a", "ModelPusher": "b"}
    executors: dict[str, Any] = {label: {"container": {}} for label in labels.values()}
    specification = {
        "components": {name: {"executorLabel": label} for name, label in labels.items()},
        "deploymentSpec": {"executors": executors},
    }
    set_variables(specification, asked)
    [variable] = executors["a"]["container"]["env"]
    assert variable["name"] == TRACKING_VARIABLE
    assert json.loads(variable["value"]) == {
        "mlflow": SERVER, "wandb": "cells", "experiment": None, "run": None,
    }  # fmt: skip
    assert [one["name"] for one in executors["b"]["container"]["env"]] == ["CUDA_VISIBLE_DEVICES"]

    tasks = {label: name for name, label in labels.items()}
    spec = platform_spec(asked.pipeline.kubeflow, tasks, tracking_secret(asked))
    assert spec is not None
    assert spec["platforms"]["kubernetes"]["deploymentSpec"]["executors"] == {
        "a": {
            "secretAsEnv": [
                {
                    "secretName": "trackers",
                    "keyToEnv": [
                        {"secretKey": "t", "envVar": "MLFLOW_TRACKING_TOKEN"},
                        {"secretKey": "wandb", "envVar": "WANDB_API_KEY"},
                    ],
                }
            ]
        }
    }
    both = config({"wandb": "cells"}, tracking_secret=SECRET, store_secret={"name": "minio"})
    spec = platform_spec(both.pipeline.kubeflow, tasks, tracking_secret(both))
    assert spec is not None
    pods = spec["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    names = {label: [s["secretName"] for s in pod["secretAsEnv"]] for label, pod in pods.items()}
    assert names == {"a": ["minio", "trackers"], "b": ["minio"]}


def test_without_trackers_nothing_is_added() -> None:
    asked = config({}, tracking_secret=SECRET)
    assert tracking_variables(asked) == {} and tracking_secret(asked) is None
    check_tracking(asked, "s3://b/shared", True)


def message(asked: Config, overrides: str) -> dict[str, Any]:
    settings = DetectionTrainerSettings.of(asked).to_json()
    return {"inputs": {"parameterValues": {"settings": settings, "overrides": overrides}}}


def test_the_trainer_is_tracked_with_the_settings_of_its_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request.importlib.util, "find_spec", lambda module: object())
    asked = config({"mlflow": SERVER, "experiment": "nightly"})
    environ = tracking_variables(asked)
    told = message(asked, "train.seed=7;data.max_rejected_fraction=0.5")
    with tracking_asked(TRAINER, told, environ):
        found = current_request()
        assert found is not None
        assert (found.name, found.settings) == ("cells", asked.tracking)
        assert found.parameters["train.seed"] == "7"
    assert current_request() is None
    with tracking_asked("components.coco_transform.executor.Executor", {}, environ):
        assert current_request() is None
    with tracking_asked(TRAINER, told, {}):
        assert current_request() is None


def test_an_image_without_the_package_is_a_line_before_the_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request.importlib.util, "find_spec", lambda module: None)
    asked = config({"mlflow": SERVER})
    with pytest.raises(ConfigError, match=r"^tracking\.mlflow: the package mlflow is missing"):
        tracking_asked(TRAINER, message(asked, ""), tracking_variables(asked))
