"""The fingerprint by which KFP knows an execution again."""

import hashlib
from collections.abc import Sequence

from pipeline.kubeflow.player.compiled import Message, Task
from pipeline.kubeflow.player.dialects import Dialect
from pipeline.kubeflow.player.protojson import go_json, without_empty


def cache_key(task: Task, dialect: Dialect, executor_input: Message) -> Message:
    """Returns the CacheKey of a task: inputs by artifact number, types of outputs, the command.

    Addresses of outputs are not part of it, and neither is what the command's files hold.
    """
    inputs, outputs = executor_input["inputs"], executor_input["outputs"]
    specs = task.component.get("outputDefinitions", {}).get("parameters", {})
    container = {
        "image": task.container.get("image", ""),
        "cmdArgs": [*task.container.get("command", []), *task.container.get("args", [])],
    }
    if dialect.claims_in_cache_key:
        container["pvcNames"] = claims(task)
    return without_empty(
        {
            "inputArtifactNames": {
                name: {"artifactNames": [one["name"] for one in artifacts["artifacts"]]}
                for name, artifacts in inputs.get("artifacts", {}).items()
            },
            "inputParameterValues": inputs.get("parameterValues", {}),
            "outputArtifactsSpec": {
                name: {
                    key: value for key, value in artifacts["artifacts"][0].items() if key != "uri"
                }
                for name, artifacts in outputs.get("artifacts", {}).items()
            },
            "outputParametersSpec": {
                name: specs[name]["parameterType"] for name in outputs.get("parameters", {})
            },
            "containerSpec": without_empty(container),
        }
    )


def claims(task: Task) -> list[str]:
    """Returns the names of the claims that a task mounts."""
    mounts: Sequence[Message] = task.platform.get("pvcMount", [])
    return [mount["constant"] for mount in mounts if "constant" in mount]


def fingerprint(key: Message) -> str:
    """Returns the SHA-256 of a CacheKey's JSON."""
    return hashlib.sha256(go_json(key).encode()).hexdigest()
