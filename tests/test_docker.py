"""docker/Dockerfile against what it copies, the lock and the defaults that lean on it."""

import re
from pathlib import Path

import pytest
from setuptools import find_packages

from pipeline.kubeflow.pod_paths import FOLDERS, own_file, own_file_path
from tests.dockerfile import Step, read_steps, stages

REPO = Path(__file__).resolve().parents[1]
DOCKERFILE = REPO / "docker/Dockerfile"
FINAL = ["cpu", "gpu"]


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    return read_steps(DOCKERFILE)


@pytest.fixture(scope="module")
def by_stage(steps: list[Step]) -> dict[str, list[Step]]:
    return stages(steps, {})


def _rests(steps: list[Step], word: str) -> list[str]:
    return [step.rest for step in steps if step.word == word]


def _copied(steps: list[Step]) -> dict[str, str]:
    """Returns what COPY takes from the context, and where it lies below /app."""
    copied = {}
    for sources, target in (rest.rsplit(" ", 1) for rest in _rests(steps, "COPY")):
        for source in sources.split():
            copied[source] = f"/app/{source}" if target == "/app/" else target
    return copied


def test_all_packages_are_copied_under_their_names(by_stage: dict[str, list[Step]]) -> None:
    copied = _copied(by_stage["source"])
    assert {source: f"/app/{source}" for source in copied} == copied
    assert [source for source in copied if not (REPO / source).exists()] == []
    named = re.search(
        r"packages=find_packages\(include=\[(.+?)\]\)", (REPO / "setup.py").read_text()
    )
    assert named is not None
    include = re.findall(r'"(.+?)"', named[1])
    packages = {name.split(".")[0] for name in find_packages(str(REPO), include=include)}
    assert packages | {"requirements"} == {source for source in copied if (REPO / source).is_dir()}
    for name in FINAL:
        assert "--from=source /app /app" in _rests(by_stage[name], "COPY")


def test_tools_and_locks_are_those_of_the_setup(by_stage: dict[str, list[Step]]) -> None:
    [version] = re.findall(r"^UV_VERSION=(\S+)", (REPO / "scripts/setup.sh").read_text(), re.M)
    tools, libraries, package = _rests(by_stage["libraries"], "RUN")
    assert f"uv=={version} " in tools
    assert libraries.startswith("uv pip sync ") and libraries.endswith("/requirements/modern.txt")
    assert package.startswith("uv pip install ") and package.endswith("--editable /app")
    assert "--no-deps" in package
    [cuda] = _rests(by_stage["libraries-gpu"], "RUN")
    assert cuda.endswith(" --requirements /build/requirements/modern-gpu.txt")


def test_the_base_is_an_argument_with_one_place_and_a_digest(steps: list[Step]) -> None:
    assert steps[0].word == "ARG"
    assert re.fullmatch(r"BASE=python:3\.13\.\d+-slim-trixie@sha256:[0-9a-f]{64}", steps[0].rest)
    bases = [rest for rest in _rests(steps, "FROM") if "$" in rest]
    assert len(bases) == 3 and all(base.startswith("${BASE} AS ") for base in bases)


def test_nothing_that_is_cached_gets_into_a_layer(steps: list[Step]) -> None:
    for run in _rests(steps, "RUN"):
        installs = re.findall(r"\bpip (?:install|sync) ([^&]+)", run)
        assert all("--no-cache" in options for options in installs), run


@pytest.mark.parametrize("target", FINAL)
def test_a_target_has_no_layer_of_the_tools(by_stage: dict[str, list[Step]], target: str) -> None:
    [above] = _rests(by_stage[target], "FROM")
    assert above == "system"
    [base] = _rests(by_stage["system"], "FROM")
    assert base.startswith("python:3.13.")
    assert "apt-get" not in " ".join(_rests(by_stage["system"], "RUN"))


def test_it_is_labelled_watched_and_not_run_as_root(by_stage: dict[str, list[Step]]) -> None:
    system = by_stage["system"]
    [labels] = _rests(system, "LABEL")
    assert set(re.findall(r"opencontainers\.image\.(\w+)=", labels)) == {
        "title",
        "description",
        "licenses",
        "revision",
    }
    assert _rests(system, "USER") == ["${UID}"]
    assert "UID=1000" in _rests(system, "ARG")
    assert len(_rests(system, "HEALTHCHECK")) == 1


def test_kubeflows_launcher_may_write_its_folders(by_stage: dict[str, list[Step]]) -> None:
    [made] = _rests(by_stage["system"], "RUN")
    assert "--mode 1777" in made
    assert {folder.strip("/") for folder in FOLDERS.values()} <= set(re.findall(r"/(\w+)", made))


def test_the_schema_that_compile_names_is_in_the_image(by_stage: dict[str, list[Step]]) -> None:
    schema = "pipeline/schema.pbtxt"
    assert own_file_path(own_file(schema)) == str(REPO / schema)
    assert schema.split("/")[0] in _copied(by_stage["source"])
