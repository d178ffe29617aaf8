"""The root of runs as TFX leaves it in MLMD: made by hand, in no time."""

import json
from pathlib import Path

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.model_pusher.registry import push
from configs.metric_names import METRIC_NAMES
from ground.files import json_digest
from model.model_folder import files_digest
from tests.components.model_pusher.fake_model import write_fake_model

TYPES = {
    "CocoExampleGen": "components.coco_example_gen.component.CocoExampleGen",
    "DetectionTrainer": "components.detection_trainer.component.DetectionTrainer",
    "CocoEvaluator": "components.coco_evaluator.component.CocoEvaluator",
    "ModelPusher": "components.model_pusher.component.ModelPusher",
}
SETTINGS = {"data": {"picture_prefix": ""}, "train": {"epochs": 2, "workers": [1, 2]}}


class FakeRoot:
    """A root with `metadata.sqlite`, artifacts and served models."""

    def __init__(self, root: Path, name: str = "cells"):
        self.root, self.name = root, name
        self.metadata = root / "metadata.sqlite"
        self.serving = root / "serving"
        root.mkdir(exist_ok=True)
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(self.metadata)
        config.sqlite.connection_mode = 3
        self.store = MetadataStore(config)
        self.runs = 0

    def run(self, model_id, ap=0.5, blessed=True, failed_in=None, settings=SETTINGS):
        """Adds a run of four nodes whose model is blessed and pushed, or refused."""
        self.runs += 1
        contexts = [
            self._context("pipeline", self.name),
            self._context("pipeline_run", f"2026-11-30T0{self.runs}:00:00.000000"),
        ]
        made = self._write(model_id, ap, blessed)
        model = self._artifact("Model", made["model"], model_id=model_id)
        nodes = {
            "CocoExampleGen": (
                {
                    "data_dir": "/data",
                    "pictures_digest": "d" * 64,
                    "settings": json.dumps(settings),
                },
                {"rejects": self._artifact("components.Rejects", made["rejects"])},
            ),
            "DetectionTrainer": ({"source_digest": "c" * 64}, {"model": model}),
            "CocoEvaluator": (
                {"settings": json.dumps({"evaluate": {"batch_size": self.runs}})},
                {
                    "evaluation": self._artifact("components.Evaluation", made["evaluation"]),
                    "blessing": self._artifact("ModelBlessing", made["evaluation"]),
                },
            ),
            "ModelPusher": (
                {"push_folder": str(self.serving), "model_name": self.name},
                {"pushed_model": self._pushed(made["model"], model_id, blessed)},
            ),
        }
        for node, (values, outputs) in nodes.items():
            is_last = node == failed_in
            self._execution(node, values, {} if is_last else outputs, contexts, is_last)
            if is_last:
                break

    def _write(self, model_id, ap, blessed):
        folder = self.root / "artifacts" / str(self.runs)
        model = write_fake_model(folder / "model", model_id, weights=model_id.encode())
        (folder / "evaluation").mkdir()
        numbers = dict.fromkeys(METRIC_NAMES, ap)
        metrics = {
            "box": numbers,
            "mask": None,
            "per_category": {"box": {"3": {"name": "cat", **numbers}}},
        }
        decision = {
            "blessed": blessed,
            "reason": "1 condition holds" if blessed else f"box/AP {ap:.4f} is below the minimum",
            "comparisons": [
                {"metric": "box/AP", "rule": "min", "setting": 0.3, "candidate": ap,
                 "baseline": None, "limit": 0.3, "passed": blessed, "note": "box/AP"}
            ],
            "findings": [],
            "narrowing": None,
            "model_id": model_id,
            "model_digest": files_digest(model),
        }  # fmt: skip
        decision |= {"digest": json_digest(decision)}
        counts = {"splits": {name: {"pictures": {"written": count}, "objects": {"written": 9}}
                             for name, count in (("train", 400), ("eval", 80))}}  # fmt: skip
        (folder / "evaluation/metrics.json").write_text(json.dumps(metrics))
        (folder / "evaluation/decision.json").write_text(json.dumps(decision))
        (folder / "rejects").mkdir()
        (folder / "rejects/counts.json").write_text(json.dumps(counts))
        return {name: folder / name for name in ("model", "evaluation", "rejects")}

    def _pushed(self, model, model_id, blessed):
        if not blessed:
            return self._artifact("PushedModel", self.root / "nothing", pushed=0)
        version, _ = push(model, self.serving, self.name, files_digest(model))
        return self._artifact(
            "PushedModel",
            self.root / f"pushed-{version.version}",
            pushed=1,
            pushed_destination=str(version.path),
            pushed_version=str(version.version),
            model_id=model_id,
        )

    def _context(self, kind, name):
        type_id = self.store.put_context_type(mlmd.ContextType(name=kind), can_add_fields=True)
        found = self.store.get_context_by_type_and_name(kind, name)
        if found is None:
            self.store.put_contexts([mlmd.Context(type_id=type_id, name=name)])
            found = self.store.get_context_by_type_and_name(kind, name)
        return found

    def _artifact(self, kind, uri, **values):
        type_id = self.store.put_artifact_type(mlmd.ArtifactType(name=kind), can_add_fields=True)
        artifact = mlmd.Artifact(type_id=type_id, uri=str(uri), state=mlmd.Artifact.LIVE)
        for key, value in values.items():
            if isinstance(value, int):
                artifact.custom_properties[key].int_value = value
            else:
                artifact.custom_properties[key].string_value = value
        return artifact

    def _execution(self, node, values, outputs, contexts, is_failed):
        type_id = self.store.put_execution_type(mlmd.ExecutionType(name=TYPES[node]))
        state = mlmd.Execution.FAILED if is_failed else mlmd.Execution.COMPLETE
        execution = mlmd.Execution(type_id=type_id, last_known_state=state)
        for key, value in values.items():
            execution.custom_properties[key].string_value = value
        pairs = []
        for key, artifact in outputs.items():
            event = mlmd.Event(type=mlmd.Event.OUTPUT)
            event.path.steps.add().key = key
            event.path.steps.add().index = 0
            pairs.append((artifact, event))
        own = self._context("node", f"{self.name}.{node}")
        self.store.put_execution(execution, pairs, [*contexts, own])


def three_runs(folder):
    """Returns a root with aa pushed as version 1, bb as version 2, and cc refused."""
    root = FakeRoot(folder)
    root.run("aa", 0.5)
    root.run("bb", 0.6)
    root.run("cc", 0.2, blessed=False)
    return root
