"""python -m tests.parity: its lines and exit statuses."""

import numpy as np
import pytest
from click.testing import CliRunner

from tests.parity import components
from tests.parity.__main__ import _FILES, main


@pytest.fixture
def folder(shared_data, tmp_path, monkeypatch):
    """A folder of fixtures of which only the clipping of boxes is compared."""
    monkeypatch.setattr(components, "CHECKS", {"clip": components.CHECKS["clip"]})
    for name in _FILES:
        (tmp_path / name).symlink_to(shared_data / "parity" / name)
    return tmp_path


def run(folder):
    return CliRunner().invoke(main, [str(folder), "--only", "components"])


def test_equal_numbers_pass(folder):
    result = run(folder)
    lines = result.output.splitlines()
    assert result.exit_code == 0 and lines[-1] == "5 passed, 0 failed"
    assert all(line.startswith("pass  clip/") for line in lines[:-1])


def test_one_wrong_number_fails(folder):
    stored = components.stored_components(folder)
    stored["clip/clipped"][3, 2] += 1
    (folder / "components.npz").unlink()
    np.savez(folder / "components.npz", **stored)
    result = run(folder)
    assert result.exit_code == 1 and result.output.endswith("2 passed, 3 failed\n")
    assert "FAIL  clip/clipped (jit): off by 1 (" in result.output


def test_another_folder_is_refused(tmp_path):
    result = run(tmp_path)
    assert result.exit_code == 2 and "components.npz is missing" in result.output
