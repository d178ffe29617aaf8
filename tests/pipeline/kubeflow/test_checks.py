"""What compile refuses, each in one line, before a cluster would."""

from typing import Any

import pytest

from configs.loader import default_config
from configs.schema import Config
from ground.errors import ConfigError
from pipeline.kubeflow import checks
from pipeline.kubeflow.tasks import asked_by, with_gpus

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "image",
    [
        "tfx-rcnn:1",
        "registry.my.org/tfx-rcnn:1",
        "registry.my.org:5000/team/tfx-rcnn:v1.2_3",
        "localhost:5000/x:latest",
        f"gcr.io/p/x@{DIGEST}",
        f"gcr.io/p/x:1@{DIGEST}",
    ],
)
def test_images_that_name_what_they_are(image: str) -> None:
    checks.check_image(image)


@pytest.mark.parametrize(
    "image",
    [
        "registry.my.org/tfx-rcnn",
        "registry.my.org:5000/tfx-rcnn",
        "tfx-rcnn",
        "Registry/UPPER:1",
        "x:",
        ":1",
        "",
        "a b:1",
        "x:1:2",
        "x@sha256:abc",
        "https://registry.my.org/x:1",
        "x:" + "t" * 129,
    ],
)
def test_images_that_do_not(image: str) -> None:
    with pytest.raises(ConfigError, match="--image"):
        checks.check_image(image)


@pytest.mark.parametrize(
    "root", ["minio://mlpipeline/tfx", "s3://my-bucket", "gs://b.u-c_k3t/x/y", "s3://abc/"]
)
def test_roots_that_kubeflow_takes(root: str) -> None:
    checks.check_root(root)


@pytest.mark.parametrize(
    "root",
    [
        "/local",
        "runs",
        "hdfs://x/y",
        "s3://",
        "s3:///x",
        "S3://abc/x",
        "s3://abc/x y",
        "s3://abc?",
        "s3://abc#x",
    ],
)
def test_roots_that_it_refuses(root: str) -> None:
    with pytest.raises(ConfigError, match="--pipeline-root"):
        checks.check_root(root)


@pytest.mark.parametrize("root", ["s3://abc?region=eu-west-1", "s3://abc/x?endpoint=a.b:9000&x=y"])
def test_roots_may_say_where_their_store_is(root: str) -> None:
    checks.check_root(root)


def _specification(constant: str = "", default: object = "", variable: str = "") -> dict[str, Any]:
    source = {"runtimeValue": {"constant": constant}}
    return {
        "root": {
            "dag": {"tasks": {"T": {"inputs": {"parameters": {"settings": source}}}}},
            "inputDefinitions": {"parameters": {"p": {"defaultValue": default}}},
        },
        "deploymentSpec": {
            "executors": {"e": {"container": {"env": [{"name": "V", "value": variable}]}}}
        },
    }


@pytest.mark.parametrize("text", ['{"a": {"b": {}}}', "$HOME costs 5$", "}}", "", "ü {x} $"])
def test_texts_that_arrive_as_they_are(text: str) -> None:
    checks.check_constants(_specification(text, [text], text))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"constant": "a {{workflow.name}}"}, r"T: settings has '\{\{'"),
        ({"default": ["$(HOME)"]}, r"parameter p has '\$\('"),
        ({"variable": "5$$"}, r"pipeline\.kubeflow\.env\.V has '\$\$'"),
    ],
)
def test_texts_that_would_be_replaced_on_the_way(where: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        checks.check_constants(_specification(**where))


@pytest.mark.parametrize(
    "place", ["/data", "/", "s3://bucket", "gs://b/c", "minio://b/c/d", "s3://b/my data/ü"]
)
def test_places_that_a_container_finds(place: str) -> None:
    checks.check_addresses({"--data-dir": place})


@pytest.mark.parametrize(
    "place", ["data", "./data", "~/data", "", "s3://", "s3:// b", "s3://b/c?d=e", "C:\\data"]
)
def test_places_that_it_does_not(place: str) -> None:
    with pytest.raises(ConfigError, match="--data-dir"):
        checks.check_addresses({"--data-dir": place})


@pytest.mark.parametrize("place", ["sftp://me:word@host/c", "https://host/c?token=word"])
def test_a_secret_in_a_place_is_refused_and_not_shown(place: str) -> None:
    with pytest.raises(ConfigError, match=r"--data-dir .*\*\*\*.*holds a secret") as error:
        checks.check_addresses({"--data-dir": place})
    assert "word" not in str(error.value)


def test_a_training_that_would_start_from_frozen_noise() -> None:
    config = default_config(["model.weights=null", "model.backbone.frozen_stages=2"])
    with pytest.raises(ConfigError, match="2 stages of the backbone are frozen"):
        checks.check_start(config)
    checks.check_start(default_config(["model.weights=/data/R-50.pkl"]))
    with pytest.raises(ConfigError, match=r"data\.policies"):
        checks.check_start(
            default_config(["model.weights=/data/R-50.pkl", "data.policies.no_such=drop"])
        )
    checks.check_start(
        default_config(["model.backbone.frozen_stages=0", "model.backbone.norm=group_norm"])
    )


def _config(*overrides: str) -> Config:
    return default_config(["train.batch=8x4", *(f"pipeline.kubeflow.{o}" for o in overrides)])


@pytest.mark.parametrize(
    ("batch", "gpus", "asked"),
    [
        ("8x4", "null", 8),
        ("1x4", "null", 1),
        ("16x4", "16", 16),
        ("2x2", "0", 0),
        ("autox4", "4", 4),
    ],
)
def test_gpus_are_as_many_as_workers(batch: str, gpus: str, asked: int) -> None:
    config = default_config([f"train.batch={batch}", f"pipeline.kubeflow.trainer_gpus={gpus}"])
    assert asked_by(with_gpus(config), "DetectionTrainer").gpus == asked


@pytest.mark.parametrize(
    ("batch", "gpus", "said"),
    [
        ("16x4", "null", "16 workers are 16 GPUs of one pod, more than the 8"),
        ("16x4", "8", "are too few"),
        ("2x4", "8", "would be left unused"),
        ("autox4", "null", "does not say how many"),
    ],
)
def test_gpus_that_do_not_fit_the_batch(batch: str, gpus: str, said: str) -> None:
    config = default_config([f"train.batch={batch}", f"pipeline.kubeflow.trainer_gpus={gpus}"])
    with pytest.raises(ConfigError, match=said):
        with_gpus(config)


@pytest.mark.parametrize(
    ("batch", "nodes", "gpus", "asked"),
    [("16x4", 2, "null", 8), ("16x4", 4, "4", 4), ("2x2", 2, "0", 0), ("autox4", 3, "8", 8)],
)
def test_several_pods_share_the_workers(batch: str, nodes: int, gpus: str, asked: int) -> None:
    settings = [f"train.batch={batch}", f"pipeline.kubeflow.trainer_nodes={nodes}"]
    config = default_config([*settings, f"pipeline.kubeflow.trainer_gpus={gpus}"])
    assert asked_by(with_gpus(config), "DetectionTrainer").gpus == asked


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["trainer_nodes=3"], "16 workers cannot be shared equally by 3 pods"),
        (["trainer_nodes=32"], "cannot be shared equally by 32 pods"),
        (
            ["trainer_nodes=2", "trainer_gpus=4"],
            r"\(8 workers in each of 2 pods\): GPUs are too few",
        ),
        (["trainer_nodes=1"], "say pipeline.kubeflow.trainer_nodes=2 for several pods"),
        (["trainer_gpus=16", "trainer_nodes_by=TFJob"], "nothing would be made, as .* is 1"),
        (["trainer_nodes=2", "trainer_nodes_by=MPIJob"], "'Job', 'TFJob' or 'TrainJob'"),
    ],
)
def test_pods_that_do_not_fit_the_batch(settings: list[str], said: str) -> None:
    given = [f"pipeline.kubeflow.{setting}" for setting in settings]
    with pytest.raises(ConfigError, match=said):
        with_gpus(default_config(["train.batch=16x4", *given]))


def test_fewer_gpus_than_workers_are_asked_for_where_parts_of_a_step_are_allowed() -> None:
    given = ["train.batch=8x4", "pipeline.kubeflow.trainer_gpus=2", "train.fewer_gpus=accumulate"]
    assert asked_by(with_gpus(default_config(given)), "DetectionTrainer").gpus == 2
    with pytest.raises(ConfigError, match="would be left unused"):
        with_gpus(default_config(["train.batch=1x4", *given[1:]]))


def test_the_evaluator_has_a_gpu_where_the_trainer_has() -> None:
    asked = with_gpus(_config("trainer_gpus=8", "tasks={ModelPusher: {memory: 2Gi}}"))
    assert asked_by(asked, "CocoEvaluator").gpus == 1
    assert asked_by(asked, "CocoTransform").gpus == 0
    assert asked_by(asked, "ModelPusher").memory == "2Gi"
    assert asked_by(asked, "DetectionTrainer").memory == "240Gi"
    assert asked_by(asked, "SchemaGen").memory == "4Gi"
    assert asked_by(asked, "StatisticsGen").memory == "16Gi"
    none = with_gpus(_config("trainer_gpus=0"))
    assert asked_by(none, "CocoEvaluator").gpus == 0
    own = with_gpus(_config("tasks={CocoEvaluator: {gpus: 0}}"))
    assert asked_by(own, "CocoEvaluator").gpus == 0


def test_what_hangs_on_a_place_never_comes_from_the_cache() -> None:
    asked = with_gpus(_config("trainer_gpus=8"))
    cached = {
        t for t in ("DataVersion", "CocoEvaluator", "ModelPusher") if asked_by(asked, t).cache
    }
    assert cached == set()
    assert asked_by(asked, "DetectionTrainer").cache
    off = with_gpus(_config("tasks={DetectionTrainer: {cache: false}}"))
    assert not asked_by(off, "DetectionTrainer").cache


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("tasks={Trainer: {gpus: 1}}", "Trainer"),
        ("tasks={CocoEvaluator: {gpu: 1}}", "gpu"),
        ("tasks={CocoEvaluator: {memory: 16GB}}", "Kubernetes' form"),
        ("tasks={CocoEvaluator: {cpus: many}}", "number of cores"),
        ("trainer_node_selector={'a b': c}", "takes no label"),
        ("trainer_node_selector={a/b/c: d}", "takes no label"),
        ("trainer_node_selector={a: 'b c'}", "takes no label"),
        ("trainer_gpu_type=A100", "resource's name"),
        ("store_secret={name: My_Secret}", "name of a secret"),
        ("image_pull_secrets=[My_Secret]", "name of a secret"),
        ("env={A B: c}", "name of a variable"),
        ("env={AWS_SECRET_ACCESS_KEY: x}", "looks like a secret"),
        ("env={WANDB_API_KEY: x}", "looks like a secret"),
        ("env={HTTPS_PROXY: 'http://me:word@proxy:3128'}", "looks like a secret"),
        ("store_endpoint=minio:9000", "expected an address"),
        ("store_endpoint=http://user:pass@minio:9000", "expected an address"),
    ],
)
def test_names_that_kubernetes_refuses(setting: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        _config(setting)
