"""What `compile --target vertex` refuses before it writes: Vertex AI's own limits.

Vertex AI Pipelines read the same PipelineSpec. They take no platform spec (it is Kubernetes'), call
accelerators by names of their own, choose the machine by CPUs, memory and accelerators, and keep
everything in Cloud Storage, which each container sees below /gcs.
"""

from collections.abc import Mapping

from configs.kubeflow_schema import KubeflowConfig
from ground.addresses import shown_address
from ground.errors import ConfigError
from pipeline.kubeflow.platform import quantity
from pipeline.kubeflow.tasks import asked_by
from pipeline.nodes import NODES

# How many of each kind a machine has, of those that Vertex names (`AcceleratorType` of its API).
ACCELERATORS = {
    "NVIDIA_TESLA_P4": (1, 2, 4),
    "NVIDIA_TESLA_P100": (1, 2, 4),
    "NVIDIA_TESLA_T4": (1, 2, 4),
    "NVIDIA_TESLA_V100": (1, 2, 4, 8),
    "NVIDIA_L4": (1, 2, 4, 8),
    "NVIDIA_TESLA_A100": (1, 2, 4, 8, 16),
    "NVIDIA_A100_80GB": (1, 2, 4, 8),
    "NVIDIA_H100_80GB": (1, 2, 4, 8),
    "NVIDIA_H100_MEGA_80GB": (8,),
    "NVIDIA_H200_141GB": (8,),
}
# "Specify machine types for a pipeline step" of Vertex' documentation.
_MOST_CPUS, _MOST_MEMORY_GB = 96, 624
_OF_KUBERNETES = (
    "volumes",
    "store_secret",
    "store_endpoint",
    "tracking_secret",
    "image_pull_secrets",
    "trainer_shared_memory",
    "trainer_node_selector",
    "trainer_tolerations",
)
_OF_KUBERNETES_BY_TASK = ("scratch", "node_selector", "tolerations")


def check_vertex(asked: KubeflowConfig, root: str, places: Mapping[str, str]) -> str:
    """Checks that Vertex can run what is asked for; returns its name of the GPUs.

    Args:
        asked: what is asked for, the number of the trainer's GPUs filled in.
        root: address below which outputs are stored.
        places: address by the name of what set it.

    Raises:
        ConfigError: Vertex has no such thing, or not as much of it.
    """
    for name, place in {"--pipeline-root": root, **places}.items():
        shown = shown_address(place)
        if not place.startswith("gs://"):
            raise ConfigError(
                f"{name} {shown}: --target vertex reads and writes Cloud Storage only: "
                "expected an address such as gs://bucket/folder"
            )
        if "?" in place:
            raise ConfigError(f"{name} {shown}: an address of Cloud Storage has no query")
    if asked.trainer_nodes > 1:
        _refuse("pipeline.kubeflow.trainer_nodes")
    for setting in _OF_KUBERNETES:
        if getattr(asked, setting):
            _refuse(f"pipeline.kubeflow.{setting}")
    for name, own in asked.tasks.items():
        for setting in _OF_KUBERNETES_BY_TASK:
            if getattr(own, setting):
                _refuse(f"pipeline.kubeflow.tasks.{name}.{setting}")
    accelerator = asked.vertex_accelerator or ""
    for task in ("DataVersion", *(node for node in NODES if node != "Resolver")):
        _check_machine(asked, task, accelerator)
    return accelerator


def _refuse(key: str) -> None:
    """Refuses a setting.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(f"{key} is for Kubernetes: Vertex has none such; leave it out")


def _check_machine(asked: KubeflowConfig, task: str, accelerator: str) -> None:
    """Checks that Vertex has a machine for a task.

    Raises:
        ConfigError: it has none.
    """
    own = asked_by(asked, task)
    cpus, memory = quantity(own.cpus, f"{task}'s CPUs"), quantity(own.memory, f"{task}'s memory")
    if cpus > _MOST_CPUS or memory > _MOST_MEMORY_GB * 1e9:
        raise ConfigError(
            f"{task} asks for {own.cpus} CPUs and {own.memory}: a machine of Vertex pipelines has "
            f"at most {_MOST_CPUS} and {_MOST_MEMORY_GB}G"
        )
    if not own.gpus:
        return
    if accelerator not in ACCELERATORS:
        raise ConfigError(
            f"pipeline.kubeflow.vertex_accelerator {accelerator or 'is null'} and {task} asks for "
            f"{own.gpus} GPUs: expected one of {', '.join(ACCELERATORS)}, or no GPUs"
        )
    if own.gpus not in ACCELERATORS[accelerator]:
        counts = ", ".join(map(str, ACCELERATORS[accelerator]))
        raise ConfigError(
            f"{task} asks for {own.gpus} GPUs: Vertex has machines with {counts} {accelerator}"
        )
