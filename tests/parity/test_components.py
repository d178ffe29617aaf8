"""The parity checks of single functions, as tests."""

import pytest

from tests.parity.components import CHECKS, stored_components


@pytest.fixture(scope="module")
def stored(shared_data):
    return stored_components(shared_data / "parity")


@pytest.mark.parametrize("part", CHECKS)
def test_part_agrees_with_torchvision(stored, part):
    checks = list(CHECKS[part](stored))
    failed = [f"{check.name}: {check.detail}" for check in checks if not check.passes]
    assert checks and not failed
