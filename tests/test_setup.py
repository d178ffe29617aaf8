"""scripts/setup.sh with stand-ins for Pythons, uv and the C library, and the locks it installs."""

import importlib.metadata
import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.setup_checkout import (
    FAILS,
    REPO,
    Checkout,
    copy_script,
    make_tools,
    run_setup,
    write_free_space,
    write_glibc,
    write_machine,
    write_program,
    write_python,
)

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
LANE_HERE = "legacy" if HERE == "3.10" else "modern"
RUNS = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    return make_tools(tmp_path / "tools")


def find_python(path: list[Path], **variables: str):
    return run_setup(copy_script(path[-1].parent), "--find-python", path=path, **variables)


def lane(path: list[Path], **variables: str) -> str:
    result = run_setup(copy_script(path[-1].parent), "--lane", path=path, **variables)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.strip()


def test_a_shim_that_fails_is_passed_over(tmp_path: Path, tools: Path) -> None:
    write_glibc(tools, "2.41")
    write_program(tmp_path / f"shims/python{HERE}", FAILS)
    write_program(tmp_path / f"good/python{HERE}", RUNS)
    result = find_python([tmp_path / "shims", tmp_path / "good", tools], LANE=LANE_HERE)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip() == os.path.realpath(sys.executable)


def test_pyenvs_versions_are_searched_after_the_path(tmp_path: Path, tools: Path) -> None:
    write_program(tmp_path / "shims/python3.10", FAILS)
    python = write_python(tmp_path / "pyenv/versions/3.10.2/bin", "3.10")
    result = find_python([tmp_path / "shims", tools], PYENV_ROOT=str(tmp_path / "pyenv"))
    assert (result.returncode, result.stdout) == (0, f"{python}\n")


def test_no_python_gives_one_line_that_says_what_to_install(tmp_path: Path, tools: Path) -> None:
    write_program(tmp_path / "shims/python3.10", FAILS)
    result = find_python([tmp_path / "shims", tools])
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(r"setup: no working Python 3\.10 found: install it .*\n", result.stderr)


@pytest.mark.parametrize(
    ("glibc", "versions", "expected"),
    [
        ("2.41", ["3.13"], "modern: glibc 2.41 and a Python 3.13 or 3.12"),
        ("2.39", ["3.10", "3.12"], "modern: glibc 2.39 and a Python 3.13 or 3.12"),
        ("3.0", ["3.12"], "modern: glibc 3.0 and a Python 3.13 or 3.12"),
        ("2.41", ["3.10", "3.14"], "legacy: no working Python 3.13 or 3.12, but a 3.10"),
        ("2.41", ["3.14"], "modern: glibc 2.41"),
        ("2.36", ["3.13", "3.12"], "legacy: glibc 2.36 is older than 2.39"),
        ("2.4", ["3.13"], "legacy: glibc 2.4 is older than 2.39"),
    ],
)
def test_the_lane_follows_the_c_library_and_the_pythons(
    tmp_path: Path, tools: Path, glibc: str, versions: list[str], expected: str
) -> None:
    write_glibc(tools, glibc)
    for version in versions:
        write_python(tmp_path / "bin", version)
    assert lane([tmp_path / "bin", tools]) == expected


def test_a_lane_may_be_named(tmp_path: Path, tools: Path) -> None:
    write_glibc(tools, "2.41")
    write_python(tmp_path / "bin", "3.13")
    path = [tmp_path / "bin", tools]
    assert lane(path, LANE="legacy") == "legacy: LANE=legacy"
    assert lane(path, LANE="modern") == "modern: LANE=modern"
    refused = run_setup(copy_script(tmp_path), path=path, LANE="new")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "setup: LANE: expected auto, modern or legacy, got 'new'\n"


def test_a_lane_that_cannot_run_is_refused(tmp_path: Path, tools: Path) -> None:
    write_python(tmp_path / "bin", "3.13")
    refused = run_setup(copy_script(tmp_path), path=[tmp_path / "bin", tools], LANE="modern")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(
        "setup: LANE=modern needs glibc 2.39 or later, and this system has 2.36: "
    )


def test_training_alone_takes_the_modern_lane_on_older_systems(tmp_path: Path, tools: Path) -> None:
    write_python(tmp_path / "bin", "3.12")
    path = [tmp_path / "bin", tools]
    assert lane(path, TFX_RCNN_PACKAGES="train").startswith("modern: glibc 2.36")


def test_the_systems_own_python_comes_first(tmp_path: Path, tools: Path) -> None:
    write_glibc(tools, "2.41")
    write_python(tmp_path / "bin", "3.13")
    own = write_python(tmp_path / "usr", "3.12", "python3")
    assert find_python([tmp_path / "bin", tmp_path / "usr", tools]).stdout == f"{own}\n"


@pytest.fixture
def checkout(tmp_path: Path, tools: Path) -> Checkout:
    return Checkout(tmp_path, tools)


def test_a_second_run_does_nothing(checkout: Checkout) -> None:
    result, calls = checkout.setup()
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[0] == (
        "setup: legacy lane (Python 3.10): glibc 2.36 is older than 2.39"
    )
    assert calls == ["venv", "pip sync", "pip install"]
    assert checkout.locks() == ["legacy.txt"]
    result, calls = checkout.setup()
    assert (result.returncode, result.stdout, result.stderr, calls) == (0, "", "", [])


def test_a_changed_lock_is_installed_into_the_same_environment(checkout: Checkout) -> None:
    checkout.setup()
    with (checkout.root / "requirements/legacy.txt").open("a") as lock:
        lock.write("one-more==1.0\n")
    result, calls = checkout.setup()
    assert (result.returncode, calls) == (0, ["pip sync", "pip install"])


def test_another_lane_gets_an_environment_of_its_own(checkout: Checkout) -> None:
    checkout.setup()
    write_glibc(checkout.tools, "2.41")
    write_python(checkout.path[0], "3.13")
    result, calls = checkout.setup()
    assert (result.returncode, calls) == (0, ["venv", "pip sync", "pip install"])
    assert result.stderr.splitlines()[0] == (
        "setup: modern lane (Python 3.13 3.12): glibc 2.41 and a Python 3.13 or 3.12"
    )
    assert checkout.locks() == ["modern.txt"]
    assert checkout.setup()[1] == []
    assert checkout.setup(LANE="legacy")[1] == ["venv", "pip sync", "pip install"]
    assert checkout.locks() == ["legacy.txt"]


def test_a_machine_that_only_trains_gets_less(checkout: Checkout) -> None:
    assert checkout.setup(TFX_RCNN_PACKAGES="train")[0].returncode == 0
    assert checkout.locks() == ["legacy-train.txt"]
    result, calls = checkout.setup(TFX_RCNN_PACKAGES="some")
    assert (result.returncode, calls) == (1, [])
    assert result.stderr == "setup: TFX_RCNN_PACKAGES: expected all or train, got 'some'\n"


@pytest.mark.parametrize(
    ("tool", "headers_of", "missing", "line"),
    [
        ("apt-get", "", "a C++ compiler", "'apt-get install g++'"),
        (
            "apt-get",
            "3.10",
            "a C++ compiler and Python's headers (Python.h)",
            "'apt-get install g++ python3.10-dev'",
        ),
        ("dnf", "", "a C++ compiler", "'dnf install gcc-c++'"),
        ("zypper", "", "a C++ compiler", "'zypper install gcc-c++'"),
        ("none of these", "", "a C++ compiler", "install g++"),
    ],
)
def test_a_missing_compiler_is_said_before_anything_is_made(
    checkout: Checkout, tool: str, headers_of: str, missing: str, line: str
) -> None:
    (checkout.tools / "c++").unlink()
    write_program(checkout.tools / tool, "#!/bin/sh\n")
    result, calls = checkout.setup(NO_HEADERS=headers_of)
    assert (result.returncode, calls) == (1, [])
    assert result.stderr.splitlines()[1:] == [
        f"setup: {missing} missing, which pyfarmhash is built with: {line}, and run this again"
    ]
    assert not (checkout.root / ".venv").exists()
    assert checkout.setup(TFX_RCNN_PACKAGES="train")[0].returncode == 0


@pytest.mark.parametrize("step", ["pip sync", "pip install"])
def test_an_interrupted_setup_starts_afresh(checkout: Checkout, step: str) -> None:
    checkout.setup()
    (checkout.root / "setup.py").write_text("# changed\n")
    result, calls = checkout.setup(uv_fails_on=step)
    assert (result.returncode, calls[-1]) == (1, step)
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
    assert checkout.locks() == ["legacy.txt", "legacy-gpu.txt"]
    _, calls = checkout.setup(TFX_RCNN_GPU="no")
    assert calls == ["pip sync", "pip install"]
    assert checkout.locks() == ["legacy.txt"]


def test_no_python_and_none_from_uv_leaves_no_environment(checkout: Checkout) -> None:
    checkout.python.write_text(FAILS)
    result, calls = checkout.setup(uv_fails_on="--python 3.10 ")
    assert (result.returncode, calls) == (1, ["venv"])
    assert result.stderr.splitlines()[-1].startswith("setup: no working Python 3.10 found")
    assert not (checkout.root / ".venv").exists()


@pytest.mark.parametrize(
    ("system", "machine", "said"),
    [
        ("Darwin", "arm64", "Darwin is not supported, .*: use Linux, .*"),
        ("MINGW64_NT-10.0", "x86_64", "MINGW64_NT-10.0 is not supported, .* WSL 2 with Ubuntu"),
        ("Linux", "aarch64", "this machine is aarch64, and TFX's packages .* x86-64 alone: .*"),
        ("Linux", "i686", "this machine is i686, and TensorFlow's packages are for 64-bit .*"),
    ],
)
def test_a_machine_without_packages_is_refused_in_one_line(
    checkout: Checkout, system: str, machine: str, said: str
) -> None:
    write_machine(checkout.tools, system, machine)
    result, calls = checkout.setup()
    assert (result.returncode, result.stdout, calls) == (1, "", [])
    assert re.fullmatch(f"setup: {said}\n", result.stderr)


@pytest.mark.parametrize("getconf", ["echo 'unknown variable' >&2; exit 1", "exit 127"])
def test_a_system_without_glibc_is_refused_in_one_line(checkout: Checkout, getconf: str) -> None:
    write_program(checkout.tools / "getconf", f"#!/bin/sh\n{getconf}\n")
    result, calls = checkout.setup()
    assert (result.returncode, result.stdout, calls) == (1, "", [])
    assert re.fullmatch(r"setup: this system's C library is not glibc \(Alpine.*\n", result.stderr)


@pytest.mark.parametrize(("gpu", "needed"), [("no", 5), ("yes", 9)])
def test_a_full_disk_is_said_before_anything_is_made(
    checkout: Checkout, gpu: str, needed: int
) -> None:
    write_free_space(checkout.tools, needed - 1)
    result, calls = checkout.setup(TFX_RCNN_GPU=gpu)
    assert (result.returncode, calls) == (1, [])
    assert result.stderr.splitlines()[1:] == [
        f"setup: {checkout.root} has {(needed - 1) * 1024} MB of free disk space, and .venv takes "
        f"{needed} GB: make room, or take a checkout on another disk"
    ]
    write_free_space(checkout.tools, needed)
    assert checkout.setup(TFX_RCNN_GPU=gpu)[0].returncode == 0


FAILURES = [
    ("error: No space left on device (os error 28)", "no space left on a disk; .*"),
    ("invalid peer certificate: UnknownIssuer", "the server's certificate .* SSL_CERT_FILE"),
    ("HTTP status client error (407 Proxy Authentication)", "the proxy asks for a name: .*"),
    ("dns error: failed to lookup address", "no way to the package index: .* PIP_INDEX_URL"),
    ("Failed to establish a new connection: [Errno 101]", "no way to the package index: .*"),
    ("error: it rains\n\n", "error: it rains"),
    ("", "it said nothing"),
]


@pytest.mark.parametrize(("words", "said"), FAILURES)
def test_a_failed_install_is_one_line(checkout: Checkout, words: str, said: str) -> None:
    result, _ = checkout.setup(uv_fails_on="pip sync", UV_SAYS=words)
    assert result.returncode == 1
    line = result.stderr.splitlines()[-1]
    assert re.fullmatch(rf"setup: cannot install: {said} \(\S+/\.uv\.log has all\)", line)
    assert not any(line.startswith("error") for line in result.stderr.splitlines())


@pytest.mark.parametrize(("words", "said"), FAILURES[:-1])
def test_a_uv_that_cannot_be_fetched_is_one_line(checkout: Checkout, words: str, said: str) -> None:
    (checkout.path[0] / "uv").unlink()
    write_program(checkout.tools / "apt-get", f"#!/bin/sh\nprintf '%s' '{words}' >&2\nexit 1\n")
    result, _ = checkout.setup()
    assert result.returncode == 1
    line = result.stderr.splitlines()[-1]
    assert re.fullmatch(
        rf"setup: cannot fetch uv: {said}; or install uv yourself \(\S+ has all\)", line
    )


def test_a_python_of_32_bits_is_passed_over(tmp_path: Path, tools: Path) -> None:
    write_glibc(tools, "2.41")
    narrow = f'#!/bin/sh\nexec "{sys.executable}" -c "\nimport sys; sys.maxsize = 2**31 - 1\n'
    narrow += 'sys.argv = sys.argv[2:]\nexec(sys.stdin.read())" "$@"\n'
    write_program(tmp_path / f"narrow/python{HERE}", narrow)
    result = find_python([tmp_path / "narrow", tools], LANE=LANE_HERE)
    assert (result.returncode, result.stdout) == (1, "")
    write_program(tmp_path / f"good/python{HERE}", RUNS)
    result = find_python([tmp_path / "narrow", tmp_path / "good", tools], LANE=LANE_HERE)
    assert result.stdout.strip() == os.path.realpath(sys.executable)


def read_lock(name: str, python: str) -> dict[str, str]:
    """Returns package -> version of a lock, as they hold for a Python."""
    lock = {}
    for line in (REPO / "requirements" / name).read_text().splitlines():
        if not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate(environment(python)):
                [version] = pin.specifier
                assert version.operator == "=="
                lock[pin.name] = version.version
    return lock


def environment(python: str, extra: str = "") -> dict[str, str]:
    return {"python_version": python, "python_full_version": f"{python}.1", "extra": extra}


@pytest.mark.parametrize(
    ("lane", "python"), [("legacy", "3.10"), ("modern", "3.12"), ("modern", "3.13")]
)
def test_the_lock_satisfies_what_setup_py_asks_for(lane: str, python: str) -> None:
    assert python in SpecifierSet(importlib.metadata.metadata("tfx-rcnn")["Requires-Python"])
    requirements = [Requirement(line) for line in importlib.metadata.requires("tfx-rcnn") or []]
    extras = ("", "dev", "mlflow", "onnx", "sagemaker")
    locks = {extra: read_lock(f"{lane}.txt", python) for extra in extras}
    for extra, lock in locks.items():
        asked = [
            need
            for need in requirements
            if need.marker is None or need.marker.evaluate(environment(python, extra))
        ]
        assert len(asked) > 20
        missing = [str(need) for need in asked if need.name.lower() not in lock]
        assert missing == []
        wrong = [
            str(need)
            for need in asked
            if not need.specifier.contains(lock[need.name.lower()], True)
        ]
        assert wrong == []


def test_the_lock_is_what_is_installed() -> None:
    lock = read_lock(f"{LANE_HERE}.txt", HERE)
    assert len(lock) > 200
    assert {name: importlib.metadata.version(name) for name in lock} == lock


def test_no_process_compiles_what_is_installed() -> None:
    for package in ("apache_beam", "tensorflow", "tfx"):
        spec = importlib.util.find_spec(package)
        assert spec and spec.cached and Path(spec.cached).is_file()


@pytest.mark.parametrize("lane", ["legacy", "modern"])
def test_what_trains_is_a_part_of_the_lane_without_tfx(lane: str) -> None:
    python = {"legacy": "3.10", "modern": "3.13"}[lane]
    part, whole = read_lock(f"{lane}-train.txt", python), read_lock(f"{lane}.txt", python)
    assert part.items() <= whole.items()
    assert {"tensorflow", "apache-beam", "pycocotools"} <= part.keys()
    assert not {"tfx", "ml-metadata", "tensorflow-data-validation"} & part.keys()
