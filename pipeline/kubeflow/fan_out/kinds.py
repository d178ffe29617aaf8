"""The kinds of objects that can have the trainer's other pods (`trainer_nodes_by`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ground.errors import ConfigError
from pipeline.kubeflow.entry import NODES_BY_VARIABLE
from pipeline.kubeflow.fan_out import jobs, tf_jobs, train_jobs
from pipeline.kubeflow.fan_out.manifests import Manifest, Work


@dataclass(frozen=True)
class Resource:
    """What the API server calls a kind.

    Attributes:
        kind: kind in a manifest.
        plural: name in an address.
        group: with its version, as in a manifest.
    """

    kind: str
    plural: str
    group: str


@dataclass(frozen=True)
class Kind:
    """A kind of object that has pods.

    Attributes:
        resources: what is made, in this order; the last one has the pods.
        manifests: makes them, from the trainer's pod, its work and the training's restarts.
        label: label of the pods; its value is the object's name.
        host: pattern of a pod's name in DNS.
        told_of: patterns of the names of objects that events are about.
        operator: what must be installed in the cluster; "" for Kubernetes' own kinds.
    """

    resources: tuple[Resource, ...]
    manifests: Callable[[Manifest, Work, int], tuple[Manifest, ...]]
    label: str
    host: str
    told_of: tuple[str, ...] = ("{name}",)
    operator: str = ""

    @property
    def name(self) -> str:
        """Of the kind that has the pods."""
        return self.resources[-1].kind


_TRAINER = "trainer.kubeflow.org/v1alpha1"
_ALL = (
    Kind(
        resources=(Resource("Service", "services", "v1"), Resource("Job", "jobs", "batch/v1")),
        manifests=jobs.manifests,
        label=jobs.LABEL,
        host=jobs.HOST,
    ),
    Kind(
        resources=(Resource("TFJob", "tfjobs", "kubeflow.org/v1"),),
        manifests=tf_jobs.manifests,
        label=tf_jobs.LABEL,
        host=tf_jobs.HOST,
        operator="Training Operator",
    ),
    Kind(
        resources=(
            Resource("TrainingRuntime", "trainingruntimes", _TRAINER),
            Resource("TrainJob", "trainjobs", _TRAINER),
        ),
        manifests=train_jobs.manifests,
        label=train_jobs.LABEL,
        host=train_jobs.HOST,
        told_of=("{name}", train_jobs.JOB),
        operator="Kubeflow Trainer",
    ),
)
KINDS = {kind.name: kind for kind in _ALL}


def kind_from(environ: Mapping[str, str]) -> Kind:
    """Returns the kind that the trainer's container is told.

    Raises:
        ConfigError: there is none of that name.
    """
    name = environ.get(NODES_BY_VARIABLE, "Job")
    if name not in KINDS:
        raise ConfigError(f"{NODES_BY_VARIABLE} is {name!r}: expected one of {', '.join(KINDS)}")
    return KINDS[name]
