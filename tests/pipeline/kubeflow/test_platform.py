"""The platform spec, read by KFP's message as each version publishes it; folders and volumes."""

from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from hypothesis import given
from hypothesis import strategies as st

from configs.kubeflow_schema import KubeflowConfig
from ground.errors import ConfigError
from model.lanes import message_class
from pipeline.kubeflow.platform import (
    check_places,
    left_to_the_cluster,
    platform_spec,
    quantity,
)

# Fields of kfp_kubernetes in kubernetes_platform/proto/kubernetes_executor_config.proto of
# kubeflow/pipelines: name, number, type ("" is string, * is repeated), first backend with it.
PUBLISHED = {
    "KubernetesExecutorConfig": [
        ("pvc_mount", 3, "*PvcMount", (2, 0)),
        ("secret_as_env", 2, "*SecretAsEnv", (2, 0)),
        ("node_selector", 4, "NodeSelector", (2, 0)),
        ("image_pull_secret", 6, "*ImagePullSecret", (2, 1)),
        ("tolerations", 12, "*Toleration", (2, 1)),
        ("empty_dir_mounts", 17, "*EmptyDirMount", (2, 3)),
    ],
    "PvcMount": [("constant", 2, "", (2, 0)), ("mount_path", 4, "", (2, 0))],
    "ImagePullSecret": [("secret_name", 1, "", (2, 1))],
    "SecretAsEnv": [
        ("secret_name", 1, "", (2, 0)),
        ("key_to_env", 2, "*SecretAsEnv.SecretKeyToEnvMap", (2, 0)),
    ],
    "NodeSelector": [("labels", 1, "*NodeSelector.LabelsEntry", (2, 0))],
    "Toleration": [
        ("key", 1, "", (2, 1)),
        ("operator", 2, "", (2, 1)),
        ("value", 3, "", (2, 1)),
        ("effect", 4, "", (2, 1)),
    ],
    "EmptyDirMount": [
        ("volume_name", 1, "", (2, 3)),
        ("mount_path", 2, "", (2, 3)),
        ("medium", 3, "", (2, 3)),
        ("size_limit", 4, "", (2, 3)),
    ],
}
VERSIONS = [(2, 0), (2, 1), (2, 3)]
TASKS = {"other": "CocoTransform", "trainer": "DetectionTrainer"}
VOLUMES = {"volumes": [{"claim": "coco", "path": "/data"}, {"claim": "runs", "path": "/shared"}]}
LABELS = {"trainer_node_selector": {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}}
TAINTS = {
    "trainer_tolerations": [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "team", "value": "vision"},
    ]
}
SHARED_MEMORY = {"trainer_shared_memory": "16Gi"}
SECRET = {"store_secret": {"name": "mlpipeline-minio-artifact"}}
PULL = {"image_pull_secrets": ["registry"]}
SCRATCH = {"tasks": {"DetectionTrainer": {"scratch": "100Gi"}}}
MOUNTS = [{"constant": "coco", "mountPath": "/data"}, {"constant": "runs", "mountPath": "/shared"}]


def _field(name: str, number: int, kind: str) -> FieldDescriptorProto:
    field = FieldDescriptorProto(name=name, number=number, type=FieldDescriptorProto.TYPE_STRING)
    is_repeated = kind.startswith("*")
    field.label = field.LABEL_REPEATED if is_repeated else field.LABEL_OPTIONAL
    if kind:
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".kfp_kubernetes.{kind.lstrip('*')}"
    return field


def _read(config: dict[str, Any], version: tuple[int, int]) -> dict[str, Any]:
    """Returns `config` as the driver of a KFP version has it.

    Raises:
        json_format.ParseError: it has a field or a value that this version does not know.
    """
    file = FileDescriptorProto(name=f"kfp_{version}.proto", package="kfp_kubernetes")
    file.syntax = "proto3"
    for name, fields in PUBLISHED.items():
        message = file.message_type.add(name=name)
        message.field.extend(_field(*field) for *field, since in fields if since <= version)
    entry = DescriptorProto(name="LabelsEntry")
    entry.options.map_entry = True
    entry.field.extend([_field("key", 1, ""), _field("value", 2, "")])
    next(m for m in file.message_type if m.name == "NodeSelector").nested_type.append(entry)
    keys = DescriptorProto(name="SecretKeyToEnvMap")
    keys.field.extend([_field("secret_key", 1, ""), _field("env_var", 2, "")])
    next(m for m in file.message_type if m.name == "SecretAsEnv").nested_type.append(keys)
    pool = DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("kfp_kubernetes.KubernetesExecutorConfig")
    message = message_class(descriptor, pool)()
    return json_format.MessageToDict(json_format.ParseDict(config, message))


def _executors(**asked: Any) -> dict[str, Any]:
    spec = platform_spec(KubeflowConfig(**asked), TASKS)
    assert spec is not None
    return spec["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def test_nothing_asked_for_is_no_document() -> None:
    assert platform_spec(KubeflowConfig(), TASKS) is None


def test_volumes_are_in_every_container_the_rest_in_the_trainers() -> None:
    executors = _executors(**VOLUMES, **LABELS, **TAINTS, **SHARED_MEMORY)
    assert executors == {
        "other": {"pvcMount": MOUNTS},
        "trainer": {
            "pvcMount": MOUNTS,
            "nodeSelector": {"labels": {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}},
            "tolerations": [
                {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
                {"key": "team", "operator": "Equal", "value": "vision"},
            ],
            "emptyDirMounts": [
                {
                    "volumeName": "tfx-rcnn-shared-memory",
                    "mountPath": "/dev/shm",
                    "medium": "Memory",
                    "sizeLimit": "16Gi",
                }
            ],
        },
    }


def test_the_stores_keys_are_in_every_container() -> None:
    [secret] = _executors(**SECRET)["other"]["secretAsEnv"]
    assert secret == {
        "secretName": "mlpipeline-minio-artifact",
        "keyToEnv": [
            {"secretKey": "accesskey", "envVar": "AWS_ACCESS_KEY_ID"},
            {"secretKey": "secretkey", "envVar": "AWS_SECRET_ACCESS_KEY"},
        ],
    }


def test_a_task_of_its_own_asks_for_what_is_its_own() -> None:
    own = {"node_selector": {"disk": "fast"}, "tolerations": [], "scratch": "20Gi"}
    asked = {**LABELS, **TAINTS, "tasks": {"CocoTransform": own, "DetectionTrainer": own}}
    config = {
        "nodeSelector": {"labels": {"disk": "fast"}},
        "emptyDirMounts": [
            {"volumeName": "tfx-rcnn-scratch", "mountPath": "/tmp", "sizeLimit": "20Gi"}
        ],
    }
    assert _executors(**asked) == {"other": config, "trainer": config}


def test_addresses_need_no_volume() -> None:
    assert left_to_the_cluster(KubeflowConfig(), {"--data-dir": "s3://b/data"}) == []


def test_without_volumes_only_the_trainer_is_named() -> None:
    assert set(_executors(**SHARED_MEMORY)) == {"trainer"}


@pytest.mark.parametrize(
    ("asked", "since"),
    [
        (VOLUMES, (2, 0)),
        (SECRET, (2, 0)),
        (LABELS, (2, 0)),
        (TAINTS, (2, 1)),
        (PULL, (2, 1)),
        (SHARED_MEMORY, (2, 3)),
        (SCRATCH, (2, 3)),
    ],
    ids=[
        "volumes",
        "secret",
        "node labels",
        "tolerations",
        "pull secrets",
        "shared memory",
        "scratch",
    ],
)
def test_kubeflow_reads_it_from_the_version_that_we_say(
    asked: dict[str, Any], since: tuple[int, int]
) -> None:
    config = _executors(**asked)["trainer"]
    for version in VERSIONS:
        if version >= since:
            assert _read(config, version) == config
        else:
            with pytest.raises(json_format.ParseError, match="no field named"):
                _read(config, version)


@pytest.mark.parametrize("size", ["0Gi", "240Gi", "1Ti", "lots", "-1Gi"])
def test_shared_memory_is_below_the_memory(size: str) -> None:
    with pytest.raises(ConfigError, match=r"kubeflow\.trainer_shared_memory: .*expected"):
        _executors(trainer_memory="240Gi", trainer_shared_memory=size)


@pytest.mark.parametrize(
    ("data_dir", "shared_dir", "outside"),
    [
        ("/data", "/shared", None),
        ("/data/coco/2017", "/shared/runs/", None),
        ("/data//coco/../coco", "/data/runs", None),
        ("/data2", "/shared", "--data-dir /data2"),
        ("/data/../etc", "/shared", "--data-dir /data/../etc"),
        ("data", "/shared", "--data-dir data"),
        ("/data", "/", "--shared-dir /"),
        ("/data", "gs://bucket/shared", None),
    ],
)
def test_folders_lie_in_volumes(data_dir: str, shared_dir: str, outside: str | None) -> None:
    places = {"--data-dir": data_dir, "--shared-dir": shared_dir}
    if outside is None:
        check_places(KubeflowConfig(**VOLUMES), places)
        return
    with pytest.raises(ConfigError) as raised:
        check_places(KubeflowConfig(**VOLUMES), places)
    assert str(raised.value).startswith(
        f"{outside} is in none of pipeline.kubeflow.volumes (/data, /shared): "
    )


_NAMES = st.lists(st.sampled_from(["a", "b", "ab", "a-b"]), min_size=1, max_size=3)


@given(folder=_NAMES, place=_NAMES)
def test_a_folder_lies_in_a_volume_whose_names_it_begins_with(
    folder: list[str], place: list[str]
) -> None:
    asked = KubeflowConfig(volumes=[{"claim": "coco", "path": "/" + "/".join(folder)}])
    places = {"--data-dir": "/" + "/".join(place)}
    if place[: len(folder)] == folder:
        check_places(asked, places)
    else:
        with pytest.raises(ConfigError, match="--data-dir"):
            check_places(asked, places)


def test_what_the_file_does_not_ask_for_is_left_to_the_cluster() -> None:
    places = {"--data-dir": "/data", "--shared-dir": "/shared", "push.folder": "/shared"}
    check_places(KubeflowConfig(), places)
    volumes, memory = left_to_the_cluster(KubeflowConfig(trainer_gpus=8), places)
    assert volumes.endswith("must by itself mount /data and /shared into every pod")
    assert memory.endswith("64 MB of /dev/shm, for NCCL between 8 GPUs")
    _, role, _ = left_to_the_cluster(KubeflowConfig(trainer_gpus=8, trainer_nodes=2), places)
    assert role.endswith(
        "must by themselves have a role that reads the examples below the pipeline root"
    )


@pytest.mark.parametrize("asked", [{"trainer_gpus": 1}, {"trainer_gpus": 8, **SHARED_MEMORY}])
def test_nothing_is_left_to_the_cluster(asked: dict[str, Any]) -> None:
    assert left_to_the_cluster(KubeflowConfig(**VOLUMES, **asked), {"--data-dir": "/data"}) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [("240Gi", 257_698_037_760), ("500m", 0.5), ("48", 48), ("1.5k", 1500), ("2M", 2_000_000)],
)
def test_quantity_is_a_number(text: str, number: float) -> None:
    assert quantity(text, "memory") == pytest.approx(number)


@pytest.mark.parametrize("text", ["", "16GB", "16 Gi", "-1", "Gi"])
def test_no_quantity_names_the_setting(text: str) -> None:
    with pytest.raises(ConfigError, match="memory: expected a quantity such as 16Gi"):
        quantity(text, "memory")
