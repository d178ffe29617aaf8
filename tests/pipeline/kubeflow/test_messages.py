"""KFP's messages made readable for TFX, and TFX's for KFP's launcher."""

from pathlib import Path
from typing import Any

import pytest

from ground.files import file_digest
from pipeline.kubeflow.messages import for_launcher, for_tfx
from pipeline.kubeflow.pod_paths import own_file

EXAMPLES = {"instanceSchema": "title: tfx.Examples\ntype: object\n"}
MODEL = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
INPUTS_SPEC = {"artifacts": {"examples": {"artifactType": EXAMPLES}}}
OUTPUTS_SPEC = {"artifacts": {"model": {"artifactType": MODEL}}}


def _executor_input() -> dict[str, Any]:
    """As KFP 2.17 hands it over: no type, a log of the launcher's, addresses of the store."""
    log = {"name": "executor-logs", "uri": "minio://b/run/t/1/executor-logs-0"}
    return {
        "inputs": {
            "parameterValues": {"settings": "{}"},
            "artifacts": {
                "examples": {
                    "artifacts": [
                        {
                            "name": "7",
                            "uri": "minio://b/run/e/1/examples",
                            "type": {"instanceSchema": ""},
                            "metadata": {"split_names": '["train"]'},
                        }
                    ]
                }
            },
        },
        "outputs": {
            "artifacts": {
                "executor-logs": {
                    "artifacts": [log | {"type": {"schemaTitle": "system.Artifact"}}]
                },
                "model": {
                    "artifacts": [{"name": "model", "uri": "s3://b/run/t/1/model", "type": MODEL}]
                },
            },
            "outputFile": "/minio/b/run/t/1/output_metadata.json",
        },
    }


def test_undeclared_outputs_are_left_out() -> None:
    message = for_tfx(_executor_input(), INPUTS_SPEC, OUTPUTS_SPEC)
    assert list(message["outputs"]["artifacts"]) == ["model"]


def test_an_input_without_type_gets_that_of_the_component() -> None:
    message = for_tfx(_executor_input(), INPUTS_SPEC, OUTPUTS_SPEC)
    [examples] = message["inputs"]["artifacts"]["examples"]["artifacts"]
    assert examples["type"] == EXAMPLES
    assert examples["metadata"] == {"split_names": '["train"]'}


@pytest.mark.parametrize(
    "given_type",
    [
        None,
        {},
        {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"},
        {"instanceSchema": "title: tfx.Examples\ntype: object\n"},
    ],
)
def test_the_type_is_what_the_component_declares(given_type: dict[str, Any] | None) -> None:
    given = _executor_input()
    for side in ("inputs", "outputs"):
        for artifacts in given[side]["artifacts"].values():
            artifacts["artifacts"][0]["type"] = given_type
    message = for_tfx(given, INPUTS_SPEC, OUTPUTS_SPEC)
    assert message["inputs"]["artifacts"]["examples"]["artifacts"][0]["type"] == EXAMPLES
    assert message["outputs"]["artifacts"]["model"]["artifacts"][0]["type"] == MODEL


def test_an_undeclared_input_keeps_its_type() -> None:
    message = for_tfx(_executor_input(), {}, OUTPUTS_SPEC)
    [examples] = message["inputs"]["artifacts"]["examples"]["artifacts"]
    assert examples["type"] == {"instanceSchema": ""}


def test_an_input_elsewhere_on_the_disk_is_read_there() -> None:
    given = _executor_input()
    [examples] = given["inputs"]["artifacts"]["examples"]["artifacts"]
    examples["metadata"]["_kfp_workspace"] = True
    [read] = for_tfx(given, INPUTS_SPEC, {}, "/pod")["inputs"]["artifacts"]["examples"]["artifacts"]
    assert read["uri"] == "/pod/kfp-workspace/.artifacts/minio/b/run/e/1/examples"
    examples["customPath"] = "/mnt/examples"
    [read] = for_tfx(given, INPUTS_SPEC, {}, "/pod")["inputs"]["artifacts"]["examples"]["artifacts"]
    assert read["uri"] == "/pod/mnt/examples"
    assert "customPath" not in read


def test_on_vertex_the_output_file_has_an_address_too() -> None:
    given = _executor_input()
    given["outputs"]["outputFile"] = "gs://b/run/t/executor_output.json"
    message = for_tfx(given, INPUTS_SPEC, OUTPUTS_SPEC)
    assert message["outputs"]["outputFile"] == "/gcs/b/run/t/executor_output.json"


@pytest.mark.parametrize("empty", [{}, {"artifacts": []}, {"artifacts": None}])
def test_an_optional_input_without_artifacts_passes(empty: dict[str, Any]) -> None:
    given = _executor_input()
    given["inputs"]["artifacts"]["baseline"] = dict(empty)
    spec = {"artifacts": {**INPUTS_SPEC["artifacts"], "baseline": {"artifactType": MODEL}}}
    message = for_tfx(given, spec, OUTPUTS_SPEC)
    assert message["inputs"]["artifacts"]["baseline"] == empty


def test_addresses_become_the_launchers_folders() -> None:
    given = _executor_input()
    message = for_tfx(given, INPUTS_SPEC, OUTPUTS_SPEC, "/pod")
    [examples] = message["inputs"]["artifacts"]["examples"]["artifacts"]
    [model] = message["outputs"]["artifacts"]["model"]["artifacts"]
    assert (examples["uri"], model["uri"]) == (
        "/pod/minio/b/run/e/1/examples",
        "/pod/s3/b/run/t/1/model",
    )
    assert message["outputs"]["outputFile"] == "/pod/minio/b/run/t/1/output_metadata.json"
    assert given == _executor_input()


def test_local_addresses_and_empty_messages_pass() -> None:
    given = _executor_input()
    given["inputs"] = {}
    given["outputs"]["artifacts"]["model"]["artifacts"][0]["uri"] = "/claim/model"
    message = for_tfx(given, {}, OUTPUTS_SPEC)
    assert message["outputs"]["artifacts"]["model"]["artifacts"][0]["uri"] == "/claim/model"
    assert for_tfx({}, {}, {})["outputs"] == {"artifacts": {}, "outputFile": ""}


def test_what_the_executor_says_is_mapped_back_with_its_properties() -> None:
    written = {
        "artifacts": {
            "pushed_model": {
                "artifacts": [
                    {
                        "uri": "/pod/gcs/b/run/p/1/pushed_model",
                        "metadata": {
                            "pushed": 1.0,
                            "pushed_destination": "/pod/minio/b/serving/7",
                            "claim": "/shared/serving/7",
                            "nothing": None,
                        },
                    }
                ]
            }
        }
    }
    [artifact] = for_launcher(written, "/pod")["artifacts"]["pushed_model"]["artifacts"]
    assert artifact == {
        "uri": "gs://b/run/p/1/pushed_model",
        "metadata": {
            "pushed": 1.0,
            "pushed_destination": "minio://b/serving/7",
            "claim": "/shared/serving/7",
        },
    }


def test_another_pods_folders_are_not_taken_for_ours() -> None:
    written = {"artifacts": {"x": {"artifacts": [{"uri": "/minio/b/x"}]}}}
    assert for_launcher(written, "/pod")["artifacts"]["x"]["artifacts"][0]["uri"] == "/minio/b/x"


def test_a_file_of_the_package_is_found_where_the_package_lies() -> None:
    address = own_file("pipeline/schema.pbtxt")
    given = {"inputs": {"parameterValues": {"schema_file": address, "other": "package", "n": 3}}}
    values = for_tfx(given, {}, {})["inputs"]["parameterValues"]
    schema = Path(values["schema_file"])
    assert schema.is_file()
    assert address.endswith(f"#{file_digest(schema)[:12]}")
    assert (values["other"], values["n"]) == ("package", 3)
