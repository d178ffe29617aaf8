"""What a pipeline asks of Kubernetes beyond CPUs, memory and GPUs: KFP's platform spec.

KFP reads it from a second YAML document, as a message `kfp_kubernetes.KubernetesExecutorConfig`
for each executor (kubernetes_platform/proto/kubernetes_executor_config.proto). The package
kfp-kubernetes, which writes it, needs protobuf 4 from the version on that knows tolerations; TFX
1.16 needs protobuf 3. So the six fields that we use are written here.
"""

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from configs.kubeflow_schema import SHARED_MEMORY_PATH, KubeflowConfig
from ground.addresses import is_address
from ground.errors import ConfigError
from pipeline.kubeflow.tasks import TRAINER, Asked, asked_by

_SHARED_MEMORY_VOLUME = "tfx-rcnn-shared-memory"
_SCRATCH_VOLUME = "tfx-rcnn-scratch"
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_FACTORS = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    prefix: 1024.0**power for power, prefix in enumerate(("Ki", "Mi", "Gi", "Ti"), start=1)
}


def platform_spec(
    asked: KubeflowConfig,
    tasks: Mapping[str, str],
    trackers_keys: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Returns the second document of a compiled file; None if nothing of it is asked for.

    Args:
        asked: volumes and the store's secret of every container; what single tasks ask for.
        tasks: name by the label of its container in the first document's `deploymentSpec`.
        trackers_keys: the trainer's own `SecretAsEnv`.

    Raises:
        ConfigError: `trainer_shared_memory` is no quantity, or does not fit into the memory.
    """
    configs = {label: _executor_config(asked, task) for label, task in tasks.items()}
    for label, task in tasks.items():
        if trackers_keys and task == TRAINER:
            configs[label].setdefault("secretAsEnv", []).append(dict(trackers_keys))
    configs = {label: config for label, config in configs.items() if config}
    if not configs:
        return None
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": configs}}}}


def _executor_config(asked: KubeflowConfig, task: str) -> dict[str, Any]:
    """Returns a `KubernetesExecutorConfig` as JSON names it.

    No field is written that is not asked for: the drivers of KFP 2.0 to 2.4.0 fail a task on a
    field that they do not know. The same holds for `pvcNameParameter` (KFP 2.5), which took the
    place of `constant`; newer drivers read both.
    """
    own = asked_by(asked, task)
    config: dict[str, Any] = {}
    if asked.volumes:
        config["pvcMount"] = [
            {"constant": volume.claim, "mountPath": volume.path} for volume in asked.volumes
        ]
    if asked.store_secret is not None:
        secret = asked.store_secret
        config["secretAsEnv"] = [
            {
                "secretName": secret.name,
                "keyToEnv": [
                    {"secretKey": secret.access_key, "envVar": "AWS_ACCESS_KEY_ID"},
                    {"secretKey": secret.secret_key, "envVar": "AWS_SECRET_ACCESS_KEY"},
                ],
            }
        ]
    if asked.image_pull_secrets:
        config["imagePullSecret"] = [{"secretName": name} for name in asked.image_pull_secrets]
    if own.node_selector:
        config["nodeSelector"] = {"labels": dict(own.node_selector)}
    if own.tolerations:
        config["tolerations"] = [
            {name: value for name, value in toleration.model_dump().items() if value}
            for toleration in own.tolerations
        ]
    mounts = []
    if own.shared_memory is not None:
        size = _checked_shared_memory(own, own.shared_memory)
        mounts.append(_empty_dir(_SHARED_MEMORY_VOLUME, SHARED_MEMORY_PATH, size, "Memory"))
    if own.scratch is not None:
        mounts.append(_empty_dir(_SCRATCH_VOLUME, "/tmp", own.scratch))
    if mounts:
        config["emptyDirMounts"] = mounts
    return config


def _empty_dir(name: str, path: str, size: str, medium: str = "") -> dict[str, str]:
    mount = {"volumeName": name, "mountPath": path, "sizeLimit": size}
    return {**mount, "medium": medium} if medium else mount


def _checked_shared_memory(asked: Asked, size: str) -> str:
    """Returns `size`, which counts as memory of the container.

    Raises:
        ConfigError: it is no quantity, or not below that memory.
    """
    key = "pipeline.kubeflow.trainer_shared_memory"
    memory = quantity(asked.memory, "pipeline.kubeflow.trainer_memory")
    if not 0 < quantity(size, key) < memory:
        raise ConfigError(
            f"{key}: {size} is taken out of trainer_memory, {asked.memory}: "
            "expected less, and more than 0"
        )
    return size


def check_places(asked: KubeflowConfig, places: Mapping[str, str]) -> None:
    """Checks that the pipeline's folders lie in its volumes, where it has any.

    Args:
        asked: what the cluster is asked for.
        places: folder as the containers see it, by the name of what set it (`--data-dir`).

    Raises:
        ConfigError: a folder is in none of the volumes.
    """
    for name, place in places.items():
        if is_address(place):
            continue
        if asked.volumes and not any(_lies_in(place, volume.path) for volume in asked.volumes):
            paths = ", ".join(volume.path for volume in asked.volumes)
            raise ConfigError(
                f"{name} {place} is in none of pipeline.kubeflow.volumes ({paths}): "
                "what is read or written there would be the container's own"
            )


def left_to_the_cluster(asked: KubeflowConfig, places: Mapping[str, str]) -> list[str]:
    """Returns what the compiled file does not ask for though a run needs it, a line each.

    Args:
        asked: what the cluster is asked for.
        places: see `check_places`.
    """
    lines = []
    local = dict.fromkeys(place for place in places.values() if not is_address(place))
    if local and not asked.volumes:
        folders = " and ".join(local)
        lines.append(
            "pipeline.kubeflow.volumes is empty: the cluster must by itself mount "
            f"{folders} into every pod"
        )
    if asked.trainer_nodes > 1 and asked.store_secret is None:
        lines.append(
            "pipeline.kubeflow.store_secret is null: the trainer's other pods must by themselves "
            "have a role that reads the examples below the pipeline root"
        )
    gpus = asked_by(asked, TRAINER).gpus
    if gpus > 1 and asked.trainer_shared_memory is None:
        lines.append(
            "pipeline.kubeflow.trainer_shared_memory is null: the cluster must by itself give "
            f"the trainer's pod more than the usual 64 MB of {SHARED_MEMORY_PATH}, for NCCL "
            f"between {gpus} GPUs"
        )
    return lines


def _lies_in(place: str, folder: str) -> bool:
    """Tells whether `place` is the absolute, normal path `folder` or below it."""
    if not place.startswith("/"):
        return False
    normal = posixpath.normpath("/" + place.lstrip("/"))
    return normal == folder or normal.startswith(folder + "/")


def quantity(text: str, key: str) -> float:
    """Returns a Kubernetes quantity as a number.

    >>> quantity("240Gi", "memory"), quantity("500m", "cpus")
    (257698037760.0, 0.5)

    Raises:
        ConfigError: `text`, the value of the setting `key`, is none.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ConfigError(f"{key}: expected a quantity such as 16Gi or 500m, got {text!r}")
    return float(match[1]) * _FACTORS.get(match[2], 1.0)
