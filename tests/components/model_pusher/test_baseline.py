"""Which pushed model the Resolver names: what is gone, and what is there and cannot be used."""

import shutil
import warnings

import pytest

from model.model_folder import files_digest
from tests.components.model_pusher.fake_model import DAMAGES, damage, write_fake_model

pytestmark = pytest.mark.e2e  # TFX's import takes seconds


@pytest.fixture(scope="module")
def tfx():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what TFX imports
        from tfx.types import standard_artifacts

        from components.model_pusher import baseline
    return standard_artifacts, baseline


class Served:
    """Models that were pushed one after the other, each by an artifact."""

    def __init__(self, tfx, root):
        self.artifacts, self.module = tfx
        self.root = root
        self.pushed = []

    def push(self, *model_ids):
        from components.model_pusher.registry import push

        for model_id in model_ids:
            model = self.root / "models" / model_id
            if not model.exists():
                write_fake_model(model, model_id, weights=model_id.encode())
            version, _ = push(model, self.root / "serving", "cells", files_digest(model))
            artifact = self.artifacts.PushedModel()
            artifact.id = 10 + len(self.pushed)
            artifact.set_int_custom_property("pushed", 1)
            artifact.set_string_custom_property("pushed_destination", str(version.path))
            artifact.set_string_custom_property("model_id", model_id)
            self.pushed.append(artifact)

    def folder(self, version):
        return self.root / "serving/cells" / str(version)

    def baseline(self, monkeypatch, **settings):
        """Returns the artifact ids that a new candidate is compared with."""
        candidate = self.artifacts.Model()
        candidate.id, candidate.uri = 100, str(self.root / "candidate")
        if not (self.root / "candidate").exists():
            write_fake_model(self.root / "candidate", "candidate")
        monkeypatch.setattr(self.module, "_model_order", lambda store, pushed: pushed.id)
        strategy = self.module.NewestPushedModelStrategy(**settings)
        inputs = {"model": [candidate], "pushed_model": self.pushed}
        return [p.id for p in strategy.resolve_artifacts(None, inputs)["pushed_model"]]


@pytest.fixture
def served(tfx, tmp_path):
    served = Served(tfx, tmp_path)
    served.push("aa", "bb")
    return served


def test_the_newest_is_named_by_its_first_push(served, monkeypatch):
    assert served.baseline(monkeypatch) == [11]
    served.push("aa")
    assert served.baseline(monkeypatch) == [10]


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_version_that_cannot_be_used_is_not_stepped_over(served, monkeypatch, kind):
    damage(kind, served.folder(2))

    assert served.baseline(monkeypatch) == [11]
    assert served.baseline(monkeypatch, skip_unusable=True) == [10]


def test_a_version_that_is_gone_or_holds_another_model_is_withdrawn(served, monkeypatch):
    served.folder(2).rename(served.root / "elsewhere")
    assert served.baseline(monkeypatch) == [10]

    shutil.copytree(served.folder(1), served.folder(2))
    assert served.baseline(monkeypatch) == [10]


def test_a_version_that_became_a_file_or_a_dead_link_is_not_gone(served, monkeypatch):
    shutil.rmtree(served.folder(2))
    served.folder(2).write_text("")
    assert served.baseline(monkeypatch) == [11]

    served.folder(2).unlink()
    served.folder(2).symlink_to(served.root / "nowhere")
    assert served.baseline(monkeypatch) == [11]


def test_a_damaged_first_push_does_not_hide_a_sound_later_one(served, monkeypatch):
    served.push("aa")
    damage("weights cut", served.folder(1))
    assert served.baseline(monkeypatch) == [12]


def test_nothing_pushed_is_no_baseline(tfx, tmp_path, monkeypatch):
    assert Served(tfx, tmp_path).baseline(monkeypatch) == []


def test_a_version_that_was_rolled_back_from_is_left_out(served, monkeypatch):
    from components.model_pusher.rollback import roll_back

    served.push("cc")
    roll_back(served.root / "serving", "cells", 1)
    assert served.baseline(monkeypatch) == [10]  # also where MLMD does not know of it

    served.push("dd")
    assert served.baseline(monkeypatch) == [13]
    damage("weights cut", served.folder(5))
    assert served.baseline(monkeypatch, skip_unusable=True) == [10]
