"""A compiled pipeline file: checks that it is one, and names what it holds."""

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.yaml_reader import read_documents, read_text_file
from ground.errors import ConfigError
from ground.source_digest import SOURCE_ROOT

Message = dict[str, Any]
_LARGEST_PIPELINE_BYTES = 1 << 24
_DIGEST_DIGITS = 16

# Of a compiled file's first document, and of the second where it has one.
_PIPELINE_KEYS = ("pipelineInfo", "root", "components", "deploymentSpec", "schemaVersion")
_PLATFORM_KEYS = ("platforms",)


@dataclass(frozen=True)
class PipelineFile:
    """What a compiled file holds.

    Attributes:
        content: its text in UTF-8.
        spec: the pipeline.
        platform: what it asks of Kubernetes; None where it asks nothing.
    """

    content: bytes
    spec: Message
    platform: Message | None

    @property
    def digest(self) -> str:
        """The first 16 hex digits of the content's SHA-256."""
        return hashlib.sha256(self.content).hexdigest()[:_DIGEST_DIGITS]

    @property
    def message(self) -> Message:
        """The file as the API has it in one field."""
        return stored_message(self.spec, self.platform)


def stored_message(spec: Message, platform: Message | None) -> Message:
    """Returns a pipeline as the field `pipeline_spec` of the API's messages has it."""
    return {"pipeline_spec": spec, "platform_spec": platform} if platform else spec


def check_pipeline_file(path: Path) -> None:
    """Checks that a file is a compiled pipeline; the service itself does not.

    Raises:
        ConfigError: it is missing, not YAML, or not a KFP v2 pipeline.
    """
    read_pipeline_file(path)


def read_pipeline_file(path: Path) -> PipelineFile:
    """Returns a compiled file.

    Raises:
        ConfigError: it is missing, not YAML, or not a KFP v2 pipeline.
    """
    hint = "expected the YAML file that `tfx-rcnn compile --out F.yaml` wrote"
    try:
        text = read_text_file(path, _LARGEST_PIPELINE_BYTES)
        documents = read_documents(text, str(path), _LARGEST_PIPELINE_BYTES) or [None]
    except ConfigError as error:
        raise ConfigError(f"{error}; {hint}") from None
    # The pipeline, and perhaps what it asks of Kubernetes.
    for document, wanted in zip(documents, (_PIPELINE_KEYS, _PLATFORM_KEYS), strict=False):
        missing = [k for k in wanted if not isinstance(document, dict) or k not in document]
        if missing:
            raise ConfigError(f"{path}: no KFP v2 pipeline ({', '.join(missing)} missing); {hint}")
    if len(documents) > 2:
        raise ConfigError(f"{path}: no KFP v2 pipeline ({len(documents)} documents); {hint}")
    return PipelineFile(text.encode(), documents[0], documents[1] if len(documents) > 1 else None)


def default_version(file: PipelineFile, source_root: Path = SOURCE_ROOT) -> str:
    """Returns the name of the version that a file is: our revision, if known, and its digest.

    It is a name that Kubernetes takes too, where some Kubeflows keep their pipelines.

    Args:
        file: compiled.
        source_root: the folder of our packages; its git commit is the revision.
    """
    revision = _revision(source_root)
    return f"{revision}-{file.digest}" if revision else file.digest


def _revision(source_root: Path) -> str:
    """Returns the commit, 8 digits; "" for an installed package, or where there is no git."""
    if not (source_root / ".git").exists():
        return ""
    command = ["git", "-C", str(source_root), "rev-parse", "--short=8", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
