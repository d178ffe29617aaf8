"""The steps of docker/Dockerfile in a clean system, and what a container of it can do."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dockerfile import Build

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[1]
# As the cluster has it: the image's own user; OpenShift's, of no name, in root's group; anyone.
USERS = ["1000:0", "1000650000:0", "12345:12345"]
# What Docker's Python image has other than Debian: the names, and that pip may install.
AS_DOCKERS = """
apt-get -q update && apt-get -q install --yes --no-install-recommends python3-pip
ln -sf /usr/bin/python3 /usr/local/bin/python
rm -rf /usr/lib/python3*/EXTERNALLY-MANAGED /var/lib/apt/lists/* /var/cache/apt/*.bin
"""
# The machine's own way to its package registries.
SETTINGS = re.compile(r"(UV|PIP|SSL)_\w+|\w+_CA_(BUNDLE|CERTS)|\w+_proxy|\w+_PROXY")


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A clean Debian 13 with Python and pip under the names that Docker's Python image has."""
    root = os.environ.get("TFX_RCNN_BASE_ROOT")
    if root:
        yield Path(root)
        return
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        pytest.skip("needs root and debootstrap")
    folder = Path("/var/tmp/tfx-rcnn-image-base")
    subprocess.run(
        [str(REPO / "scripts/test_modern.sh"), "bash", "-ec", AS_DOCKERS],
        env={**os.environ, "TFX_RCNN_ROOT": str(folder), "TFX_RCNN_KEEP_ROOT": "yes"},
        check=True,
    )
    yield folder
    remove(folder)


@pytest.fixture(scope="module")
def build(base: Path) -> Iterator[Build]:
    work = Path(f"{base}-layers")
    remove(work)  # of a run that was killed
    work.mkdir()
    settings = {name: value for name, value in os.environ.items() if SETTINGS.fullmatch(name)}
    build = Build(REPO / "docker/Dockerfile", base, work, {"REVISION": "abc1234"}, settings)
    yield build
    remove(work)


def remove(folder: Path) -> None:
    """Removes 200,000 files, for which Python's own function takes minutes on a busy machine."""
    subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=True)


@pytest.mark.parametrize("user", USERS)
def test_any_user_can_run_it(build: Build, user: str) -> None:
    assert "Usage: tfx-rcnn" in build.run("cpu", "tfx-rcnn --help", user)
    said = build.run(
        "cpu",
        "tfx-rcnn shapes --out shapes --train 4 --val 2 --size 96 && "
        "tfx-rcnn run --config /app/configs/tiny.yaml --data-dir shapes --to CocoTransform",
        user,
    )
    assert re.search(r"CocoTransform +[\d.]+ s +ran", said), said


@pytest.mark.parametrize("user", USERS)
def test_kubeflows_launcher_can_make_its_folders(build: Build, user: str) -> None:
    build.run(
        "cpu",
        "for f in gcs minio s3 tmp; do mkdir -p /$f/bucket/a && touch /$f/bucket/a/b; done",
        user,
    )


def test_what_is_installed_can_be_imported_and_not_written(build: Build) -> None:
    modules = (
        "tensorflow, tfx.v1, kfp, apache_beam, pycocotools.mask, simplejpeg, pipeline.pipeline"
    )
    build.run("cpu", f'python -W ignore -c "import {modules}"')
    with pytest.raises(AssertionError, match="Permission denied"):
        build.run("cpu", "touch /app/model/new.py")


def test_nothing_is_left_of_what_made_it(build: Build) -> None:
    left = []
    stage = build.stage("cpu")
    for layer in stage.layers[: stage.own_layers]:
        for name in (
            "root/.cache",
            "var/lib/apt/lists",
            "var/cache/apt",
            "tmp",
            "usr/bin",
            "build",
        ):
            left += list((layer / name).glob("*"))
        left += layer.glob("**/.cache")
    assert left == []


def test_modules_are_compiled(build: Build) -> None:
    found = build.run("cpu", "find /app /opt/tfx-rcnn/lib -name '*.pyc' | wc -l")
    assert int(found) > 10_000
