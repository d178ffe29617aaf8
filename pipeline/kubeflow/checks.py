"""What is refused before a file is written, each in one line: a cluster would say it much later."""

import re
from collections.abc import Mapping
from typing import Any

from configs.schema import Config
from ground.addresses import is_address, secrets_of, shown_address
from ground.errors import ConfigError
from model.coco.policies import resolve_policies
from model.launch.launcher import random_and_frozen
from pipeline.kubeflow.tracked import TRACKING_VARIABLE

_BUCKET = r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"
# KFP takes a query too, such as ?region=eu-west-1&endpoint=store.my.org, and leaves it out of the
# outputs' addresses (`GenerateOutputURI` in backend/src/v2/metadata/client.go).
_ROOT = re.compile(rf"(gs|s3|minio)://{_BUCKET}(/[^\s?#]*)?(\?[^\s#?]+)?")
# What KFP and Argo ({{), and the kubelet ($(NAME), $$), put something else in the place of.
_REPLACED = re.compile(r"\{\{|\$\(|\$\$")
_ADDRESS = re.compile(r"[a-z0-9]+://[^\s/]+(/.*)?")
# A reference as Docker has it: a registry, if any, with a dot or a port; a path; a tag or a digest.
_IMAGE = re.compile(
    r"([a-zA-Z0-9]([\w.-]*[a-zA-Z0-9])?(:\d+)?/)?"
    r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(?P<tag>:\w[\w.-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?",
    re.ASCII,
)


def check_root(root: str) -> None:
    """Checks the address below which outputs are stored.

    Raises:
        ConfigError: KFP takes none such.
    """
    if not _ROOT.fullmatch(root):
        raise ConfigError(
            f"--pipeline-root {root!r}: expected a bucket (3 to 63 letters, digits, -) of gs://, "
            "s3:// or minio://, such as minio://mlpipeline/tfx-rcnn: Kubeflow stores nowhere else"
        )


def check_image(image: str) -> None:
    """Checks a container image's reference.

    Raises:
        ConfigError: it is malformed, or says no tag and no digest: Kubernetes would take whatever
            `latest` is when a task starts.
    """
    found = _IMAGE.fullmatch(image)
    if found is None:
        raise ConfigError(
            f"--image {image!r}: expected a reference such as registry.my.org/tfx-rcnn:1"
        )
    if not found["tag"] and not found["digest"]:
        raise ConfigError(
            f"--image {image}: say which: a tag ({image}:1) or a digest (@sha256:...)"
        )


def check_addresses(places: Mapping[str, str]) -> None:
    """Checks that folders are where a container finds them.

    Args:
        places: folder by the name of what set it.

    Raises:
        ConfigError: one is relative, of this machine's home, or a malformed address.
    """
    for name, place in places.items():
        if is_address(place):
            if not _ADDRESS.fullmatch(place):
                raise ConfigError(
                    f"{name} {shown_address(place)!r}: expected an address such as s3://bucket/data"
                )
            if secrets_of(place):
                raise ConfigError(
                    f"{name} {shown_address(place)}: holds a secret, and the compiled file is read "
                    "by everybody: leave it out, and see pipeline.kubeflow.store_secret"
                )
            if "?" in place:
                raise ConfigError(
                    f"{name} {shown_address(place)}: an address has no query here: where the store "
                    "is says pipeline.kubeflow.store_endpoint"
                )
        elif not place.startswith("/"):
            raise ConfigError(
                f"{name} {place!r}: a container has its own working folder: give an absolute "
                "folder of a volume (/data), or an address (s3://bucket/data)"
            )


def check_constants(specification: Mapping[str, Any]) -> None:
    """Checks that texts of ours reach the containers as they are.

    Args:
        specification: a PipelineSpec.

    Raises:
        ConfigError: a parameter or a variable has what is replaced on the way.
    """
    texts: dict[str, Any] = {}
    for task, spec in specification["root"]["dag"]["tasks"].items():
        for name, source in spec.get("inputs", {}).get("parameters", {}).items():
            texts[f"{task}: {name}"] = source.get("runtimeValue", {}).get("constant")
    for name, parameter in specification["root"]["inputDefinitions"]["parameters"].items():
        texts[f"parameter {name}"] = parameter.get("defaultValue")
    for executor in specification["deploymentSpec"]["executors"].values():
        for variable in executor.get("container", {}).get("env", []):
            is_tracking = variable["name"] == TRACKING_VARIABLE
            where = "tracking" if is_tracking else f"pipeline.kubeflow.env.{variable['name']}"
            texts[where] = variable["value"]
    for where, text in texts.items():
        found = _REPLACED.search(str(text))
        if found:
            start = max(0, found.start() - 30)
            raise ConfigError(
                f"{where} has {found[0]!r} in ...{str(text)[start : found.end() + 20]!r}: Kubeflow "
                "or Kubernetes would put something else in its place; say it without"
            )


def check_start(config: Config) -> None:
    """Checks that a run would not end in its first component, and a training start from something.

    Raises:
        ConfigError: a policy is of no reason that there is, or layers would stay at random values.
    """
    resolve_policies(config.data.policies)
    if random_and_frozen(config.model):
        raise ConfigError(
            f"model.weights is null and {config.model.backbone.frozen_stages} stages of the "
            "backbone are frozen, so they would keep random values: say --set model.weights=, a "
            "file of a volume (/data/R-50.pkl) or of a store (s3://bucket/R-50.pkl), or --set "
            "model.backbone.frozen_stages=0"
        )
