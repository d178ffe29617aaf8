"""What a cluster is asked for: the section `pipeline.kubeflow`."""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from configs.section import Section

SHARED_MEMORY_PATH = "/dev/shm"
_MEMORY = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?([EPTGMK]i?|k)?")
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


class KubeflowConfig(Section):
    """What the Kubeflow graph asks the cluster for."""

    trainer_gpus: int = Field(8, ge=0, le=1024)
    trainer_gpu_type: str = Field("nvidia.com/gpu", description="Kubernetes resource name.")
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
    component_memory: str = Field("16Gi", description="Of every other component.")
    component_cpus: str = Field("8")
    volumes: tuple[KubeflowVolume, ...] = Field(
        (), description="In every container; --data-dir and --shared-dir lie in them."
    )

    @field_validator("trainer_memory", "component_memory")
    @classmethod
    def _memory_is_a_quantity(cls, memory: str) -> str:
        if not _MEMORY.fullmatch(memory):
            raise ValueError(f"expected a size in Kubernetes' form such as 16Gi, got {memory!r}")
        return memory

    @field_validator("trainer_cpus", "component_cpus")
    @classmethod
    def _cpus_are_a_quantity(cls, cpus: str) -> str:
        if not _CPUS.fullmatch(cpus):
            raise ValueError(f"expected a number of cores in quotes such as '8', got {cpus!r}")
        return cpus

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
