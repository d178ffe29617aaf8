"""A training job on SageMaker: the request, checked by botocore and sent to moto."""

import json
import re

import boto3
import pytest
from click.testing import CliRunner
from moto import mock_aws

from configs.errors import ConfigError, ServiceError
from model.training.progress import progress_line
from pipeline import sagemaker
from pipeline.sagemaker import (
    ENTRY_POINT,
    METRICS,
    SageMakerJob,
    create_training_job,
    main,
    training_job_request,
    wait_for_job,
)

REGION = "eu-west-1"
IN_CONTAINER = "/opt/ml/input/data/weights/ImageNet-R50-AlignPadding.npz"
WEIGHTS = "s3://bucket/coco/pretrained-models/ImageNet-R50-AlignPadding.npz"
CONFIG = "configs/awsdet/faster_rcnn_r50_fpn_1x_coco_16x4.yaml"
OPTIONS = {
    "name": "coco-16x4",
    "role": "arn:aws:iam::123456789012:role/SageMaker",
    "image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/tfx-rcnn:1",
    "config": CONFIG,
    "settings": ("train.epochs=6",),
    "data": "s3://bucket/coco",
    "weights": WEIGHTS,
    "output": "s3://bucket/out",
    "instance_count": 2,
}
ARGUMENTS = [
    *("--name", "coco-16x4", "--role", OPTIONS["role"], "--image", OPTIONS["image"]),
    *("--config", CONFIG, "--data", "s3://bucket/coco", "--output", "s3://bucket/out"),
    *("--weights", WEIGHTS, "--instance-count", "2", "--set", "train.epochs=6", "--region", REGION),
]


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    """Nothing of a person's own AWS settings counts."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "SECRETKEYID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-access-key")


def request(**changes: object) -> dict:
    return training_job_request(SageMakerJob(**{**OPTIONS, **changes}))


def test_the_job_trains_on_every_gpu_of_every_host():
    made = request()
    assert made["HyperParameters"] == {
        "config": CONFIG,
        "train.workers": "auto",
        "train.epochs": "6",
        "model.weights": IN_CONTAINER,
    }
    assert made["AlgorithmSpecification"]["ContainerEntrypoint"] == ENTRY_POINT
    assert made["ResourceConfig"]["InstanceCount"] == 2
    [channel, weights] = made["InputDataConfig"]
    assert (channel["ChannelName"], weights["ChannelName"]) == ("coco", "weights")
    assert channel["DataSource"]["S3DataSource"]["S3Uri"] == "s3://bucket/coco"


def test_a_batch_that_is_set_is_not_counted_anew():
    parameters = request(settings=("train.batch=4x2",))["HyperParameters"]
    assert parameters == {
        "config": CONFIG,
        "train.batch": "4x2",
        "model.weights": IN_CONTAINER,
    }


def test_config_examples_and_weights_may_come_from_s3():
    made = request(
        config="s3://bucket/mine/own.yaml", has_examples=True, weights="s3://bucket/w/R-50.pkl"
    )
    uris = {c["ChannelName"]: c["DataSource"]["S3DataSource"]["S3Uri"]
            for c in made["InputDataConfig"]}  # fmt: skip
    assert uris == {
        "examples": "s3://bucket/coco",
        "config": "s3://bucket/mine/own.yaml",
        "weights": "s3://bucket/w/R-50.pkl",
    }
    assert made["HyperParameters"]["config"] == "own.yaml"
    assert made["HyperParameters"]["model.weights"] == "/opt/ml/input/data/weights/R-50.pkl"


def test_spot_keeps_its_checkpoints_in_s3():
    made = request(spot=True, checkpoints="s3://bucket/ck", max_hours=10, max_wait_hours=20)
    assert made["EnableManagedSpotTraining"] is True
    assert made["CheckpointConfig"] == {
        "S3Uri": "s3://bucket/ck",
        "LocalPath": "/opt/ml/checkpoints",
    }
    assert made["StoppingCondition"] == {
        "MaxRuntimeInSeconds": 36000,
        "MaxWaitTimeInSeconds": 72000,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spot": True}, "--spot: needs --checkpoints"),
        ({"spot": True, "checkpoints": "s3://b/c", "max_wait_hours": 1}, "--max-wait-hours 1 must"),
        ({"role": "SageMaker"}, "--role SageMaker: expected arn:aws:iam"),
        ({"data": "/data/coco"}, "--data /data/coco: expected an s3:// URI"),
        ({"name": "my_job"}, "--name my_job: expected up to 63 letters"),
        ({"config": "none.yaml"}, "--config none.yaml: expected a file of this checkout"),
        ({"settings": ("train.epoch=6",)}, "did you mean 'epochs'"),
        ({"weights": None}, "ImageNet-R50-AlignPadding.npz is no file of the container: give --w"),
        ({"settings": ("fast",)}, "--set fast: expected key=value"),
        ({"subnets": ("subnet-1",)}, "--subnet and --security-group: give both or neither"),
    ],
)
def test_what_is_not_possible_is_refused_before_anything_is_sent(changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        request(**changes)


def test_metrics_are_read_out_of_the_lines_that_are_printed():
    line = progress_line({
        "step": 40, "steps": 100, "loss": 1.25, "losses": {"rpn_box": 0.5},
        "images_per_second": 74.5, "eta_seconds": 60.0, "validation": 0.321,
    })  # fmt: skip
    found = {name: re.search(pattern, line)[1] for name, pattern in METRICS.items()}
    assert found == {"loss": "1.2500", "images_per_second": "74.5", "validation_AP": "0.321"}


def test_the_job_arrives():
    full = request(
        spot=True, checkpoints="s3://bucket/ck", weights="s3://bucket/w.npz",
        subnets=("subnet-1",), security_groups=("sg-1",),
    )  # fmt: skip
    with mock_aws():
        arn = create_training_job(full, REGION)
        assert arn == f"arn:aws:sagemaker:{REGION}:123456789012:training-job/coco-16x4"
        job = boto3.client("sagemaker", REGION).describe_training_job(TrainingJobName="coco-16x4")
    assert job["HyperParameters"] == full["HyperParameters"]
    assert job["ResourceConfig"] == full["ResourceConfig"]
    assert job["InputDataConfig"] == full["InputDataConfig"]
    assert job["CheckpointConfig"] == full["CheckpointConfig"]
    assert job["EnableManagedSpotTraining"] is True


def test_a_dry_run_prints_the_request_and_sends_nothing(monkeypatch):
    monkeypatch.setattr(sagemaker, "_call", None)
    result = CliRunner().invoke(main, [*ARGUMENTS, "--dry-run"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == request()
    assert "SECRETKEYID" not in result.output
    assert "secret-access-key" not in result.output


def test_the_command_starts_a_job_and_follows_it():
    with mock_aws():
        result = CliRunner().invoke(main, [*ARGUMENTS, "--wait"])
    assert result.exit_code == 0, result.output
    arn, phase, status = result.output.splitlines()
    assert arn.endswith("training-job/coco-16x4")
    assert (phase, status) == ("coco-16x4: Completed", "Completed")


def test_a_job_that_fails_says_why(monkeypatch):
    looks = iter([
        {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Training"},
        {"TrainingJobStatus": "Failed", "SecondaryStatus": "Failed", "FailureReason": "no GPUs"},
    ])  # fmt: skip
    monkeypatch.setattr(sagemaker, "_call", lambda *a, **k: next(looks))
    monkeypatch.setattr(sagemaker, "_SECONDS_BETWEEN_LOOKS", 0)
    with pytest.raises(ServiceError, match="coco: no GPUs"):
        wait_for_job("coco")


def test_what_sagemaker_and_aws_refuse_is_said_in_one_line(monkeypatch):
    with mock_aws():
        create_training_job(request(), REGION)
        with pytest.raises(ServiceError, match="no AWS region"):
            create_training_job(request())
        with pytest.raises(ServiceError, match="SageMaker refused describe_training_job: "):
            wait_for_job("another", REGION)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ServiceError, match="no AWS credentials found"):
        create_training_job(request(), REGION)
