"""An API server, Kubernetes' own client to it, and the trainer's message."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client

from components.detection_trainer.settings import DetectionTrainerSettings
from configs.loader import load_config
from pipeline.kubeflow.fan_out.cluster_api import ClusterApi
from tests.pipeline.kubeflow.fan_out.api_server import NAMESPACE, ApiServer


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as running:
        yield running


def connected(address: str, sleep: Callable[[float], object] = lambda _: None) -> ClusterApi:
    """Returns the API server's client as a pod would have it."""
    configuration = client.Configuration(host=address)
    configuration.retries = False
    return ClusterApi(client.ApiClient(configuration), NAMESPACE, sleep)


@pytest.fixture
def api(server: ApiServer) -> ClusterApi:
    return connected(server.address)


@pytest.fixture
def message() -> dict[str, Any]:
    config = load_config("configs/tiny.yaml", ["model.weights=/tmp/w.npz"])
    settings = DetectionTrainerSettings.of(config).to_json()
    uri = "/minio/mlpipeline/tiny/1/CocoTransform/examples"
    return {
        "inputs": {
            "parameterValues": {"settings": settings, "overrides": "train.epochs=3"},
            "artifacts": {"examples": {"artifacts": [{"uri": uri}]}},
        }
    }
