"""scripts/setup.sh with stand-ins for Python and uv, and the lock that it installs."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPO = Path(__file__).resolve().parents[1]
TOOLS = ["bash", "cat", "dirname", "env", "flock", "mkdir", "rm", "sha256sum"]
RUNS = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
FAILS = '#!/bin/sh\necho "pyenv: python3.10: command not found" >&2\nexit 127\n'
# Stands in for uv: notes its arguments, makes what `uv venv` makes, fails where told to.
UV = """#!/bin/sh
echo "$@" >>"$UV_LOG"
case "$*" in
  *"$UV_FAILS_ON"*) exit 2 ;;
  venv*) for venv; do :; done; mkdir -p "$venv/bin"; cp "$FAKE_PYTHON" "$venv/bin/python" ;;
esac
"""


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with the few system programs that the script calls, and no Python."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in [*TOOLS, "cp", "sh"]:
        program = shutil.which(name)
        assert program, f"this machine has no {name}"
        (folder / name).symlink_to(program)
    return folder


def run_setup(script: Path, *arguments: str, path: list[Path], **variables: str):
    return subprocess.run(
        ["bash", str(script), *arguments],
        env={
            "PATH": os.pathsep.join(map(str, path)),
            "HOME": "/nonexistent",
            "PYENV_ROOT": "/nonexistent",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def find_python(path: list[Path], **variables: str):
    return run_setup(REPO / "scripts/setup.sh", "--find-python", path=path, **variables)


def test_a_shim_that_fails_is_passed_over(tmp_path: Path, tools: Path) -> None:
    write_program(tmp_path / "shims/python3.10", FAILS)
    write_program(tmp_path / "good/python3.10", RUNS)
    result = find_python([tmp_path / "shims", tmp_path / "good", tools])
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip() == os.path.realpath(sys.executable)


def test_pyenvs_versions_are_searched_after_the_path(tmp_path: Path, tools: Path) -> None:
    write_program(tmp_path / "shims/python3.10", FAILS)
    write_program(tmp_path / "pyenv/versions/3.10.2/bin/python3.10", RUNS)
    result = find_python([tmp_path / "shims", tools], PYENV_ROOT=str(tmp_path / "pyenv"))
    assert result.returncode == 0
    assert result.stdout.strip() == os.path.realpath(sys.executable)


def test_no_python_gives_one_line_that_says_what_to_install(tmp_path: Path, tools: Path) -> None:
    write_program(tmp_path / "shims/python3.10", FAILS)
    result = find_python([tmp_path / "shims", tools])
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(r"setup: no working Python 3\.10 found: install it .*\n", result.stderr)


class Checkout:
    """A copy of the files that set-up reads, with stand-ins for uv and Python 3.10."""

    def __init__(self, folder: Path, tools: Path) -> None:
        self.root = folder / "checkout"
        self.log = folder / "uv.log"
        self.path = [folder / "fakes", tools]
        self.python = write_program(folder / "fakes/python3.10", RUNS)
        write_program(folder / "fakes/uv", UV)
        (self.root / "scripts").mkdir(parents=True)
        for name in ["scripts/setup.sh", "setup.py", "constraints.txt", "constraints-gpu.txt"]:
            shutil.copy(REPO / name, self.root / name)

    def setup(self, uv_fails_on: str = "no step", **variables: str):
        """Runs the script; returns its result and what it asked of uv, shortened."""
        self.log.write_text("")
        result = run_setup(
            self.root / "scripts/setup.sh",
            path=self.path,
            UV_LOG=str(self.log),
            UV_FAILS_ON=uv_fails_on,
            FAKE_PYTHON=str(self.python),
            **variables,
        )
        calls = [
            " ".join(line.split()[: 1 if line.startswith("venv") else 2])
            for line in self.log.read_text().splitlines()
            if line != "--version"
        ]
        return result, calls


@pytest.fixture
def checkout(tmp_path: Path, tools: Path) -> Checkout:
    return Checkout(tmp_path, tools)


def test_a_second_run_does_nothing(checkout: Checkout) -> None:
    result, calls = checkout.setup()
    assert result.returncode == 0, result.stderr
    assert calls == ["venv", "pip sync", "pip install"]
    assert "constraints.txt" in checkout.log.read_text()
    assert "constraints-gpu.txt" not in checkout.log.read_text()
    result, calls = checkout.setup()
    assert (result.returncode, result.stdout, result.stderr, calls) == (0, "", "", [])


def test_a_changed_lock_is_installed_into_the_same_environment(checkout: Checkout) -> None:
    checkout.setup()
    with (checkout.root / "constraints.txt").open("a") as lock:
        lock.write("one-more==1.0\n")
    result, calls = checkout.setup()
    assert (result.returncode, calls) == (0, ["pip sync", "pip install"])


@pytest.mark.parametrize("step", ["pip sync", "pip install"])
def test_an_interrupted_setup_starts_afresh(checkout: Checkout, step: str) -> None:
    checkout.setup()
    (checkout.root / "setup.py").write_text("# changed\n")
    result, calls = checkout.setup(uv_fails_on=step)
    assert (result.returncode, calls[-1]) == (2, step)
    result, calls = checkout.setup()
    assert (result.returncode, calls) == (0, ["venv", "pip sync", "pip install"])


def test_an_environment_whose_python_is_gone_is_made_again(checkout: Checkout) -> None:
    checkout.setup()
    (checkout.root / ".venv/bin/python").unlink()
    result, calls = checkout.setup()
    assert (result.returncode, calls) == (0, ["venv", "pip sync", "pip install"])


def test_a_moved_checkout_is_made_again(checkout: Checkout) -> None:
    checkout.setup()
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    _, calls = checkout.setup()
    assert "pip install" in calls


def test_a_gpu_adds_its_packages(checkout: Checkout) -> None:
    write_program(checkout.path[0] / "nvidia-smi", "#!/bin/sh\n")
    result, _ = checkout.setup()
    assert result.returncode == 0
    assert "constraints.txt" in checkout.log.read_text()
    assert "constraints-gpu.txt" in checkout.log.read_text()
    _, calls = checkout.setup(TFX_RCNN_GPU="no")
    assert calls == ["pip sync", "pip install"]
    assert "constraints-gpu.txt" not in checkout.log.read_text()


def test_no_python_and_none_from_uv_leaves_no_environment(checkout: Checkout) -> None:
    checkout.python.write_text(FAILS)
    result, calls = checkout.setup(uv_fails_on="--python 3.10 ")
    assert (result.returncode, calls) == (1, ["venv"])
    assert result.stderr.splitlines()[-1].startswith("setup: no working Python 3.10 found")
    assert not (checkout.root / ".venv").exists()


def test_the_lock_satisfies_what_setup_py_asks_for() -> None:
    lock = dict(
        line.split("==") for line in (REPO / "constraints.txt").read_text().split() if "==" in line
    )
    asked = [Requirement(line) for line in importlib.metadata.requires("tfx-rcnn") or []]
    asked = [need for need in asked if 'extra == "gpu"' not in str(need.marker)]
    assert len(asked) > 20
    missing = [str(need) for need in asked if need.name.lower() not in lock]
    assert missing == []
    wrong = [
        str(need) for need in asked if not need.specifier.contains(lock[need.name.lower()], True)
    ]
    assert wrong == []


def test_the_lock_is_what_is_installed() -> None:
    for line in (REPO / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, version = line.split("==")
            assert importlib.metadata.version(name) == version
