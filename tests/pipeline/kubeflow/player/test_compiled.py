"""A compiled file as the API server reads it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ground.errors import ConfigError
from pipeline.kubeflow.player.compiled import read_compiled, run_parameters

Write = Callable[..., Path]


def test_tasks_come_after_what_they_need_with_their_platform(
    pipeline: dict[str, Any], write: Write
) -> None:
    mount = {"pvcMount": [{"constant": "coco", "mountPath": "/data"}]}
    platform = {
        "platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-read": mount}}}}
    }
    compiled = read_compiled(write(pipeline, platform))
    assert [task.key for task in compiled.tasks] == ["make", "read"]
    assert [task.platform for task in compiled.tasks] == [{}, mount]
    assert [task.name for task in compiled.tasks] == ["Maker", "Reader"]


@pytest.mark.parametrize(("root", "said"), [("/local", "/local"), ("hdfs://x", "hdfs://x")])
def test_roots_that_kfp_refuses(
    pipeline: dict[str, Any], write: Write, root: str, said: str
) -> None:
    pipeline["defaultPipelineRoot"] = root
    with pytest.raises(ConfigError, match=f"defaultPipelineRoot {said}"):
        read_compiled(write(pipeline))


def test_a_file_without_a_root_has_kfps_own(pipeline: dict[str, Any], write: Write) -> None:
    del pipeline["defaultPipelineRoot"]
    assert read_compiled(write(pipeline)).root == "minio://mlpipeline/v2/artifacts"


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("importer", {"importer": {}}),
        ("resolver", {"resolver": {}}),
        ("no container", {}),
    ],
)
def test_what_is_not_played_is_named(
    pipeline: dict[str, Any], write: Write, where: str, what: dict[str, Any]
) -> None:
    pipeline["deploymentSpec"]["executors"]["exec-make"] = what
    with pytest.raises(ConfigError, match=rf"task make \({where}\) cannot be run here"):
        read_compiled(write(pipeline))


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("parameterIterator", {"items": {}}, "loop"),
        ("artifactIterator", {"items": {}}, "loop"),
        ("triggerPolicy", {"condition": "true"}, "condition"),
        ("cachingOptions", {}, "nested pipeline"),
    ],
)
def test_loops_conditions_and_nested_pipelines_are_not_played(
    pipeline: dict[str, Any], write: Write, key: str, value: dict[str, Any], kind: str
) -> None:
    pipeline["root"]["dag"]["tasks"]["make"][key] = value
    pipeline["components"]["comp-make"]["dag"] = {}
    del pipeline["components"]["comp-make"]["executorLabel"]
    with pytest.raises(ConfigError, match=rf"task make \({kind}\) cannot be run here"):
        read_compiled(write(pipeline))


def test_tasks_in_a_circle(pipeline: dict[str, Any], write: Write) -> None:
    pipeline["root"]["dag"]["tasks"]["make"]["dependentTasks"] = ["read"]
    with pytest.raises(ConfigError, match="make, read"):
        read_compiled(write(pipeline))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("STRING", "3", "3"),
        ("NUMBER_INTEGER", "3", 3),
        ("NUMBER_DOUBLE", "3", 3),
        ("NUMBER_DOUBLE", "1e-3", 1e-3),
        ("BOOLEAN", "True", True),
        ("LIST", "[1]", [1]),
        ("STRUCT", '{"a": 1}', {"a": 1}),
    ],
)
def test_parameters_are_read_by_their_type(
    pipeline: dict[str, Any], write: Write, kind: str, text: str, value: Any
) -> None:
    pipeline["root"]["inputDefinitions"]["parameters"] = {"p": {"parameterType": kind}}
    assert run_parameters(read_compiled(write(pipeline)), {"p": text}) == {"p": value}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("NUMBER_INTEGER", "3.5"),
        ("NUMBER_INTEGER", "true"),
        ("NUMBER_DOUBLE", "fast"),
        ("BOOLEAN", "1"),
        ("LIST", "{}"),
        ("STRUCT", "[]"),
    ],
)
def test_parameters_of_another_type_are_refused(
    pipeline: dict[str, Any], write: Write, kind: str, text: str
) -> None:
    pipeline["root"]["inputDefinitions"]["parameters"] = {"p": {"parameterType": kind}}
    with pytest.raises(ConfigError, match=f"--param p: expected {kind}"):
        run_parameters(read_compiled(write(pipeline)), {"p": text})


def test_defaults_and_missing_values(pipeline: dict[str, Any], write: Write) -> None:
    parameters = pipeline["root"]["inputDefinitions"]["parameters"]
    compiled = read_compiled(write(pipeline))
    assert run_parameters(compiled, {}) == {"words": "a b"}
    del parameters["words"]["defaultValue"]
    assert run_parameters(read_compiled(write(pipeline)), {}) == {"words": None}
    del parameters["words"]["isOptional"]
    with pytest.raises(ConfigError, match=r"--param words=\.\.\. is missing"):
        run_parameters(read_compiled(write(pipeline)), {})


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["root"], []),
        (["root", "dag", "tasks"], None),
        (["root", "dag", "tasks", "make"], 3),
        (["root", "dag", "tasks", "make", "componentRef"], {}),
        (["components"], {}),
        (["components", "comp-make"], None),
        (["deploymentSpec", "executors"], []),
        (["deploymentSpec", "executors", "exec-make"], "x"),
        (["pipelineInfo"], {}),
    ],
)
def test_what_is_no_pipeline_is_one_line(
    pipeline: dict[str, Any], write: Write, keys: list[str], value: Any
) -> None:
    place: Any = pipeline
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    with pytest.raises(ConfigError, match=r"pipeline\.yaml: "):
        read_compiled(write(pipeline))
