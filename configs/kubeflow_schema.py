"""What a cluster is asked for: the section `pipeline.kubeflow`."""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from configs.section import Section

_LABEL = re.compile(r"[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
SHARED_MEMORY_PATH = "/dev/shm"
_MEMORY = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?([EPTGMK]i?|k)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_NAME = re.compile(
    r"SECRET|PASSWORD|PASSWD|TOKEN|ACCESS_KEY|PRIVATE_KEY|API_?KEY", re.IGNORECASE
)
_SECRET_ENTRY = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PASSWORD_IN_URL = re.compile(r"://[^/\s@]*:[^/\s@]*@")
_CPUS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?|[0-9]{1,12}m")


class KubeflowVolume(Section):
    """A PersistentVolumeClaim in every container, to read and to write."""

    claim: str = Field(description="Its name, in the namespace of the runs.")
    path: str = Field(description="Absolute folder in the containers, such as /data.")

    @field_validator("claim")
    @classmethod
    def _claim_names_a_volume(cls, claim: str) -> str:
        # A claim's name may have dots, but KFP names the pod's volume after it, which may not.
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", claim):
            raise ValueError(
                "expected a Kubernetes name of lower-case letters, digits and -, at most 63, "
                f"got {claim!r}"
            )
        return claim

    @field_validator("path")
    @classmethod
    def _path_is_a_folder(cls, path: str) -> str:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if not path.startswith("/") or not parts or ".." in parts or ":" in path:
            raise ValueError(f"expected an absolute folder such as /data, got {path!r}")
        return "/" + "/".join(parts)


class KubeflowToleration(Section):
    """A taint of nodes that the trainer may run on all the same, in Kubernetes' terms."""

    key: str | None = Field(None, description="Of the taint; null, with Exists: every taint.")
    operator: Literal["Equal", "Exists"] = Field(
        "Equal", description="Equal: the taint has this value; Exists: any."
    )
    value: str | None = Field(None, description="Of the taint, for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Of the taint; null: any."
    )

    @model_validator(mode="after")
    def _kubernetes_takes_it(self) -> "KubeflowToleration":
        if self.operator == "Exists" and self.value:
            raise ValueError(f"operator Exists takes no value, got {self.value!r}")
        if self.operator == "Equal" and not self.key:
            raise ValueError("expected a key, or operator: Exists for every taint")
        return self


KubeflowTaskName = Literal[
    "DataVersion",
    "CocoExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ImportSchemaGen",
    "ExampleValidator",
    "CocoTransform",
    "DetectionTrainer",
    "CocoEvaluator",
    "ModelPusher",
]


class KubeflowTask(Section):
    """What one task asks for; null leaves what all have, or what trainer_* says."""

    cpus: str | None = Field(None, description="Such as '8' or 500m.")
    memory: str | None = Field(None, description="Such as 16Gi.")
    gpus: int | None = Field(
        None, ge=0, le=1024, description="Null: one for CocoEvaluator where the trainer has any."
    )
    node_selector: dict[str, str] | None = Field(None, description="Labels of its nodes.")
    tolerations: tuple[KubeflowToleration, ...] | None = Field(
        None, description="Taints of nodes that it may run on all the same; from KFP 2.1."
    )
    scratch: str | None = Field(
        None,
        description="Size limit of an emptyDir at /tmp, where folders of object stores are copied "
        "to; from KFP 2.3.",
    )
    retries: int | None = Field(None, ge=0, le=100, description="Null: as all tasks.")
    cache: bool | None = Field(
        None,
        description="Whether Kubeflow's cache may answer. Null: yes, but not for DataVersion, "
        "CocoEvaluator and ModelPusher, whose answer hangs on what lies where models are pushed.",
    )

    @field_validator("memory", "scratch")
    @classmethod
    def _memory_is_a_quantity(cls, size: str | None) -> str | None:
        return size if size is None else checked_memory(size)

    @field_validator("cpus")
    @classmethod
    def _cpus_are_a_quantity(cls, cpus: str | None) -> str | None:
        return cpus if cpus is None else checked_cpus(cpus)

    @field_validator("node_selector")
    @classmethod
    def _labels_are_labels(cls, labels: dict[str, str] | None) -> dict[str, str] | None:
        return labels if labels is None else checked_labels(labels)


class KubeflowSecret(Section):
    """A Kubernetes secret with the two keys of an object store."""

    name: str = Field(description="Of the secret, in the namespace of the runs.")
    access_key: str = Field("accesskey", description="Which entry is the access key.")
    secret_key: str = Field("secretkey", description="Which entry is the secret key.")

    @field_validator("name")
    @classmethod
    def _kubernetes_takes_the_name(cls, name: str) -> str:
        return checked_secret_name(name)


TrackerVariable = Literal[
    "WANDB_API_KEY",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
]


class KubeflowTrackingSecret(Section):
    """A Kubernetes secret by which the trainer's pod may write to the trackers."""

    name: str = Field(description="Of the secret, in the namespace of the runs.")
    keys: dict[TrackerVariable, str] = Field(
        description="Which entry of the secret is which variable, such as "
        "`{WANDB_API_KEY: wandb}`; WANDB_API_KEY, MLFLOW_TRACKING_TOKEN, "
        "MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD."
    )

    @field_validator("name")
    @classmethod
    def _kubernetes_takes_the_name(cls, name: str) -> str:
        return checked_secret_name(name)

    @field_validator("keys")
    @classmethod
    def _kubernetes_takes_the_keys(cls, keys: dict[str, str]) -> dict[str, str]:
        if not keys:
            raise ValueError("expected at least one entry, such as {WANDB_API_KEY: wandb}")
        for variable, key in keys.items():
            if not _SECRET_ENTRY.fullmatch(key):
                raise ValueError(f"{variable}: expected the name of an entry, got {key!r}")
        return keys


def checked_secret_name(name: str) -> str:
    """Returns a secret's name.

    Raises:
        ValueError: Kubernetes has none such.
    """
    if len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        raise ValueError(f"expected the name of a secret, got {name!r}")
    return name


def checked_memory(memory: str) -> str:
    """Returns a size as Kubernetes has it.

    Raises:
        ValueError: it is none.
    """
    if not _MEMORY.fullmatch(memory):
        raise ValueError(f"expected a size in Kubernetes' form such as 16Gi, got {memory!r}")
    return memory


def checked_cpus(cpus: str) -> str:
    """Returns a number of cores as Kubernetes has it.

    Raises:
        ValueError: it is none.
    """
    if not _CPUS.fullmatch(cpus):
        raise ValueError(f"expected a number of cores in quotes such as '8', got {cpus!r}")
    return cpus


def checked_labels(labels: dict[str, str]) -> dict[str, str]:
    """Returns labels of nodes.

    Raises:
        ValueError: Kubernetes refuses a name or a value.
    """
    for name, value in labels.items():
        prefix, slash, rest = name.rpartition("/")
        is_name = _LABEL.fullmatch(rest) and (not slash or _SUBDOMAIN.fullmatch(prefix))
        if not is_name or (value and not _LABEL.fullmatch(value)):
            raise ValueError(f"Kubernetes takes no label {name}={value}")
    return labels


class KubeflowConfig(Section):
    """What the Kubeflow graph asks the cluster for."""

    trainer_gpus: int | None = Field(
        None, ge=0, le=1024, description="Of one pod; null: one for each worker of train.batch."
    )
    trainer_nodes: int = Field(
        1,
        ge=1,
        le=1000,
        description="Pods that train together, each with trainer_gpus; the trainer's makes the "
        "others (docs/kubeflow.md).",
    )
    trainer_nodes_by: Literal["Job", "TFJob", "TrainJob"] = Field(
        "Job",
        description="The kind of object that has the trainer's other pods: Kubernetes' own Job, "
        "TFJob of the Training Operator, or TrainJob of Kubeflow Trainer, which must be installed.",
    )
    trainer_gpu_type: str = Field("nvidia.com/gpu", description="Kubernetes resource name.")
    vertex_accelerator: str | None = Field(
        None,
        description="Vertex AI's name of the GPUs, such as NVIDIA_TESLA_A100, for compile "
        "--target vertex.",
    )
    trainer_memory: str = Field("240Gi")
    trainer_cpus: str = Field("48")
    trainer_shared_memory: str | None = Field(
        None,
        description="Size of the trainer's /dev/shm, such as 16Gi, out of its memory: NCCL between "
        "several GPUs needs more than the usual 64 MB. Null leaves it alone: backends before "
        "KFP 2.3 fail the task on this setting.",
    )
    trainer_node_selector: dict[str, str] = Field(
        {}, description="Labels of the nodes that the trainer may run on."
    )
    trainer_tolerations: tuple[KubeflowToleration, ...] = Field(
        (), description="Taints of nodes that the trainer may run on all the same; from KFP 2.1."
    )
    component_memory: str = Field(
        "16Gi",
        description="Of the other tasks that compute: CocoExampleGen, StatisticsGen, "
        "CocoTransform, CocoEvaluator.",
    )
    component_cpus: str = Field("8", description="Likewise.")
    light_memory: str = Field(
        "4Gi",
        description="Of tasks that read little: DataVersion, SchemaGen, ImportSchemaGen, "
        "ExampleValidator, ModelPusher.",
    )
    light_cpus: str = Field("1", description="Likewise.")
    tasks: dict[KubeflowTaskName, KubeflowTask] = Field(
        {}, description="What single tasks ask for instead, by the task's name."
    )
    retries: int = Field(
        2,
        ge=0,
        le=100,
        description="Of a task that fails; a training goes on where it was. Backends before KFP "
        "2.5 do not retry.",
    )
    retry_seconds: int = Field(
        60, ge=0, description="Until the first retry; twice as long until each further one."
    )
    store_secret: KubeflowSecret | None = Field(
        None,
        description="With the keys of the object store, where --data-dir and the like are "
        "addresses: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of every container. KFP's own is "
        "mlpipeline-minio-artifact. Null: the pods have a role, or need none.",
    )
    tracking_secret: KubeflowTrackingSecret | None = Field(
        None,
        description="With the keys of what `tracking` names, for the trainer's pod; null: they "
        "need none.",
    )
    image_pull_secrets: tuple[str, ...] = Field(
        (), description="Names of secrets for a registry that asks who pulls; from KFP 2.1."
    )
    env: dict[str, str] = Field(
        {},
        description="Variables of every container, such as HTTPS_PROXY, NO_PROXY or AWS_CA_BUNDLE. "
        "No secrets: the file shows them to everybody.",
    )
    store_endpoint: str | None = Field(
        None,
        description="Address of the object store where it is not AWS's, such as "
        "http://minio-service.kubeflow:9000.",
    )
    volumes: tuple[KubeflowVolume, ...] = Field(
        (), description="In every container; --data-dir and --shared-dir lie in them."
    )

    @field_validator("image_pull_secrets")
    @classmethod
    def _kubernetes_takes_the_secrets(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            checked_secret_name(name)
        return names

    @field_validator("env")
    @classmethod
    def _variables_are_no_secrets(cls, env: dict[str, str]) -> dict[str, str]:
        for name, value in env.items():
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"expected the name of a variable such as NO_PROXY, got {name!r}")
            if _SECRET_NAME.search(name) or _PASSWORD_IN_URL.search(value):
                raise ValueError(
                    f"{name} looks like a secret, and the compiled file is read by everybody: "
                    "keys of the object store belong into pipeline.kubeflow.store_secret, those "
                    "of trackers into pipeline.kubeflow.tracking_secret"
                )
        return env

    @field_validator("trainer_memory", "component_memory", "light_memory")
    @classmethod
    def _memory_is_a_quantity(cls, memory: str) -> str:
        return checked_memory(memory)

    @field_validator("trainer_cpus", "component_cpus", "light_cpus")
    @classmethod
    def _cpus_are_a_quantity(cls, cpus: str) -> str:
        return checked_cpus(cpus)

    @field_validator("trainer_node_selector")
    @classmethod
    def _labels_are_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        return checked_labels(labels)

    @field_validator("trainer_gpu_type")
    @classmethod
    def _type_is_a_resource(cls, name: str) -> str:
        checked_labels({name: ""})
        if "/" not in name:
            raise ValueError(f"expected a resource's name such as nvidia.com/gpu, got {name!r}")
        return name

    @field_validator("store_endpoint")
    @classmethod
    def _endpoint_is_an_address(cls, address: str | None) -> str | None:
        if address is not None and not re.fullmatch(r"https?://[^\s/@]+/?", address):
            raise ValueError(f"expected an address such as http://minio:9000, got {address!r}")
        return address

    @model_validator(mode="after")
    def _mounts_are_apart(self) -> "KubeflowConfig":
        paths = [volume.path for volume in self.volumes]
        claims = [volume.claim for volume in self.volumes]
        for path in paths:
            if paths.count(path) > 1:
                raise ValueError(f"volumes: two of them at {path}")
        for claim in claims:
            if claims.count(claim) > 1:  # KFP would give the pod two volumes of one name.
                raise ValueError(
                    f"volumes: claim {claim} twice: mount it once, and give folders in it as "
                    "--data-dir and --shared-dir"
                )
        if self.trainer_shared_memory is not None and SHARED_MEMORY_PATH in paths:
            raise ValueError(f"volumes: {SHARED_MEMORY_PATH} is that of trainer_shared_memory")
        return self
