"""What the driver hands a task, and the fingerprint: KFP's own words and numbers."""

from typing import Any

import pytest

from pipeline.kubeflow.player.cache import cache_key, fingerprint
from pipeline.kubeflow.player.compiled import Task
from pipeline.kubeflow.player.dialects import DIALECTS
from pipeline.kubeflow.player.driver import DriverError, executor_input, text_of
from pipeline.kubeflow.player.placeholders import command_line

OLD, NEW = DIALECTS["2.4"], DIALECTS["2.17"]
MODEL = {"instanceSchema": "title: tfx.Model\ntype: object\n"}


def _task(**changes: Any) -> Task:
    component = {
        "inputDefinitions": {
            "parameters": {
                "epochs": {"parameterType": "NUMBER_INTEGER"},
                "note": {"parameterType": "STRING", "isOptional": True},
            }
        },
        "outputDefinitions": {
            "artifacts": {"model": {"artifactType": MODEL}},
            "parameters": {"score": {"parameterType": "NUMBER_DOUBLE"}},
        },
    }
    spec = {
        "taskInfo": {"name": "Train it"},
        "inputs": {
            "parameters": {
                "epochs": {"runtimeValue": {"constant": 3.0}},
                "note": {"componentInputParameter": "note"},
            },
            "artifacts": {
                "examples": {
                    "taskOutputArtifact": {"producerTask": "gen", "outputArtifactKey": "examples"}
                }
            },
        },
    }
    container = {"image": "i:1", "command": ["sh"], "args": ["{{$}}"]}
    return Task("train", {**spec, **changes}, component, container, {})


def _message(task: Task, dialect: Any, note: Any = "hi") -> dict[str, Any]:
    return executor_input(
        task,
        dialect,
        "minio://b/root/p/run",
        "SALT",
        {"note": note},
        {"gen": {"artifacts": {"examples": 4}, "parameters": {}}},
        lambda number: {"name": str(number), "uri": "minio://b/e", "type": {"instanceSchema": ""}},
    )


def test_message_of_2_4() -> None:
    assert _message(_task(), OLD) == {
        "inputs": {
            "parameterValues": {"epochs": 3, "note": "hi"},
            "artifacts": {
                "examples": {
                    "artifacts": [
                        {"name": "4", "uri": "minio://b/e", "type": {"instanceSchema": ""}}
                    ]
                }
            },
        },
        "outputs": {
            "parameters": {"score": {"outputFile": "/tmp/kfp/outputs/score"}},
            "artifacts": {
                "model": {
                    "artifacts": [
                        {"uri": "minio://b/root/p/run/Train it/SALT/model", "type": MODEL}
                    ]
                }
            },
            "outputFile": "/tmp/kfp_outputs/output_metadata.json",
        },
    }


def test_message_of_2_17_has_names_a_log_and_the_output_file_beside_the_outputs() -> None:
    assert _message(_task(), NEW)["outputs"] == {
        "parameters": {"score": {"outputFile": "/tmp/kfp/outputs/score"}},
        "artifacts": {
            "model": {
                "artifacts": [
                    {
                        "name": "model",
                        "uri": "minio://b/root/p/run/train/SALT/model",
                        "type": MODEL,
                    }
                ]
            },
            "executor-logs": {
                "artifacts": [
                    {
                        "name": "executor-logs",
                        "uri": "minio://b/root/p/run/train/SALT/executor-logs",
                        "type": {"schemaTitle": "system.Artifact"},
                    }
                ]
            },
        },
        "outputFile": "/minio/b/root/p/run/train/SALT/output_metadata.json",
    }


def test_a_parameter_without_value_is_left_out_by_2_17_and_empty_text_before() -> None:
    assert "note" not in _message(_task(), NEW, note=None)["inputs"]["parameterValues"]
    assert _message(_task(), OLD, note=None)["inputs"]["parameterValues"]["note"] == ""


@pytest.mark.parametrize(
    ("value", "kind"), [("3", "string"), (True, "bool"), ([3], "list"), (None, "null")]
)
def test_a_parameter_of_another_type_fails_the_task(value: Any, kind: str) -> None:
    inputs = {"parameters": {"epochs": {"runtimeValue": {"constant": value}}}}
    with pytest.raises(DriverError, match=f"expect NUMBER_INTEGER, got {kind}"):
        _message(_task(inputs=inputs), NEW)


def test_a_required_parameter_that_is_missing_fails_the_task() -> None:
    with pytest.raises(DriverError, match="non-optional parameter 'epochs'"):
        _message(_task(inputs={}), NEW)


def test_an_output_that_the_producer_did_not_give_fails_the_task() -> None:
    source = {"taskOutputArtifact": {"producerTask": "gen", "outputArtifactKey": "other"}}
    inputs = {
        "parameters": {"epochs": {"runtimeValue": {"constant": 1}}},
        "artifacts": {"examples": source},
    }
    with pytest.raises(DriverError, match="cannot find output artifact key 'other'"):
        _message(_task(inputs=inputs), NEW)


@pytest.mark.parametrize(
    ("value", "text"),
    [(5.0, "5"), (0.00025, "0.00025"), (True, "true"), ([1, "a"], '[1,"a"]'), (None, "")],
)
def test_values_as_text(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_fingerprints_are_those_of_kfps_own_test() -> None:
    """Expected: backend/src/v2/cacheutils/cache_test.go of 2.4.0, TestGenerateFingerPrint."""
    schema = (
        "title: kfp.Model\ntype: object\nproperties:\n  framework:\n    type: string\n"
        "  framework_version:\n    type: string\n"
    )
    key = {
        "inputArtifactNames": {
            "dataset_one": {"artifactNames": ["1"]},
            "dataset_two": {"artifactNames": ["2"]},
        },
        "inputParameterValues": {"message": "Some string value", "num_steps": 5.0},
        "outputArtifactsSpec": {
            "model": {
                "name": "model",
                "type": {"instanceSchema": schema},
                "metadata": {"name": "model"},
            },
            "metrics": {
                "name": "metrics",
                "type": {"schemaTitle": "kfp.Metrics"},
                "metadata": {"name": "metrics"},
            },
        },
        "outputParametersSpec": {"output_parameter_one": "STRING", "output_parameter_two": "INT"},
        "containerSpec": {"cmdArgs": ["sh", "ec", "test"], "image": "python:3.9"},
    }
    assert fingerprint(key) == "4e8a5d7d70997b0a35429fcd481af8fcd5b9f58ef4391bdb6ad900fd1c63622b"
    key = {
        "inputArtifactNames": {"dataset": {"artifactNames": ["10"]}},
        "outputParametersSpec": {"output_parameter": "DOUBLE"},
        "containerSpec": {"cmdArgs": ["sh", "ec", "run"], "image": "python:3.9"},
    }
    assert fingerprint(key) == "0a4cc1f15cdfad5170e1358518f7128c5278500a670db1b9a3f3d83b93db396e"


def test_the_key_has_inputs_types_and_command_but_no_addresses() -> None:
    key = cache_key(_task(), NEW, _message(_task(), NEW))
    assert key == {
        "inputArtifactNames": {"examples": {"artifactNames": ["4"]}},
        "inputParameterValues": {"epochs": 3, "note": "hi"},
        "outputArtifactsSpec": {
            "model": {"name": "model", "type": MODEL},
            "executor-logs": {
                "name": "executor-logs",
                "type": {"schemaTitle": "system.Artifact"},
            },
        },
        "outputParametersSpec": {"score": "NUMBER_DOUBLE"},
        "containerSpec": {"image": "i:1", "cmdArgs": ["sh", "{{$}}"]},
    }


def test_claims_count_from_the_version_on_that_has_them_in_the_key() -> None:
    platform = {"pvcMount": [{"constant": "coco", "mountPath": "/data"}]}
    task = Task("t", {}, {}, {"image": "i:1"}, platform)
    message = {"inputs": {}, "outputs": {}}
    assert cache_key(task, NEW, message)["containerSpec"]["pvcNames"] == ["coco"]
    assert "pvcNames" not in cache_key(task, OLD, message)["containerSpec"]


@pytest.mark.parametrize("dialect", [OLD, NEW])
def test_placeholders(dialect: Any) -> None:
    line = [
        "{{$.inputs.parameters['epochs']}} of {{$.inputs.parameters['note']}}",
        "{{$.inputs.artifacts['examples'].uri}}",
        "{{$.outputs.artifacts['model'].path}}",
        "{{$.outputs.parameters['score'].output_file}}",
        "{{$.inputs.parameters['unknown']}}",
    ]
    task = Task("train", _task().spec, _task().component, {"command": line}, {})
    name = "train" if dialect is NEW else "Train it"
    assert command_line(task, dialect, _message(task, dialect), "/pod") == [
        "3 of hi",
        "minio://b/e",
        f"/pod/minio/b/root/p/run/{name}/SALT/model",
        "/pod/tmp/kfp/outputs/score",
        "{{$.inputs.parameters['unknown']}}",
    ]
