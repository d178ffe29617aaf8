"""Which workers need the file that a training starts from."""

from types import SimpleNamespace

import pytest

from configs.loader import default_config
from model.launch.job import TrainingJob
from model.launch.worker import run_training
from model.training_settings import TrainingSettings


class Built(Exception):
    """Ends the worker once its parts would be built."""


@pytest.mark.parametrize(("is_chief", "weights"), [(True, "start.npz"), (False, None)])
def test_only_the_chief_reads_the_start_weights(is_chief, weights):
    config = TrainingSettings.of(default_config(["model.weights=start.npz"]))
    job = TrainingJob(config.to_json(), "E", "W", "C", "key", "M", threads=0)

    def build_parts(job, precision, jit):
        expected = config.model_copy(
            update={"model": config.model.model_copy(update={"weights": weights})}
        )
        assert job.config == expected
        assert job.key == "key"
        raise Built

    status = SimpleNamespace(beat=lambda phase: None)
    with pytest.raises(Built):
        run_training(job, SimpleNamespace(is_chief=is_chief), status, lambda: False, build_parts)
