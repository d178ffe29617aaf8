"""The executor on real artifacts: what the blessing is about is what is pushed."""

import warnings

import pytest

from components.model_pusher.registry import pushed_versions
from ground.errors import RefusedError
from model.model_folder import files_digest
from tests.components.model_pusher.fake_model import write_fake_model

pytestmark = pytest.mark.e2e  # TFX's import takes seconds


@pytest.fixture
def push(tmp_path):
    """Runs the executor on a blessing about a digest; returns the PushedModel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what TFX imports
        from tfx.dsl.components.base.base_executor import BaseExecutor
        from tfx.types import standard_artifacts

        from components.model_pusher.executor import Executor

    def run(model, digest, blessed=1):
        artifacts = {
            "model": standard_artifacts.Model(),
            "model_blessing": standard_artifacts.ModelBlessing(),
            "pushed_model": standard_artifacts.PushedModel(),
        }
        for key, artifact in artifacts.items():
            artifact.uri = str(model if key == "model" else tmp_path / key)
        artifacts["model_blessing"].set_int_custom_property("blessed", blessed)
        if digest:
            artifacts["model_blessing"].set_string_custom_property("model_digest", digest)
        pushed = artifacts.pop("pushed_model")
        Executor(BaseExecutor.Context(tmp_dir=str(tmp_path))).Do(
            {key: [artifact] for key, artifact in artifacts.items()},
            {"pushed_model": [pushed]},
            {"push_folder": str(tmp_path / "serving"), "model_name": "cells"},
        )
        return pushed

    return run


def test_what_was_evaluated_is_pushed(tmp_path, push):
    model = write_fake_model(tmp_path / "model")

    pushed = push(model, files_digest(model))

    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_version") == "1"


def test_what_is_not_blessed_is_not_pushed(tmp_path, push):
    model = write_fake_model(tmp_path / "model")

    pushed = push(model, files_digest(model), blessed=0)

    assert pushed.get_int_custom_property("pushed") == 0
    assert pushed_versions(tmp_path / "serving", "cells") == []


@pytest.mark.parametrize(("digest", "message"), [("0" * 64, "not those"), ("", "does not say")])
def test_a_blessing_of_other_files_pushes_nothing(tmp_path, push, digest, message):
    with pytest.raises(RefusedError, match=message):
        push(write_fake_model(tmp_path / "model"), digest)

    assert pushed_versions(tmp_path / "serving", "cells") == []
