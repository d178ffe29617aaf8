"""Full-size files under Detectron2's and tensorpack's names give torchvision's detections.

The fixtures' state dict of torchvision is renamed and reordered by tests/model/weights/
published_names.py, which shares nothing with the readers, and read as any file of that kind; the
model's conventions are torchvision's, as the stored numbers are.
"""

import numpy as np
import pytest

from model.detector import build_detector
from model.weights.files import load_start_weights
from tests.model.weights.published_names import as_detectron2, as_tensorpack
from tests.parity.models import NUM_CLASSES, Fixture, detection_checks, torchvision_config


@pytest.fixture(scope="module")
def fixture(shared_data):
    return Fixture(shared_data / "parity")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["faster", "mask"])
@pytest.mark.parametrize(
    ("source", "rename"), [("detectron2", as_detectron2), ("tensorpack", as_tensorpack)]
)
def test_files_of_others_give_torchvisions_detections(fixture, tmp_path, kind, source, rename):
    state = fixture.state_dict(kind)
    np.savez(tmp_path / "theirs.npz", **rename(state))
    detector = build_detector(torchvision_config(kind == "mask", False), NUM_CLASSES, seed=7)
    report = load_start_weights(detector, tmp_path / "theirs.npz")
    assert (report.kind, report.initial, report.restarted) == (source, [], [])
    assert report.left_over == []
    checks = list(detection_checks(source, fixture, kind, detector))
    failed = [f"{check.name}: {check.detail}" for check in checks if not check.passes]
    assert len(checks) > 50 and not failed
