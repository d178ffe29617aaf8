"""What scripts/setup.sh keeps of LANE, TFX_RCNN_GPU and TFX_RCNN_PACKAGES for its next run."""

import shutil
from pathlib import Path

import pytest

from tests.setup_checkout import (
    Checkout,
    make_tools,
    run_setup,
    write_glibc,
    write_program,
    write_python,
)

TRAIN = {"TFX_RCNN_PACKAGES": "train"}
CUDA = {"TFX_RCNN_GPU": "yes"}
LEGACY = {"LANE": "legacy"}
NO_CUDA = {"TFX_RCNN_GPU": "no"}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout on a system that takes the modern lane, and has the legacy one's Python too."""
    made = Checkout(tmp_path, make_tools(tmp_path / "tools"))
    write_glibc(made.tools, "2.41")
    write_python(made.path[0], "3.13")
    return made


def change_locks(checkout: Checkout) -> None:
    for lock in (checkout.root / "requirements").glob("*.txt"):
        lock.write_text(f"{lock.read_text()}one-more==1.0\n")


def add_gpu(checkout: Checkout) -> Path:
    return write_program(checkout.path[0] / "nvidia-smi", "#!/bin/sh\n")


@pytest.mark.parametrize(
    ("given", "locks", "said"),
    [
        (CUDA, ["modern.txt", "modern-gpu.txt"], "modern lane (Python 3.13 3.12): glibc 2.41 and a "
         "Python 3.13 or 3.12; TFX_RCNN_GPU=yes as last time"),
        (LEGACY, ["legacy.txt"], "legacy lane (Python 3.10): LANE=legacy as last time"),
        (TRAIN, ["modern-train.txt"], "modern lane (Python 3.13 3.12): glibc 2.41 and a Python "
         "3.13 or 3.12; TFX_RCNN_PACKAGES=train as last time"),
        (LEGACY | CUDA | TRAIN, ["legacy-train.txt", "legacy-gpu.txt"], "legacy lane (Python 3.10)"
         ": LANE=legacy as last time; TFX_RCNN_GPU=yes as last time; TFX_RCNN_PACKAGES=train as "
         "last time"),
    ],
)  # fmt: skip
def test_the_next_run_stays_with_what_was_chosen(checkout: Checkout, given, locks, said) -> None:
    first, _ = checkout.setup(**given)
    assert first.returncode == 0 and "as last time" not in first.stderr
    assert checkout.locks() == locks
    result, calls = checkout.setup()
    assert (result.returncode, result.stderr, calls) == (0, "", [])
    assert checkout.setup(**dict.fromkeys(given, ""))[1] == []  # empty is as not set
    change_locks(checkout)
    result, calls = checkout.setup()
    assert (result.returncode, calls) == (0, ["pip sync", "pip install"])
    assert checkout.locks() == locks
    assert result.stderr.splitlines()[0] == f"setup: {said}"


def test_only_the_lane_is_said_where_it_is_asked_for(checkout: Checkout) -> None:
    checkout.setup(**LEGACY, **CUDA)
    asked = run_setup(checkout.root / "scripts/setup.sh", "--lane", path=checkout.path)
    assert asked.stdout == "legacy: LANE=legacy as last time\n"


@pytest.mark.parametrize(
    ("first", "then", "locks"),
    [
        (CUDA, NO_CUDA, ["modern.txt"]),
        (CUDA, {"TFX_RCNN_GPU": "auto"}, ["modern.txt"]),
        (LEGACY, {"LANE": "modern"}, ["modern.txt"]),
        (LEGACY, {"LANE": "auto"}, ["modern.txt"]),
        (TRAIN, {"TFX_RCNN_PACKAGES": "all"}, ["modern.txt"]),
        (CUDA | TRAIN, {"TFX_RCNN_PACKAGES": "all"}, ["modern.txt", "modern-gpu.txt"]),
    ],
)
def test_what_is_given_now_wins_and_stays(checkout: Checkout, first, then, locks) -> None:
    checkout.setup(**first)
    result, _ = checkout.setup(**then)
    [name] = then
    assert result.returncode == 0 and f"{name}={first[name]}" not in result.stderr
    assert checkout.locks() == locks
    assert checkout.setup()[1] == []


def test_auto_chooses_anew_each_time(checkout: Checkout) -> None:
    checkout.setup(**NO_CUDA)
    checkout.setup(TFX_RCNN_GPU="auto", LANE="auto")
    add_gpu(checkout)
    assert checkout.setup()[0].returncode == 0
    assert checkout.locks() == ["modern.txt", "modern-gpu.txt"]


def test_a_choice_that_changes_nothing_is_kept_too(checkout: Checkout) -> None:
    tool = add_gpu(checkout)
    checkout.setup()
    assert checkout.setup(**CUDA)[1] == []
    tool.unlink()
    assert checkout.setup()[1] == []
    assert checkout.setup(TFX_RCNN_GPU="auto")[1] == ["pip sync", "pip install"]


def test_a_choice_whose_install_failed_is_tried_again(checkout: Checkout) -> None:
    assert checkout.setup("pip sync", **CUDA)[0].returncode == 1
    result, calls = checkout.setup()
    assert (result.returncode, calls) == (0, ["venv", "pip sync", "pip install"])
    assert checkout.locks() == ["modern.txt", "modern-gpu.txt"]


def test_an_environment_that_is_gone_forgets(checkout: Checkout) -> None:
    checkout.setup(**LEGACY, **CUDA)
    shutil.rmtree(checkout.root / ".venv")
    result, _ = checkout.setup()
    assert "as last time" not in result.stderr
    assert checkout.locks() == ["modern.txt"]


def test_a_kept_lane_that_cannot_run_here_is_refused(checkout: Checkout) -> None:
    checkout.setup(LANE="modern")
    write_glibc(checkout.tools, "2.36")
    refused, calls = checkout.setup()
    assert (refused.returncode, calls) == (1, [])
    assert refused.stderr.startswith("setup: LANE=modern as last time needs glibc 2.39 or later")
    assert checkout.setup(**LEGACY)[0].returncode == 0


def test_a_refused_value_is_not_kept(checkout: Checkout) -> None:
    checkout.setup(**CUDA)
    assert checkout.setup(TFX_RCNN_GPU="maybe")[0].returncode == 1
    assert checkout.setup()[1] == []
