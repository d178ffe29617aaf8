"""What `tfx-rcnn run` checks before TFX is loaded."""

from pathlib import Path

import pytest

from configs.loader import load_config
from ground.errors import ConfigError
from ground.source_digest import SOURCE_ROOT
from pipeline.local import commands, runner
from pipeline.local.run_folder import RunFolder
from pipeline.shapes import generate_shapes

EIGHT = ["train.batch=8x2", "train.fewer_gpus=refuse"]


@pytest.mark.parametrize(
    ("request_", "has_trained", "is_refused"),
    [
        ({}, False, True),
        ({"to_node": "DetectionTrainer"}, False, True),
        ({"from_node": "CocoTransform"}, False, True),
        ({"to_node": "CocoTransform"}, False, False),
        ({"from_node": "CocoEvaluator"}, False, False),
        ({"dry_run": True}, False, False),
        ({}, True, False),  # it may come from the cache
    ],
)
def test_workers_are_counted_where_a_training_begins(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request_: dict[str, object],
    has_trained: bool,
    is_refused: bool,
) -> None:
    one_gpu = {"CUDA_VISIBLE_DEVICES": "0"}
    monkeypatch.setattr("model.launch.gpus.usable_environment", lambda *_: one_gpu)
    asked = []
    monkeypatch.setattr(runner, "run_pipeline", lambda *_, **request: asked.append(request) or {})
    generate_shapes(tmp_path / "data", 2, 2, 0, 48)
    config = load_config(SOURCE_ROOT / "configs/tiny.yaml", EIGHT)
    root = tmp_path / "root"
    if has_trained:
        with RunFolder(root).locked():
            (root / "artifacts/DetectionTrainer/model/7").mkdir(parents=True)
    if is_refused:
        with pytest.raises(ConfigError, match="asks for 8 workers, but there is 1 GPU"):
            commands._run(config, tmp_path / "data", root, False, request_)
    else:
        commands._run(config, tmp_path / "data", root, False, request_)
    assert asked == ([] if is_refused else [request_])
