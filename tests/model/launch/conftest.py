"""What the tests of whole runs share: no GPU, and one run that is never cut off."""

import pytest

from tests.model.launch.runs import Checkpoint, final_checkpoint
from tests.model.training.tiny_run import launch, resumed_config


@pytest.fixture
def no_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("TF_CONFIG", raising=False)


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory) -> Checkpoint:
    """The last checkpoint of 2x2, 30 steps, in one go."""
    out = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        result = launch(out, resumed_config("2x2", 30))
    return final_checkpoint(result.checkpoints_dir)
