"""KFP's messages made readable for TFX, and TFX's for KFP's launcher."""

from pathlib import Path
from typing import Any

from configs.files import file_digest
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


def test_a_type_that_is_given_stays() -> None:
    given = _executor_input()
    other = {"schemaTitle": "system.Dataset"}
    given["inputs"]["artifacts"]["examples"]["artifacts"][0]["type"] = other
    message = for_tfx(given, INPUTS_SPEC, OUTPUTS_SPEC)
    assert message["inputs"]["artifacts"]["examples"]["artifacts"][0]["type"] == other


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
