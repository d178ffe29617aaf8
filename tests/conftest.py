"""What all tests share: the hypothesis profile, the shared data folder, the GPU mark."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

REPO = Path(__file__).resolve().parents[1]

# Before any test imports TensorFlow: its start-up lines drown the failures.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# The same examples in every run, however slow the machine.
settings.register_profile("tfx-rcnn", derandomize=True, deadline=None, database=None)
settings.load_profile("tfx-rcnn")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if Path("/proc/driver/nvidia/version").exists():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU: no driver here"))


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the checkout."""
    return REPO


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared test data; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get("TFX_RCNN_DATA") or REPO / "../shared/data").resolve()
    if not folder.is_dir():
        pytest.skip(f"no shared test data: {folder} is no folder (set TFX_RCNN_DATA)")
    return folder
