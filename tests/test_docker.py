"""docker/Dockerfile against what it copies, the lock and the defaults that lean on it."""

import re
from pathlib import Path

import pytest
from setuptools import find_packages

from pipeline.kubeflow.pod_paths import own_file, own_file_path

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """Instructions and their arguments, continued lines joined."""
    text = (REPO / "docker" / "Dockerfile").read_text().replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def _copied(steps: list[tuple[str, str]]) -> dict[str, str]:
    """Returns what COPY takes, and where it lies below the working folder."""
    copied = {}
    for sources, target in (rest.rsplit(" ", 1) for word, rest in steps if word == "COPY"):
        for source in sources.split():
            copied[source] = source if target == "./" else target
    return copied


def test_all_packages_are_copied_under_their_names(steps: list[tuple[str, str]]) -> None:
    copied = _copied(steps)
    assert all(source == target for source, target in copied.items())
    assert [source for source in copied if not (REPO / source).exists()] == []
    named = re.search(
        r"packages=find_packages\(include=\[(.+?)\]\)", (REPO / "setup.py").read_text()
    )
    assert named is not None
    include = re.findall(r'"(.+?)"', named[1])
    packages = {name.split(".")[0] for name in find_packages(str(REPO), include=include)}
    assert packages | {"requirements"} == {source for source in copied if (REPO / source).is_dir()}


def test_tools_and_locks_are_those_of_the_setup(steps: list[tuple[str, str]]) -> None:
    [version] = re.findall(r"^UV_VERSION=(\S+)", (REPO / "scripts/setup.sh").read_text(), re.M)
    install, package = [rest for word, rest in steps if word == "RUN"]
    assert f"uv=={version} " in install
    assert install.endswith(" requirements/legacy.txt requirements/legacy-gpu.txt")
    assert "uv pip sync " in install
    assert "--no-deps" in package
    assert ("FROM", "python:3.10-slim") in steps


def test_the_schema_that_compile_names_is_in_the_image(steps: list[tuple[str, str]]) -> None:
    schema = "pipeline/schema.pbtxt"
    assert own_file_path(own_file(schema)) == str(REPO / schema)
    assert schema.split("/")[0] in _copied(steps)
