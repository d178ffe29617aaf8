"""MLflow and Weights & Biases on a cluster: what the trainer's pod is told, by its environment.

The settings travel in a variable, past KFP's cache: no result hangs on them. Keys come from a
Kubernetes secret; the compiled file has its name alone.
"""

import contextlib
import ipaddress
import json
import os
import posixpath
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from configs.schema import Config
from configs.tracking_schema import TrackingConfig
from ground.addresses import is_address
from ground.errors import ConfigError
from pipeline.kubeflow.messages import Message
from pipeline.kubeflow.parameters import OVERRIDES

TRACKING_VARIABLE = "TFX_RCNN_TRACKING"
_TRAINER = "components.detection_trainer.executor.Executor"
_SERVERS = ("http", "https")
_STORES = (*_SERVERS, "sqlite", "file", "postgresql", "mysql", "mssql")
_SECRET_IN_QUERY = re.compile(r"[?&][^=&]*(password|passwd|token|secret|api_?key)=", re.IGNORECASE)
_ELSEWHERE = "name a server that the pod reaches, such as http://mlflow.kubeflow:5000"


def tracking_variables(config: Config) -> dict[str, str]:
    """Returns the variables of the trainer's container that say what tracks it, if anything."""
    if not config.tracking.is_asked:
        return {}
    return {TRACKING_VARIABLE: json.dumps(config.tracking.model_dump(mode="json"), sort_keys=True)}


def tracking_secret(config: Config) -> dict[str, Any] | None:
    """Returns the trainer's entry of `secretAsEnv` with the trackers' keys; None for none."""
    secret = config.pipeline.kubeflow.tracking_secret
    if secret is None or not config.tracking.is_asked:
        return None
    keys = sorted(secret.keys.items())
    return {
        "secretName": secret.name,
        "keyToEnv": [{"secretKey": key, "envVar": variable} for variable, key in keys],
    }


def check_tracking(config: Config, shared_dir: str, is_vertex: bool) -> None:
    """Checks that a pod can reach what `tracking` names.

    Args:
        config: all settings.
        shared_dir: folder that all containers share, or an address.
        is_vertex: whether it is for Vertex, which gives its containers no secrets.

    Raises:
        ConfigError: it cannot, or the compiled file would show a secret.
    """
    tracking, asked = config.tracking, config.pipeline.kubeflow
    if tracking.mlflow:
        folders = [volume.path for volume in asked.volumes]
        shared = [] if is_address(shared_dir) else [shared_dir]
        _check_mlflow(tracking.mlflow, [*folders, *shared])
    if not tracking.wandb or asked.env.get("WANDB_MODE") in ("offline", "disabled"):
        return
    if is_vertex:
        raise ConfigError(
            "tracking.wandb: Vertex gives its containers no secret with W&B's key: set "
            "tracking.wandb=null, or WANDB_MODE: offline in pipeline.kubeflow.env"
        )
    if asked.tracking_secret is None or "WANDB_API_KEY" not in asked.tracking_secret.keys:
        raise ConfigError(
            "tracking.wandb: the trainer's pod would have no key: name a secret with it, "
            "pipeline.kubeflow.tracking_secret={name: wandb, keys: {WANDB_API_KEY: key}}, or set "
            "WANDB_MODE: offline in pipeline.kubeflow.env"
        )


def _check_mlflow(uri: str, folders: list[str]) -> None:
    """Checks MLflow's tracking URI.

    Args:
        uri: the URI, or a folder.
        folders: what lies in them outlives a pod.

    Raises:
        ConfigError: a pod cannot use it, or it has a secret.
    """
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
    except ValueError as error:
        raise ConfigError(f"tracking.mlflow {_shown(uri)}: no URI ({error})") from None
    scheme = parts.scheme.partition("+")[0].lower()
    is_server = scheme in _SERVERS
    if parts.password or (is_server and parts.username) or _SECRET_IN_QUERY.search(uri):
        raise ConfigError(
            f"tracking.mlflow {_shown(uri)} holds a secret, and the compiled file is read by "
            "everybody: leave it out, and name a secret with MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, by "
            "pipeline.kubeflow.tracking_secret"
        )
    if scheme and scheme not in _STORES:
        raise ConfigError(f"tracking.mlflow {uri}: a pod cannot use {scheme}: {_ELSEWHERE}")
    if scheme in ("", "file", "sqlite"):
        path = uri if not scheme else parts.path
        path = path.removeprefix("/") if scheme == "sqlite" else path  # sqlite:////data/m.db
        if not any(_lies_in(path, folder) for folder in folders):
            raise ConfigError(
                f"tracking.mlflow {uri}: a file of the pod goes with it: give one below a folder "
                f"that stays ({', '.join(folders) or 'pipeline.kubeflow.volumes'}), or {_ELSEWHERE}"
            )
    elif is_server and (not host or _is_loopback(host)):
        raise ConfigError(f"tracking.mlflow {uri}: that is the pod itself: {_ELSEWHERE}")


def _lies_in(path: str, folder: str) -> bool:
    if not path.startswith("/"):
        return False
    normal, folder = posixpath.normpath(path), posixpath.normpath(folder)
    return normal == folder or normal.startswith(f"{folder.rstrip('/')}/")


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _shown(uri: str) -> str:
    """Returns a URI without what may be secret in it."""
    return re.sub(r"://[^/\s]*@", "://***@", uri).partition("?")[0]


def tracking_asked(
    executor_class_path: str, message: Message, environ: Mapping[str, str] = os.environ
) -> contextlib.AbstractContextManager[None]:
    """Returns what has a trainer tracked as its pod's environment says; for others, nothing.

    Its parameters are the trainer's own settings, those that the run was given included.

    Raises:
        ConfigError: the image lacks the package of a tracker.
    """
    text = environ.get(TRACKING_VARIABLE)
    if not text or executor_class_path != _TRAINER:
        return contextlib.nullcontext()
    from components.detection_trainer.settings import DetectionTrainerSettings
    from model.tracking.request import TrackingRequest, asked_for

    values = message["inputs"]["parameterValues"]
    settings = DetectionTrainerSettings.from_json(values["settings"], values.get(OVERRIDES))
    given = settings.model_dump(mode="json")
    tracking = TrackingConfig.model_validate_json(text)
    return asked_for(TrackingRequest.for_settings(tracking, settings.name, given))
