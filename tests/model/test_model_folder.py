"""Where a folder has its SavedModel, and what is said where it has none."""

import pytest

from ground.errors import ModelError
from model.model_folder import find_saved_model


def test_a_runs_root_says_where_it_serves_models_from(tmp_path):
    version = tmp_path / "serving" / "cells" / "2"
    version.mkdir(parents=True)
    with pytest.raises(ModelError, match="; expected an exported one"):
        find_saved_model(tmp_path)
    (version / "saved_model.pb").touch()
    with pytest.raises(ModelError, match=f"; it serves some from {version.parent}$"):
        find_saved_model(tmp_path)
    assert find_saved_model(version.parent) == version
