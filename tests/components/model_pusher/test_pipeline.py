"""Resolver, gate and pusher in a real local pipeline, run after run."""

import warnings

import pytest

pytestmark = pytest.mark.e2e


class Runs:
    """A pipeline of fake trainer, resolver, fake evaluator and the real pusher."""

    def __init__(self, root):
        self.root = root
        self._seen = 0

    def run(self, model_id, refuse=False):
        """Runs it once; returns (node -> "ran" or "cached", what the model was compared with)."""
        from ml_metadata.metadata_store import MetadataStore
        from ml_metadata.proto import metadata_store_pb2 as mlmd
        from tfx.dsl.components.common.resolver import Resolver
        from tfx.orchestration.local.local_dag_runner import LocalDagRunner
        from tfx.orchestration.metadata import sqlite_metadata_connection_config
        from tfx.orchestration.pipeline import Pipeline
        from tfx.types.channel import Channel
        from tfx.types.standard_artifacts import PushedModel

        from components.model_pusher.baseline import NewestPushedModelStrategy
        from components.model_pusher.component import ModelPusher
        from tests.components.model_pusher.fake_components import Judge, MakeModel

        trainer = MakeModel(model_id)
        resolver = Resolver(
            strategy_class=NewestPushedModelStrategy,
            model=trainer.outputs["model"],
            pushed_model=Channel(type=PushedModel),
        ).with_id("Resolver")
        judge = Judge(trainer.outputs["model"], resolver.outputs["pushed_model"], int(refuse))
        pusher = ModelPusher(
            model=trainer.outputs["model"],
            model_blessing=judge.outputs["blessing"],
            push_folder=str(self.root / "serving"),
            model_name="cells",
        )
        connection = sqlite_metadata_connection_config(str(self.root / "metadata.sqlite"))
        LocalDagRunner().run(
            Pipeline(
                pipeline_name="cells",
                pipeline_root=str(self.root / "artifacts"),
                metadata_connection_config=connection,
                components=[trainer, resolver, judge, pusher],
                enable_cache=True,
            )
        )
        store = MetadataStore(connection)
        types = {t.id: t.name.rpartition(".")[2] for t in store.get_execution_types()}
        new = [e for e in store.get_executions() if e.id > self._seen]
        self._seen = max(e.id for e in new)
        new = [e for e in new if types[e.type_id] not in ("Rollback", "OtherPush")]  # no nodes
        states = {
            types[e.type_id]: "cached" if e.last_known_state == mlmd.Execution.CACHED else "ran"
            for e in new
        }
        judged = next(e for e in new if types[e.type_id] == "Judge")
        outputs = [
            e.artifact_id
            for e in store.get_events_by_execution_ids([judged.id])
            if e.type == mlmd.Event.OUTPUT
        ]
        (blessing,) = store.get_artifacts_by_id(outputs)
        del states["Resolver"]  # it has no cache of its own
        return states, blessing.custom_properties["compared_with"].string_value

    def pushed(self):
        from components.model_pusher.registry import pushed_versions

        return [p.model_id for p in pushed_versions(self.root / "serving", "cells")]


@pytest.fixture
def runs(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TFX's own, and those of what it imports
        yield Runs(tmp_path)


ALL_RAN = {"MakeModel": "ran", "Judge": "ran", "ModelPusher": "ran"}
ALL_CACHED = dict.fromkeys(ALL_RAN, "cached")


def test_a_rerun_is_cached_and_a_new_candidate_meets_the_pushed_model(runs):
    assert runs.run("aa") == (ALL_RAN, "nothing")
    assert runs.pushed() == ["aa"]

    # The candidate is pushed by now, and is still not its own baseline.
    assert runs.run("aa") == (ALL_CACHED, "nothing")
    assert runs.pushed() == ["aa"]

    assert runs.run("bb") == (ALL_RAN, "aa")
    assert runs.run("bb") == (ALL_CACHED, "aa")
    assert runs.pushed() == ["aa", "bb"]

    # Refused: not pushed, and no baseline for the next one.
    assert runs.run("cc", refuse=True) == (ALL_RAN, "bb")
    assert runs.pushed() == ["aa", "bb"]
    assert runs.run("dd") == (ALL_RAN, "bb")

    # Back to an old one: what was older than it is what it was compared with.
    assert runs.run("bb") == (ALL_CACHED, "aa")


def test_a_withdrawn_version_is_no_baseline(runs):
    runs.run("aa")
    runs.run("bb")
    version = runs.root / "serving/cells/2"
    version.rename(version.with_name("withdrawn-2"))

    assert runs.run("cc")[1] == "aa"


def test_after_a_rollback_the_older_model_is_what_candidates_meet(runs):
    from components.model_pusher.rollback import roll_back
    from pipeline.local.versions_record import record_versions

    runs.run("aa")
    runs.run("bb")
    roll_back(runs.root / "serving", "cells", 1)
    assert runs.run("cc", refuse=True)[1] == "aa"  # before MLMD knows of it: by the versions

    assert record_versions(runs.root / "metadata.sqlite", runs.root / "serving", "cells") == [3]
    assert runs.run("dd") == (ALL_RAN, "aa")
    assert runs.pushed() == ["aa", "bb", "aa", "dd"]

    # What was rolled back from comes out of the cache and is not pushed again.
    assert runs.run("bb") == (ALL_CACHED, "aa")
    assert runs.pushed() == ["aa", "bb", "aa", "dd"]


def test_what_another_root_pushed_is_what_candidates_meet(runs, tmp_path):
    from components.model_pusher.registry import push
    from model.model_folder import files_digest
    from pipeline.local.versions_record import record_versions
    from tests.components.model_pusher.fake_model import write_fake_model

    other = write_fake_model(tmp_path / "other", "xx")
    push(other, runs.root / "serving", "cells", files_digest(other))
    # Before any run: MLMD's file is made, with TFX's own types.
    assert record_versions(runs.root / "metadata.sqlite", runs.root / "serving", "cells") == [1]

    assert runs.run("aa") == (ALL_RAN, "xx")
    assert runs.run("bb") == (ALL_RAN, "aa")
