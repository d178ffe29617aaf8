"""Changes a pipeline that TFX compiled into one that open-source Kubeflow runs as we want it."""

import copy
import json
from typing import Any

from configs.kubeflow_schema import KubeflowConfig
from configs.schema import Config
from pipeline.kubeflow import data_version
from pipeline.kubeflow.checks import check_constants
from pipeline.kubeflow.entry import COMMAND, NODES_BY_VARIABLE, NODES_VARIABLE
from pipeline.kubeflow.parameters import OVERRIDES, TYPED
from pipeline.kubeflow.tasks import DATA_VERSION, TRAINER, asked_by
from pipeline.kubeflow.tracked import tracking_variables

Specification = dict[str, Any]
VERSION_PARAMETER = "data_version"
_GENERATOR = "CocoExampleGen"
_STRING = {"parameterType": "STRING"}
# Argo gives up when so much time has passed since the first try began, and where KFP is told no
# limit it tells Argo 0 seconds (from KFP 2.14 on; `addParameterDefault` in
# backend/src/v2/compiler/argocompiler/container.go): no retry at all. So: longer than any training.
_RETRIES_END_AFTER = "2592000s"  # 30 days
# A pod sees the devices of its node below /proc, whatever it asked for: none of them is its own.
_WITHOUT_GPUS = {"CUDA_VISIBLE_DEVICES": "-1"}
# What each of the first task's outputs says to which task.
_VERSIONS = {"data": (_GENERATOR, "pictures_digest"), "weights": (TRAINER, "weights_digest")}


def rewrite(
    specification: Specification,
    config: Config,
    image: str,
    version: str,
    resources: dict[str, Any],
    is_vertex: bool = False,
) -> None:
    """Puts our entry, the first task and the parameters with a type into a PipelineSpec.

    Args:
        specification: pipeline as TFX compiles it; is changed.
        config: all settings, the number of the trainer's GPUs filled in.
        image: image of the containers.
        version: default of the parameter `data_version`.
        resources: resources of the first task.
        is_vertex: whether it is for Vertex.
    """
    executors = specification["deploymentSpec"]["executors"]
    for component in specification["components"].values():
        if "container" in executors[component["executorLabel"]]:
            _run_our_entry(component, executors)
    parameters = specification["root"]["inputDefinitions"]["parameters"]
    # TFX leaves out a run-time parameter's default, without which every run would have to give it.
    parameters[OVERRIDES] |= {"defaultValue": "", "isOptional": True}
    parameters[VERSION_PARAMETER] = {**_STRING, "defaultValue": version, "isOptional": True}
    _add_data_version(specification, config, image, resources)
    _add_typed_parameters(specification)
    for name, task in specification["root"]["dag"]["tasks"].items():
        if "container" in executors[specification["components"][name]["executorLabel"]]:
            _set_task(task, config.pipeline.kubeflow, name, is_vertex)
    set_variables(specification, config)
    check_constants(specification)


def set_variables(specification: Specification, config: Config) -> None:
    """Gives the containers their variables; the trainer's knows its other pods and trackers.

    One that asks for no GPU is shown none, unless `pipeline.kubeflow.env` says otherwise.
    """
    asked = config.pipeline.kubeflow
    variables = dict(asked.env)
    if asked.store_endpoint is not None:
        variables["AWS_ENDPOINT_URL"] = asked.store_endpoint
    executors = specification["deploymentSpec"]["executors"]
    for name, component in specification["components"].items():
        own = dict(variables)
        if not asked_by(asked, name).gpus:
            own = _WITHOUT_GPUS | own
        if name == TRAINER:
            own |= tracking_variables(config)
        if name == TRAINER and asked.trainer_nodes > 1:
            own |= {NODES_VARIABLE: str(asked.trainer_nodes)}
            own |= {NODES_BY_VARIABLE: asked.trainer_nodes_by}
        executor = executors[component["executorLabel"]]
        if own and "container" in executor:
            executor["container"]["env"] = [
                {"name": name, "value": value} for name, value in sorted(own.items())
            ]


def _run_our_entry(component: Specification, executors: Specification) -> None:
    """Puts our container entry in the place of TFX's, which cannot read what KFP hands over."""
    container = executors[component["executorLabel"]]["container"]
    outputs = json.dumps(component.get("outputDefinitions", {}), sort_keys=True)
    container["command"] = list(COMMAND)
    container["args"] = ["--json_serialized_outputs_spec_args", outputs, *container["args"]]


def _add_data_version(
    specification: Specification, config: Config, image: str, resources: dict[str, Any]
) -> None:
    """Adds the task that looks at data and weights, and hands on what it says."""
    dag, label = specification["root"]["dag"], f"{DATA_VERSION}_executor"
    settings = data_version.DataVersionSettings.of(config).to_json()
    data_dir = dag["tasks"][_GENERATOR]["inputs"]["parameters"]["data_dir"]
    inputs = {
        "data_dir": copy.deepcopy(data_dir),  # else the file has a YAML alias
        "settings": {"runtimeValue": {"constant": settings}},
        OVERRIDES: {"componentInputParameter": OVERRIDES},
        VERSION_PARAMETER: {"componentInputParameter": VERSION_PARAMETER},
    }
    specification["components"][DATA_VERSION] = {
        "executorLabel": label,
        "inputDefinitions": {"parameters": {name: dict(_STRING) for name in inputs}},
        "outputDefinitions": {"parameters": {name: dict(_STRING) for name in _VERSIONS}},
    }
    arguments = {
        "--data-dir": "{{$.inputs.parameters['data_dir']}}",
        "--settings": "{{$.inputs.parameters['settings']}}",
        "--overrides": f"{{{{$.inputs.parameters['{OVERRIDES}']}}}}",
        "--version": f"{{{{$.inputs.parameters['{VERSION_PARAMETER}']}}}}",
        "--data-file": "{{$.outputs.parameters['data'].output_file}}",
        "--weights-file": "{{$.outputs.parameters['weights'].output_file}}",
    }
    specification["deploymentSpec"]["executors"][label] = {
        "container": {
            "image": image,
            "command": list(COMMAND),
            "args": [
                data_version.COMMAND_NAME,
                # One word each: a value may be empty, or start with a dash.
                *(f"{name}={value}" for name, value in arguments.items()),
            ],
            "resources": resources,
        }
    }
    dag["tasks"][DATA_VERSION] = {
        "taskInfo": {"name": DATA_VERSION},
        "componentRef": {"name": DATA_VERSION},
        "inputs": {"parameters": inputs},
    }
    for output, (task, parameter) in _VERSIONS.items():
        taker = dag["tasks"][task]
        taker["dependentTasks"] = sorted({*taker.get("dependentTasks", []), DATA_VERSION})
        taker["inputs"]["parameters"][parameter] = {
            "taskOutputParameter": {"producerTask": DATA_VERSION, "outputParameterKey": output}
        }


def _add_typed_parameters(specification: Specification) -> None:
    """Makes settings parameters of the pipeline, and of the tasks whose settings have them."""
    root = specification["root"]
    for task in root["dag"]["tasks"].values():
        given = task.get("inputs", {}).get("parameters", {})
        settings = json.loads(
            given.get("settings", {}).get("runtimeValue", {}).get("constant", "{}")
        )
        for name, parameter in TYPED.items():
            value = parameter.value_in(settings)
            if value is None:
                continue
            component = specification["components"][task["componentRef"]["name"]]
            component["inputDefinitions"]["parameters"][name] = {"parameterType": parameter.kind}
            given[name] = {"componentInputParameter": name}
            root["inputDefinitions"]["parameters"][name] = {
                "parameterType": parameter.kind,
                "defaultValue": value,
                "isOptional": True,
            }


def _set_task(task: Specification, asked: KubeflowConfig, name: str, is_vertex: bool) -> None:
    """Sets whether a task may come from the cache, and its retries."""
    own = asked_by(asked, name)
    task["cachingOptions"] = {"enableCache": True} if own.cache else {}
    if own.retries:
        task["retryPolicy"] = {
            "maxRetryCount": own.retries,
            "backoffDuration": f"{asked.retry_seconds}s",
            "backoffFactor": 2.0,
            "backoffMaxDuration": "3600s" if is_vertex else _RETRIES_END_AFTER,
        }
