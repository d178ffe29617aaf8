"""A service that behaves as Kubeflow Pipelines, and a compiled file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.kubeflow.api.connection import Connection
from pipeline.kubeflow.api.service import Service
from tests.pipeline.kubeflow.api.server import KfpServer

PIPELINE = {
    "pipelineInfo": {"name": "shapes"},
    "root": {
        "inputDefinitions": {
            "parameters": {
                "epochs": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 2.0},
                "rounds": {"parameterType": "NUMBER_INTEGER", "defaultValue": 1},
                "thresholds": {"parameterType": "LIST", "defaultValue": []},
                "overrides": {"parameterType": "STRING", "defaultValue": ""},
            }
        },
        "dag": {
            "tasks": {
                "Train": {"dependentTasks": ["Read"], "cachingOptions": {"enableCache": True}},
                "Push": {"dependentTasks": ["Train"], "cachingOptions": {}},
                "Read": {"cachingOptions": {"enableCache": True}},
            }
        },
    },
    "components": {},
    "deploymentSpec": {},
    "schemaVersion": "2.1.0",
}
PLATFORM = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {}}}}}


@pytest.fixture(autouse=True)
def no_secrets_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN", "COOKIE", "ENDPOINT", "SA_TOKEN_PATH"):
        monkeypatch.delenv(f"KF_PIPELINES_{name}", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with KfpServer() as running:
        yield running


@pytest.fixture
def connect(server: KfpServer) -> Callable[..., Service]:
    """Returns a function that makes a service which waits next to nothing."""

    def made(read_seconds: float = 5.0, environ: Any = None, **options: Any) -> Service:
        connection = Connection(**{"host": server.address, **options})
        return Service(connection, environ or {}, read_seconds, pauses=(0.0, 0.0, 0.0))

    return made


@pytest.fixture
def service(connect: Callable[..., Service]) -> Service:
    return connect()


@pytest.fixture
def pipeline_file(tmp_path: Path) -> Path:
    path = tmp_path / "shapes.yaml"
    path.write_text(yaml.safe_dump_all([PIPELINE, PLATFORM]))
    return path
