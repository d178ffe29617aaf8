import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from configs.model_schema import BackboneConfig
from ground import progress
from ground.errors import ModelError
from model.detector import build_detector
from model.weights import files
from model.weights.files import (
    KINDS,
    check_start_weights,
    load_start_weights,
    read_weights,
    weights_digest,
)
from model.weights.torchvision import to_torchvision
from tests.model.small_detector import small_config


def build(path=None, num_classes=3, **sections):
    config = small_config(weights=str(path) if path else None, **sections)
    config = config.model_copy(
        update={"backbone": config.backbone.model_copy(update={"norm": "frozen_batch_norm"})}
    )
    return build_detector(config, num_classes, seed=1 if path is None else 2)


@pytest.fixture(scope="module")
def weights():
    return build().export_weights()


def test_starts_from_a_file_of_ours(weights, tmp_path):
    np.savez(tmp_path / "start.npz", **weights)
    save_file({f"weights/{k}": v for k, v in weights.items()}, tmp_path / "start.safetensors")
    for name in ("start.npz", "start.safetensors"):
        started = build(tmp_path / name).export_weights()
        for path, array in weights.items():
            np.testing.assert_array_equal(started[path], array)


def test_how_far_a_file_of_many_arrays_is_set_is_told(weights, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(files, "say_or_log", lambda line, values: lines.append(line))
    save_file(weights, tmp_path / "start.safetensors")
    build(tmp_path / "start.safetensors")
    number = len(weights)
    assert lines[0].startswith(f"setting weights: 1/{number} arrays")
    assert re.fullmatch(rf"setting weights: {number - 1}/{number} arrays, .* left", lines[-2])


def test_starts_a_backbone_from_a_classifier(weights, tmp_path):
    state = to_torchvision({k: v for k, v in weights.items() if k.startswith("backbone/")})
    classifier = {k.removeprefix("backbone.body."): v for k, v in state.items()}
    np.savez(tmp_path / "resnet.npz", **classifier, **{"fc.weight": np.zeros((10, 64))})
    started = build(tmp_path / "resnet.npz").export_weights()
    for path, array in weights.items():
        if path.startswith("backbone/"):
            np.testing.assert_array_equal(started[path], array)
    assert np.abs(started["rpn/conv/kernel"] - weights["rpn/conv/kernel"]).max() > 0


def test_starts_efficientnet_lite_from_its_classifier(shared_data):
    path = shared_data / "weights/efficientnet_lite0_imagenet.npz"
    backbone = BackboneConfig(name="efficientnet_lite0")
    detector = build_detector(small_config(backbone=backbone), 3)
    report = load_start_weights(detector, path)
    assert report.kind == "efficientnet_lite"
    # The stem, 16 blocks of 3 convolutions but for the first, which widens nothing; their norms.
    assert len(report.loaded) == (1 + 16 * 3 - 1) * 5
    assert all(path.startswith("backbone/") for path in report.loaded)
    assert not any(path.startswith("backbone/") for path in report.initial)
    assert {name.split("/")[0] for name in report.left_over} == {"head", "classifier"}
    started, stored = detector.export_weights(), np.load(path)
    np.testing.assert_array_equal(
        started["backbone/block07/expand/norm/moving_mean"], stored["block07/expand/bn/mean"]
    )


@pytest.mark.parametrize("theirs", [False, True])
def test_layers_of_other_classes_start_anew(weights, tmp_path, theirs):
    stored = weights
    if theirs:
        # torchvision's box head has 7 x 7 bins, this one 3 x 3.
        stored = {k: v for k, v in weights.items() if not k.startswith("box_head/fc1/kernel")}
        stored = to_torchvision(stored)
    np.savez(tmp_path / "start.npz", **stored)
    started = build(tmp_path / "start.npz", num_classes=5).export_weights()
    np.testing.assert_array_equal(started["box_head/fc2/kernel"], weights["box_head/fc2/kernel"])
    assert started["box_head/class_logits/kernel"].shape == (16, 6)
    assert np.abs(started["box_head/class_logits/kernel"]).max() > 0


def test_the_mask_section_may_be_dropped_and_added(weights, tmp_path):
    of_masks = {path for path in weights if path.startswith("mask_head/")}
    np.savez(tmp_path / "masks.npz", **weights)
    boxes_only = build(mask_head=None)
    report = load_start_weights(boxes_only, tmp_path / "masks.npz")
    assert (report.initial, set(report.left_over)) == ([], of_masks)
    np.savez(tmp_path / "boxes.npz", **boxes_only.export_weights())
    report = load_start_weights(with_masks := build(), tmp_path / "boxes.npz")
    assert (set(report.initial), report.left_over) == (of_masks, [])
    for path, array in with_masks.export_weights().items():
        if path not in of_masks:
            np.testing.assert_array_equal(array, weights[path])


def test_what_does_not_fit_is_refused(weights, tmp_path):
    np.savez(tmp_path / "other.npz", **(weights | {"fpn/lateral_c2/bias": np.zeros(9)}))
    with pytest.raises(ModelError, match=r"fpn/lateral_c2/bias .*\[9\].*\[8\]"):
        build(tmp_path / "other.npz")
    np.savez(tmp_path / "nothing.npz", a=np.zeros(1))
    with pytest.raises(ModelError, match=r"nothing\.npz has the name"):
        build(tmp_path / "nothing.npz")


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"s3://b/w\.npz\?sig=\*\*\*: is an address: fetch"):
        read_weights("s3://b/w.npz?sig=hunter2")
    with pytest.raises(ModelError, match=r"no file .*absent\.npz$"):
        read_weights(tmp_path / "absent.npz")
    with pytest.raises(ModelError, match=r"weights\.bin must be a file of \.npz, \.safetensors"):
        read_weights(tmp_path / "weights.bin")
    np.savez(tmp_path / "objects.npz", a=np.array([print], object))
    with pytest.raises(ModelError, match=r"objects\.npz.*allow_pickle=False"):
        read_weights(tmp_path / "objects.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK nonsense")
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    for name in ("bad.npz", "bad.safetensors"):
        with pytest.raises(ModelError, match=f"cannot read .*{name}"):
            read_weights(tmp_path / name)


def test_start_weights_are_a_file_that_is_there_or_none(tmp_path):
    for weights in (None, "imagenet"):
        check_start_weights(weights)
        assert weights_digest(weights) == ""
    absent = str(tmp_path / "w.npz")
    with pytest.raises(ModelError, match=r"no file .*w\.npz"):
        check_start_weights(absent)
    assert weights_digest(absent) == ""
    np.savez(absent, a=np.zeros(1))
    check_start_weights(absent)
    before = weights_digest(absent)
    np.savez(absent, a=np.ones(1))
    assert weights_digest(absent) not in ("", before)


def test_the_page_has_a_row_for_each_kind(repo):
    page = (repo / "docs/weights.md").read_text()
    rows = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(KINDS)
