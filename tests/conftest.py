"""What all tests share: the hypothesis profile, the shared data folder, the GPU mark, a browser."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.browser import Browser, Page

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


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """The system's headless Chromium; a test that needs it is skipped where there is none."""
    from tests.browser import Browser, find_chromium

    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium here: scripts/chromium.sh installs Debian's")
    browser = Browser(executable)
    yield browser
    browser.close()


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[Callable[..., "Page"]]:
    """Opens pages as `Browser.open` does, and closes them after the test."""
    pages: list[Page] = []

    def open_one(*arguments: object, **named: object) -> "Page":
        pages.append(browser.open(*arguments, **named))
        return pages[-1]

    yield open_one
    for page in pages:
        page.close()
