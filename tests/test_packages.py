"""Wheel and sdist: all that the code needs is in them, and they run where they are installed."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from ground.source_digest import OWN_PACKAGES
from ground.version import VERSION
from tests.test_layering import REPO

# setuptools changes sys.argv.
BUILD = (
    "import sys; from setuptools import build_meta; out = sys.argv[1]; "
    "build_meta.build_sdist(out); build_meta.build_wheel(out)"
)
UV = next((path for path in (REPO / ".uv" / "bin" / "uv", shutil.which("uv")) if path), None)


def tracked(*places: str) -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", *places], cwd=REPO, capture_output=True, text=True, check=True
    )
    return [name for name in done.stdout.splitlines() if (REPO / name).is_file()]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """The sdist and the wheel, made of what git tracks."""
    if not (REPO / ".git").exists():
        pytest.skip("no git checkout: what belongs into a package is not known")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / name, source / name)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD, str(out)],
        cwd=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = out.glob("*.whl")
    (sdist,) = out.glob("*.tar.gz")
    return sdist, wheel


def test_both_hold_every_file_of_the_packages_and_nothing_else(built) -> None:
    sdist, wheel = built
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name for name in archive.namelist() if ".dist-info/" not in name}
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    ours = set(tracked(*OWN_PACKAGES, "tfx_rcnn.py"))
    assert in_wheel == ours
    assert ours <= in_sdist
    assert {"LICENSE", "README.md", "setup.py", "pyproject.toml"} <= in_sdist
    assert not [name for name in in_sdist if name.startswith(("tests", "benchmarks", ".uv"))]


def test_they_are_typed_and_have_the_version(built) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    for path in built:
        assert VERSION in path.name
    with zipfile.ZipFile(built[1]) as archive:
        assert {f"{package}/py.typed" for package in OWN_PACKAGES} <= set(archive.namelist())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sdist", "wheel"])
def test_the_demo_runs_where_it_is_installed(built, kind, tmp_path) -> None:
    if UV is None:
        pytest.skip("no uv: make setup brings it")
    environment = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    locked = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "locked.pth").write_text(f"{locked}\n")  # whose own .pth files do not count
    package = built[kind == "wheel"]
    install = [str(UV), "pip", "install", "--offline", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*install, "--python", str(environment / "bin" / "python"), str(package)], check=True
    )
    program = environment / "bin" / "tfx-rcnn"
    clean = {**os.environ, "PATH": os.defpath, "HOME": str(tmp_path)}
    folder = tmp_path / "work"
    folder.mkdir()

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [str(program), *arguments],
            cwd=folder, env=clean, capture_output=True, text=True, timeout=1800, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    where = subprocess.run(
        [str(environment / "bin" / "python"), "-c", "import model; print(model.__file__)"],
        cwd=folder, env=clean, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(site))
    assert "Usage: " in run("--help") and VERSION in run("--version")
    said = run("demo", "--data-dir", "shapes", "--root", "run")
    assert "report" in said
    assert (folder / "run" / "serving").is_dir()
    run("look", "run", "--out", "page")
    assert (folder / "page" / "index.html").is_file()
