"""What counts as a compiled file, and what its version is called."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from ground.errors import ConfigError
from pipeline.kubeflow.pipeline_file import default_version, read_pipeline_file

PIPELINE = yaml.safe_dump(
    {
        "pipelineInfo": {"name": "shapes"},
        "root": {"dag": {}},
        "components": {},
        "deploymentSpec": {},
        "schemaVersion": "2.1.0",
    }
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        ("a: [", "not YAML"),
        ("name: tiny", "no KFP v2 pipeline"),
        ("", "no KFP v2 pipeline"),
        (f"{PIPELINE}---\nname: tiny\n", r"no KFP v2 pipeline \(platforms missing\)"),
        (f"{PIPELINE}---\nplatforms: {{}}\n---\na: 1\n", r"no KFP v2 pipeline \(3 documents\)"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "wrong.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=said):
        read_pipeline_file(path)


def test_version_is_the_revision_and_the_digest_of_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(PIPELINE)
    file = read_pipeline_file(path)
    assert re.fullmatch("[0-9a-f]{16}", file.digest)
    assert default_version(file, tmp_path) == file.digest  # not in a repository

    def git(*command: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@my.org"]
        subprocess.run(["git", "-C", tmp_path, *identity, *command], check=True, timeout=30)

    git("init", "-q")
    assert default_version(file, tmp_path) == file.digest  # nothing is committed yet
    git("commit", "-q", "--allow-empty", "-m", "a")
    assert re.fullmatch(f"[0-9a-f]{{8}}-{file.digest}", default_version(file, tmp_path))
    path.write_text(PIPELINE + "\n")
    assert read_pipeline_file(path).digest != file.digest
