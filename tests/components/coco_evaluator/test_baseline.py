"""Which models that were pushed before the baseline a drop is counted against."""

import pytest

from components.coco_evaluator.baseline import older_versions
from components.model_pusher.registry import push
from components.model_pusher.rollback import roll_back
from model.model_folder import files_digest
from tests.components.model_pusher.fake_model import damage, write_fake_model


@pytest.fixture
def serve(tmp_path):
    """Pushes models by their ids, one after the other; returns the folder of the versions."""

    def push_all(*model_ids):
        for model_id in model_ids:
            model = tmp_path / "models" / model_id
            if not model.exists():
                write_fake_model(model, model_id, weights=model_id.encode())
            push(model, tmp_path / "serving", "cells", files_digest(model))
        return tmp_path / "serving/cells"

    return push_all


@pytest.mark.parametrize(
    ("pushed", "baseline", "candidate", "count", "older"),
    [
        (["aa", "bb", "cc"], 3, "new", 2, [2, 1]),
        (["aa", "bb", "cc"], 3, "new", 1, [2]),
        (["aa", "bb", "cc"], 3, "new", 0, []),
        (["aa", "bb", "cc"], 3, "bb", 2, [1]),  # the candidate itself
        (["aa", "bb", "aa", "cc"], 4, "new", 5, [3, 2]),  # each model once
        # The Resolver names a model by its first push: what lies between has been pushed since.
        (["aa", "bb", "aa"], 1, "new", 2, [2]),
        (["aa", "bb", "new", "aa"], 1, "new", 2, []),  # as on the candidate's first run
        (["aa", "bb", "aa", "new", "cc", "aa"], 1, "new", 2, [2]),
    ],
)
def test_each_older_model_counts_once(serve, pushed, baseline, candidate, count, older):
    served = serve(*pushed)

    found = older_versions(served / str(baseline), count, candidate)

    assert [int(path.name) for path in found] == older


def test_what_was_rolled_back_from_or_is_damaged_counts_for_nothing(serve):
    served = serve("aa", "bb", "cc", "dd")
    damage("weights cut", served / "1")
    roll_back(served.parent, "cells", 2)

    assert older_versions(served / "2", 5, "new") == []
    served = serve("ee")
    assert [path.name for path in older_versions(served / "6", 5, "new")] == ["5"]


def test_a_model_elsewhere_has_none_before_it(tmp_path):
    assert older_versions(write_fake_model(tmp_path / "model"), 5, "new") == []
