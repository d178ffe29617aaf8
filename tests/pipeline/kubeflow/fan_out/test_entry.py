"""How the container entry comes to a training on several pods."""

from pathlib import Path

import pytest

from configs.kubeflow_schema import KubeflowConfig
from configs.schema import Config, PipelineConfig
from pipeline.kubeflow import entry
from pipeline.kubeflow.rewrite import set_variables


def test_a_node_that_is_none_ends_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TFX_RCNN_POD_ROOT", str(tmp_path))
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "termination-log").touch()
    monkeypatch.delenv("TFX_RCNN_NODE_WORK", raising=False)
    with pytest.raises(SystemExit) as ended:
        entry.main(["node"])
    assert ended.value.code == 2
    said = capfd.readouterr().err
    assert (
        "error: node: TFX_RCNN_NODE_WORK and JOB_COMPLETION_INDEX (or TFX_RCNN_NODE_PLACE) are"
        in said
    )
    assert "Traceback" not in said
    assert (tmp_path / "dev" / "termination-log").read_text().startswith("node: TFX_RCNN_NODE")


def test_one_pod_asks_kubernetes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFX_RCNN_TRAINER_NODES", "1")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with entry._other_pods("components.detection_trainer.executor.Executor", {}, ""):
        pass


def test_the_trainer_s_container_alone_is_told_how_many_pods_there_are() -> None:
    executors = {label: {"container": {}} for label in ("a", "b")} | {"c": {"resolver": {}}}
    labels = {"DetectionTrainer": "a", "ModelPusher": "b", "Resolver": "c"}
    specification = {
        "components": {name: {"executorLabel": label} for name, label in labels.items()},
        "deploymentSpec": {"executors": executors},
    }
    asked = KubeflowConfig(
        trainer_nodes=2, trainer_nodes_by="TFJob", trainer_gpus=1, env={"NO_PROXY": "x"}
    )
    set_variables(specification, Config(name="a", pipeline=PipelineConfig(kubeflow=asked)))
    assert executors["a"]["container"]["env"] == [
        {"name": "NO_PROXY", "value": "x"},
        {"name": "TFX_RCNN_TRAINER_NODES", "value": "2"},
        {"name": "TFX_RCNN_TRAINER_NODES_BY", "value": "TFJob"},
    ]
    assert executors["b"]["container"]["env"] == [
        {"name": "CUDA_VISIBLE_DEVICES", "value": "-1"},
        {"name": "NO_PROXY", "value": "x"},
    ]
    assert executors["c"] == {"resolver": {}}


@pytest.mark.parametrize(
    ("asked", "hidden"),
    [
        ({"trainer_gpus": 0}, ["CocoEvaluator", "DetectionTrainer", "ModelPusher"]),
        ({"trainer_gpus": 2}, ["ModelPusher"]),
        ({"trainer_gpus": 0, "tasks": {"CocoEvaluator": {"gpus": 1}}},
         ["DetectionTrainer", "ModelPusher"]),
        ({"trainer_gpus": 0, "env": {"CUDA_VISIBLE_DEVICES": "0"}}, []),
    ],
)  # fmt: skip
def test_a_pod_that_asks_for_no_gpu_is_shown_none_of_its_node(asked, hidden) -> None:
    names = ["CocoEvaluator", "DetectionTrainer", "ModelPusher"]
    specification = {
        "components": {name: {"executorLabel": name} for name in names},
        "deploymentSpec": {"executors": {name: {"container": {}} for name in names}},
    }
    kubeflow = KubeflowConfig.model_validate(asked)
    set_variables(specification, Config(name="a", pipeline=PipelineConfig(kubeflow=kubeflow)))
    shown = specification["deploymentSpec"]["executors"]
    variable = {"name": "CUDA_VISIBLE_DEVICES", "value": "-1"}
    assert [n for n in names if variable in shown[n]["container"].get("env", [])] == hidden
