"""What the trainer's other pods are, of whatever kind of object: copies of its own container."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ground.errors import ConfigError
from model.launch.cluster import DEFAULT_PORT, PORT_VARIABLE
from pipeline.kubeflow.entry import COMMAND, NODE_COMMAND, NODES_VARIABLE

Manifest = dict[str, Any]
WORK_VARIABLE = "TFX_RCNN_NODE_WORK"
HOSTS_VARIABLE, INDEX_VARIABLE = "TFX_RCNN_HOSTS", "TFX_RCNN_HOST_INDEX"
# A pod's place among the others: Kubernetes' own of an Indexed Job, ours where it sets none.
COMPLETION_INDEX, PLACE_VARIABLE = "JOB_COMPLETION_INDEX", "TFX_RCNN_NODE_PLACE"
# A pod that has its examples, and can train, has this file.
READY_FILE = "/tmp/tfx-rcnn-ready"
_MAIN = "main"  # of Argo's pods
_NO_ISTIO = "sidecar.istio.io/inject"
_SECONDS_TO_STOP = 150  # the launcher gives a checkpoint 120
SECONDS_KEPT = 3600  # after the end, where nobody deletes it
STATUSES_THAT_STAY = (2, 3)  # wrong usage and refusals: another try says the same
# Argo's and KFP's own in the trainer's pod, and what Kubernetes adds to each pod by itself.
_DROPPED_VOLUMES = ("var-run-argo", "tmp-dir-argo", "kfp-launcher", "kube-api-access-")
_DROPPED_VARIABLES = ("ARGO_", NODES_VARIABLE, HOSTS_VARIABLE, INDEX_VARIABLE)
_OF_THE_POD = (
    "affinity",
    "dnsConfig",
    "dnsPolicy",
    "hostAliases",
    "imagePullSecrets",
    "nodeSelector",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "tolerations",
    "topologySpreadConstraints",
)
_OF_THE_CONTAINER = ("envFrom", "image", "imagePullPolicy", "resources", "securityContext")


@dataclass(frozen=True)
class Work:
    """What the other pods are told.

    Attributes:
        settings: settings of the trainer, JSON of `DetectionTrainerSettings`.
        overrides: overrides of the run.
        examples: an address, or a folder that every pod mounts.
        hosts: `name:port` of each pod's first worker, the trainer's own first.
        owner: name of the trainer's pod.
        owner_uid: its uid.
    """

    settings: str
    overrides: str
    examples: str
    hosts: tuple[str, ...]
    owner: str
    owner_uid: str

    def to_json(self) -> str:
        """Returns it as text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Work":
        """Returns the work of `to_json`'s text."""
        values = json.loads(text)
        return cls(**{**values, "hosts": tuple(values["hosts"])})


def name_of(pod: Manifest) -> str:
    """Returns the name of what a trainer's pod makes, one for each try of a task."""
    return f"tfx-rcnn-{pod['metadata']['uid']}"[:50].rstrip("-")


def hosts_of(
    pod: Manifest, nodes: int, environ: Mapping[str, str], pattern: str
) -> tuple[str, ...]:
    """Returns the addresses of all pods' first workers; the first is the trainer's own.

    Args:
        pod: the trainer's.
        nodes: pods, its own included.
        environ: environment of the trainer.
        pattern: pattern of the other pods' names in DNS, with {name} and {index}.

    Raises:
        ConfigError: the port that the environment gives is none.
    """
    port = environ.get(PORT_VARIABLE) or str(DEFAULT_PORT)
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ConfigError(f"{PORT_VARIABLE} is {port!r}: expected the number of a port")
    address = pod["status"]["podIP"]
    own = f"[{address}]" if ":" in address else address
    others = [pattern.format(name=name_of(pod), index=index) for index in range(nodes - 1)]
    return tuple(f"{host}:{port}" for host in (own, *others))


def labels() -> dict[str, str]:
    """Returns our labels; not the trainer's, by which Argo would take the pods for its own."""
    return {"app.kubernetes.io/name": "tfx-rcnn", "app.kubernetes.io/component": "trainer-node"}


def metadata_of(pod: Manifest) -> Manifest:
    """Returns the metadata of what a trainer's pod makes; Kubernetes deletes that with the pod."""
    owner = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": pod["metadata"]["name"],
        "uid": pod["metadata"]["uid"],
        # Blocking its deletion asks for a right on the pod's finalizers.
        "controller": False,
        "blockOwnerDeletion": False,
    }
    return {"name": name_of(pod), "labels": labels(), "ownerReferences": [owner]}


def pod_template(pod: Manifest, work: Work, container: str) -> Manifest:
    """Returns the other pods' template, without what is Argo's and KFP's in the trainer's.

    Args:
        pod: the trainer's, as the API server has it.
        work: what the pods do.
        container: the name that the kind of object asks for.
    """
    main = main_container(pod)
    mounts = [m for m in main.get("volumeMounts", ()) if not _is_dropped(m["name"])]
    mounted = {mount["name"] for mount in mounts}
    volumes = [v for v in pod["spec"].get("volumes", ()) if v["name"] in mounted]
    variables = [
        variable
        for variable in main.get("env", ())
        if not variable["name"].startswith(_DROPPED_VARIABLES)
    ]
    node = {
        "name": container,
        "command": [*COMMAND, NODE_COMMAND],
        "env": [*variables, {"name": WORK_VARIABLE, "value": work.to_json()}],
        "volumeMounts": mounts,
        "readinessProbe": {"exec": {"command": ["test", "-e", READY_FILE]}, "periodSeconds": 5},
        **{key: main[key] for key in _OF_THE_CONTAINER if key in main},
    }
    return {
        "metadata": {
            "labels": {**labels(), _NO_ISTIO: "false"},
            # Istio would take the workers' connections for its own protocols.
            "annotations": {_NO_ISTIO: "false"},
        },
        "spec": {
            "containers": [node],
            "volumes": volumes,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": _SECONDS_TO_STOP,
            **{key: pod["spec"][key] for key in _OF_THE_POD if key in pod["spec"]},
        },
    }


def main_container(pod: Manifest) -> Manifest:
    """Returns the container that runs us."""
    containers: list[Manifest] = pod["spec"]["containers"]
    return next((one for one in containers if one["name"] == _MAIN), containers[0])


def _is_dropped(volume: str) -> bool:
    return volume.startswith(_DROPPED_VOLUMES)
