"""A compiled pipeline of small Python containers, which the player's tests change."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

DATASET = {"artifactType": {"instanceSchema": "title: tfx.Examples\ntype: object\n"}}
STRING = {"parameterType": "STRING"}

# Writes its parameter into the output `data`, beside what must not leave the pod.
MAKE = """
import json, os, sys
where, words = sys.argv[1:3]
assert os.listdir(".") == [], os.listdir(".")
os.makedirs(where + "/below/empty")
open(where + "/below/words.txt", "w").write(words)
open("left_in_the_working_folder", "w").write("x")
message = json.loads(sys.argv[3])
file = os.environ["TFX_RCNN_POD_ROOT"] + message["outputs"]["outputFile"]
os.makedirs(os.path.dirname(file), exist_ok=True)
open(file, "w").write(json.dumps({"artifacts": {"data": {"artifacts": [
    {"metadata": {"count": len(words), "is_short": True, "parts": [1], "more": {"a": 1}}}]}}}))
print("made", words)
"""
# Copies the words it is given into an output parameter.
READ = """
import os, sys
where, file = sys.argv[1:3]
assert os.listdir(where + "/below") == ["words.txt"], os.listdir(where + "/below")
open(file, "w").write(open(where + "/below/words.txt").read().upper())
"""
PIPELINE: dict[str, Any] = {
    "pipelineInfo": {"name": "words"},
    "schemaVersion": "2.1.0",
    "defaultPipelineRoot": "minio://bucket/root",
    "root": {
        "inputDefinitions": {
            "parameters": {"words": {**STRING, "defaultValue": "a b", "isOptional": True}}
        },
        "dag": {
            "tasks": {
                "read": {
                    "taskInfo": {"name": "Reader"},
                    "componentRef": {"name": "comp-read"},
                    "cachingOptions": {"enableCache": True},
                    "dependentTasks": ["make"],
                    "inputs": {
                        "artifacts": {
                            "data": {
                                "taskOutputArtifact": {
                                    "producerTask": "make",
                                    "outputArtifactKey": "data",
                                }
                            }
                        }
                    },
                },
                "make": {
                    "taskInfo": {"name": "Maker"},
                    "componentRef": {"name": "comp-make"},
                    "cachingOptions": {"enableCache": True},
                    "inputs": {
                        "parameters": {"words": {"componentInputParameter": "words"}},
                    },
                },
            }
        },
    },
    "components": {
        "comp-make": {
            "executorLabel": "exec-make",
            "inputDefinitions": {"parameters": {"words": STRING}},
            "outputDefinitions": {"artifacts": {"data": DATASET}},
        },
        "comp-read": {
            "executorLabel": "exec-read",
            "inputDefinitions": {"artifacts": {"data": DATASET}},
            "outputDefinitions": {"parameters": {"loud": STRING}},
        },
    },
    "deploymentSpec": {
        "executors": {
            "exec-make": {
                "container": {
                    "image": "registry.test/words:1",
                    "command": ["python", "-c", MAKE],
                    "args": [
                        "{{$.outputs.artifacts['data'].path}}",
                        "{{$.inputs.parameters['words']}}",
                        "{{$}}",
                    ],
                }
            },
            "exec-read": {
                "container": {
                    "image": "registry.test/words:1",
                    "command": ["python", "-c", READ],
                    "args": [
                        "{{$.inputs.artifacts['data'].path}}",
                        "{{$.outputs.parameters['loud'].output_file}}",
                    ],
                }
            },
        }
    },
}


@pytest.fixture
def pipeline() -> dict[str, Any]:
    """Gives a copy of the pipeline to change."""
    return copy.deepcopy(PIPELINE)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Gives a function that writes documents as a compiled file."""

    def write_file(*documents: dict[str, Any]) -> Path:
        path = tmp_path / "pipeline.yaml"
        path.write_text(yaml.safe_dump_all(documents))
        return path

    return write_file
