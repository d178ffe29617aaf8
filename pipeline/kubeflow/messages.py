"""Between KFP's messages and those that TFX's container entry can read.

KFP hands a task its `ExecutorInput` as protojson and reads an `ExecutorOutput` back
(api/v2alpha1/pipeline_spec.proto). What TFX 1.16 makes of the first as it comes is why it is
translated: the driver gives inputs no type (`OutputArtifact.ToRuntimeArtifact` in
backend/src/v2/metadata/client.go), from KFP 2.5 on it adds an output `executor-logs` that belongs
to the launcher (`provisionOutputs` in backend/src/v2/driver/driver.go), and addresses are those of
the store (pod_paths.py).
"""

import copy
from collections.abc import Callable
from typing import Any

from pipeline.kubeflow.pod_paths import address_of, local_path, own_file_path

Message = dict[str, Any]

# An artifact that lies in KFP's workspace volume already (`LocalWorkspacePathForURI` in
# backend/src/v2/component/launcher_v2.go, from KFP 2.15 on).
_IN_WORKSPACE = "_kfp_workspace"
_WORKSPACE = "/kfp-workspace/.artifacts"


def for_tfx(
    executor_input: Message, inputs_spec: Message, outputs_spec: Message, root: str = ""
) -> Message:
    """Returns an `ExecutorInput` that TFX reads, with the pod's paths for addresses.

    A parameter that names a file of our packages (`own_file`) becomes its path.

    Args:
        executor_input: message as the launcher puts it in the place of `{{$}}`.
        inputs_spec: the component's `inputDefinitions`, which know the types of its inputs.
        outputs_spec: its `outputDefinitions`; outputs that are not among them are left out.
            On Vertex the output file has an address too.
        root: root of the pod (pod_paths.py).
    """
    message = copy.deepcopy(executor_input)
    inputs, outputs = message.setdefault("inputs", {}), message.setdefault("outputs", {})
    declared = outputs_spec.get("artifacts", {})
    outputs["artifacts"] = {
        key: artifacts
        for key, artifacts in (outputs.get("artifacts") or {}).items()
        if key in declared
    }
    for side, spec in ((inputs, inputs_spec), (outputs, outputs_spec)):
        for key, artifacts in (side.get("artifacts") or {}).items():
            for artifact in artifacts.get("artifacts") or []:
                _complete(artifact, spec.get("artifacts", {}).get(key, {}), root)
    for name, value in (inputs.get("parameterValues") or {}).items():
        if isinstance(value, str):
            inputs["parameterValues"][name] = own_file_path(value) or value
    output_file = str(outputs.get("outputFile", ""))
    outputs["outputFile"] = local_path(output_file, root) or root + output_file
    return message


def _complete(artifact: Message, spec: Message, root: str) -> None:
    """Gives an artifact the type that the component declares, and the pod's path.

    A type of the message is KFP's (`system.Model`), or what another SDK wrote, which TFX cannot
    import.
    """
    if spec.get("artifactType"):
        artifact["type"] = spec["artifactType"]
    uri = str(artifact.get("uri", ""))
    path = local_path(uri, root) or uri
    if (artifact.get("metadata") or {}).get(_IN_WORKSPACE) is True and path != uri:
        path = f"{root}{_WORKSPACE}{local_path(uri)}"
    # Only an executor's output message sets one, so that it comes with inputs alone.
    custom = artifact.pop("customPath", None)
    artifact["uri"] = f"{root}{custom}" if custom else path


def for_launcher(
    executor_output: Message, root: str = "", addresses_in: Callable[[str], str] = str
) -> Message:
    """Returns an `ExecutorOutput` that KFP's launcher reads, with addresses for the pod's paths.

    The properties of an artifact are mapped too, and those without a value left out, which the
    launcher refuses (`StructValueToMLMDValue` in backend/src/v2/metadata/converter.go).

    Args:
        executor_output: message as TFX writes it.
        root: root of the pod.
        addresses_in: maps a property that names a local folder of the task's own.
    """

    def mapped(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return addresses_in(address_of(value, root) or value)

    message = copy.deepcopy(executor_output)
    for artifacts in (message.get("artifacts") or {}).values():
        for artifact in artifacts.get("artifacts") or []:
            uri = str(artifact.get("uri", ""))
            artifact["uri"] = address_of(uri, root) or uri
            artifact["metadata"] = {
                name: mapped(value)
                for name, value in (artifact.get("metadata") or {}).items()
                if value is not None
            }
    return message
