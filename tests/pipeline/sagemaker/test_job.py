"""A training job on SageMaker: its request, and what arrives at a stand-in for AWS (moto)."""

import io
import json
import re
import shlex
import socket
import subprocess
import sys
import tarfile
import time

import boto3
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sagemaker.models import sagemaker_backends

from ground.errors import ConfigError, ServiceError
from model.lanes import LANE
from model.training.events import StepDone
from pipeline.sagemaker.command import main
from pipeline.sagemaker.entry import _plain
from pipeline.sagemaker.images import tensorflow_image
from pipeline.sagemaker.job import (
    ENTRY_POINT,
    METRICS,
    SageMakerJob,
    _for_the_toolkit,
    _inputs,
    start_training_job,
    training_job_request,
    wait_for_job,
)

REGION = "eu-west-1"
IN_CONTAINER = "/opt/ml/input/data/weights/ImageNet-R50-AlignPadding.npz"
WEIGHTS = "s3://bucket/coco/pretrained-models/ImageNet-R50-AlignPadding.npz"
CONFIG = "configs/awsdet/faster_rcnn_r50_fpn_1x_coco_16x4.yaml"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/tfx-rcnn:1"
OPTIONS = {
    "name": "coco-16x4",
    "role": "arn:aws:iam::123456789012:role/SageMaker",
    "config": CONFIG,
    "settings": ("train.epochs=6",),
    "data": "s3://bucket/coco",
    "weights": WEIGHTS,
    "output": "s3://bucket/out",
    "instance_count": 2,
}
ARGUMENTS = [
    *("--name", "coco-16x4", "--role", OPTIONS["role"]),
    *("--config", CONFIG, "--data-dir", "s3://bucket/coco", "--out", "s3://bucket/out"),
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


@pytest.fixture
def aws(monkeypatch):
    """A stand-in for AWS with the bucket, which needs no waiting for."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with mock_aws():
        place = {"LocationConstraint": REGION}
        boto3.client("s3", REGION).create_bucket(Bucket="bucket", CreateBucketConfiguration=place)
        yield


def request(**changes: object) -> dict:
    return training_job_request(SageMakerJob(**{**OPTIONS, **changes}), REGION)


def arrived() -> dict:
    client = boto3.client("sagemaker", REGION)
    return client.describe_training_job(TrainingJobName=OPTIONS["name"])


def test_without_an_image_awss_container_runs_this_checkout():
    made = request()
    algorithm = made["AlgorithmSpecification"]
    assert algorithm["TrainingImage"] == (
        "763104351884.dkr.ecr.eu-west-1.amazonaws.com/tensorflow-training:"
        + {"modern": "2.19.0-gpu-py312", "legacy": "2.16-gpu-py310"}[LANE]
    )
    assert "ContainerEntrypoint" not in algorithm
    parameters = {name: json.loads(text) for name, text in made["HyperParameters"].items()}
    source = parameters.pop("sagemaker_submit_directory")
    assert re.fullmatch(r"s3://bucket/out/coco-16x4/source/[0-9a-f]{12}\.tar\.gz", source)
    assert parameters == {
        "config": CONFIG,
        "train.workers": "auto",
        "train.epochs": "6",
        "model.weights": IN_CONTAINER,
        "sagemaker_program": "start.sh",
        "sagemaker_multi_worker_mirrored_strategy_enabled": True,
        "sagemaker_container_log_level": 20,
        "sagemaker_job_name": "coco-16x4",
        "sagemaker_region": REGION,
    }


def test_an_image_of_ones_own_runs_the_code_in_it():
    made = request(image=IMAGE)
    assert made["AlgorithmSpecification"]["TrainingImage"] == IMAGE
    assert made["AlgorithmSpecification"]["ContainerEntrypoint"] == ENTRY_POINT
    assert made["HyperParameters"] == {
        "config": CONFIG,
        "train.workers": "auto",
        "train.epochs": "6",
        "model.weights": IN_CONTAINER,
    }


@pytest.mark.parametrize("image", [None, IMAGE])
def test_all_else_is_the_same_with_both(image):
    made = request(
        image=image, spot=True, checkpoints="s3://bucket/ck", max_hours=10, max_wait_hours=20,
        subnets=("subnet-1",), security_groups=("sg-1",), environment=("UV_DEFAULT_INDEX=https://i",),
        kms_key="my-key", tags=("team=vision", "why=a=b"),
    )  # fmt: skip
    del made["HyperParameters"]
    algorithm = made.pop("AlgorithmSpecification")
    assert algorithm["TrainingInputMode"] == "File"
    assert [metric["Name"] for metric in algorithm["MetricDefinitions"]] == list(METRICS)
    channels = [
        (c["ChannelName"], c["DataSource"]["S3DataSource"]) for c in made["InputDataConfig"]
    ]
    whole = {"S3DataType": "S3Prefix", "S3DataDistributionType": "FullyReplicated"}
    assert channels == [
        ("coco", {"S3Uri": "s3://bucket/coco", **whole}),
        ("weights", {"S3Uri": WEIGHTS, **whole}),
    ]
    del made["InputDataConfig"]
    assert made == {
        "TrainingJobName": "coco-16x4",
        "RoleArn": OPTIONS["role"],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out", "KmsKeyId": "my-key"},
        "Tags": [{"Key": "team", "Value": "vision"}, {"Key": "why", "Value": "a=b"}],
        "ResourceConfig": {
            "InstanceType": "ml.p3dn.24xlarge",
            "InstanceCount": 2,
            "VolumeSizeInGB": 200,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 36000, "MaxWaitTimeInSeconds": 72000},
        "EnableManagedSpotTraining": True,
        "CheckpointConfig": {"S3Uri": "s3://bucket/ck", "LocalPath": "/opt/ml/checkpoints"},
        "VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        "Environment": {"UV_DEFAULT_INDEX": "https://i"},
        "TensorBoardOutputConfig": {
            "S3OutputPath": "s3://bucket/out/coco-16x4/tensorboard",
            "LocalPath": "/opt/ml/output/data/run/tensorboard",
        },
        "ProfilerConfig": {"DisableProfiler": True},
    }


def test_a_batch_that_is_set_is_not_counted_anew():
    _, parameters = _inputs(SageMakerJob(**{**OPTIONS, "settings": ("train.batch=4x2",)}))
    assert parameters == {
        "config": CONFIG,
        "train.batch": "4x2",
        "model.weights": IN_CONTAINER,
    }


def test_config_examples_and_weights_may_come_from_s3():
    places = {"config": "s3://bucket/mine/own.yaml", "weights": "s3://bucket/w/R-50.pkl"}
    channels, parameters = _inputs(SageMakerJob(**{**OPTIONS, **places, "has_examples": True}))
    assert channels == {"examples": "s3://bucket/coco", **places}
    assert parameters["config"] == "own.yaml"
    assert parameters["model.weights"] == "/opt/ml/input/data/weights/R-50.pkl"


def in_awss_container(value: str) -> subprocess.CompletedProcess:
    """Starts a stand-in for start.sh as AWS's toolkit (5.1) does, through two shells."""
    inner = f'"echo started --name {shlex.quote(value)}"'
    command = " ".join(["/bin/sh", "-c", inner])
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "value",
    [
        "[8, 11]",
        "(a|b); c & d > e",
        '["a", "(b|c).*$"]',
        "it's",
        "`x` $(y) \\",
        'two "words"',
        "ä€😀",
    ],
)
def test_settings_survive_the_shells_of_awss_container(value):
    sent = _for_the_toolkit(value)
    done = in_awss_container(sent)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("started --name ")
    assert _plain(json.dumps(sent)) == value


def test_the_shells_need_that():
    assert in_awss_container('["a", "(b|c).*$"]').returncode != 0


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: text[:1] != '"'))
def test_every_setting_comes_back_as_it_was(value):
    assert _plain(json.dumps(_for_the_toolkit(value))) == value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spot": True}, "--spot: needs --checkpoints"),
        ({"spot": True, "checkpoints": "s3://b/c", "max_wait_hours": 1}, "--max-wait-hours 1 must"),
        ({"role": "SageMaker"}, "--role SageMaker: expected arn:aws:iam"),
        ({"data": "/data/coco"}, "--data-dir /data/coco: expected an s3:// URI"),
        ({"name": "my_job"}, "--name my_job: expected up to 63 letters"),
        ({"config": "none.yaml"}, "--config none.yaml: expected a file of this checkout"),
        ({"settings": ("train.epoch=6",)}, "did you mean 'epochs'"),
        ({"weights": None}, "ImageNet-R50-AlignPadding.npz is no file of the container: give --w"),
        ({"settings": ("fast",)}, "--set fast: expected key=value"),
        ({"config": "README.md"}, "--config README.md: only files below configs/ go to the job"),
        ({"environment": ("UV INDEX=x",)}, "--env UV INDEX=x: expected NAME=value"),
        ({"tags": ("vision",)}, "--tag vision: expected KEY=value"),
        ({"subnets": ("subnet-1",)}, "--subnet and --security-group: give both or neither"),
    ],
)
def test_what_is_not_possible_is_refused_before_anything_is_sent(changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        request(**changes)


def test_metrics_are_read_out_of_the_lines_that_are_printed():
    line = StepDone(40, 100, 1.25, {"rpn_box": 0.5}, 0.01, 74.5, 60.0, 0.321).line
    found = {name: re.search(pattern, line)[1] for name, pattern in METRICS.items()}
    assert found == {"loss": "1.2500", "images_per_second": "74.5", "validation_AP": "0.321"}


def test_the_archive_and_the_job_arrive(aws):
    job = SageMakerJob(**OPTIONS)
    start_training_job(job, REGION)
    assert wait_for_job(job.name, REGION) == "Completed"
    assert job.model_uri == "s3://bucket/out/coco-16x4/output/model.tar.gz"
    made, found = training_job_request(job, REGION), arrived()
    assert {
        name: found[name] for name in ("HyperParameters", "ResourceConfig", "InputDataConfig")
    } == {name: made[name] for name in ("HyperParameters", "ResourceConfig", "InputDataConfig")}
    place = json.loads(made["HyperParameters"]["sagemaker_submit_directory"])
    key = place.removeprefix("s3://bucket/")
    sent = boto3.client("s3", REGION).get_object(Bucket="bucket", Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(sent)) as archive:
        assert {"start.sh", f"tfx-rcnn/{CONFIG}"} <= set(archive.getnames())


def test_a_job_with_an_image_arrives_alone(aws):
    job = SageMakerJob(
        **OPTIONS, image=IMAGE, spot=True, checkpoints="s3://bucket/ck",
        subnets=("subnet-1",), security_groups=("sg-1",),
    )  # fmt: skip
    start_training_job(job, REGION)
    found = arrived()
    assert found["AlgorithmSpecification"]["TrainingImage"] == IMAGE
    assert found["CheckpointConfig"]["S3Uri"] == "s3://bucket/ck"
    assert found["EnableManagedSpotTraining"] is True
    assert "Contents" not in boto3.client("s3", REGION).list_objects_v2(Bucket="bucket")


def test_a_dry_run_prints_the_request_and_sends_nothing(monkeypatch):
    def connect(*_: object) -> None:
        raise AssertionError("a dry run opens no connection")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    result = CliRunner().invoke(main, [*ARGUMENTS, "--dry-run"])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["TrainingJobName"] == "coco-16x4"
    assert shown["OutputDataConfig"] == {"S3OutputPath": "s3://bucket/out"}
    assert result.stderr == ""


def test_the_command_starts_a_job_and_follows_it(aws):
    result = CliRunner().invoke(main, [*ARGUMENTS, "--wait"])
    assert result.exit_code == 0, result.output
    first, phase, last = result.output.splitlines()
    assert (first, last) == ("coco-16x4: started", "coco-16x4: Completed")
    assert phase.endswith(" Starting - Preparing the instances for training")
    assert "secret" not in result.output.lower()


def test_a_job_that_fails_says_why(aws, capsys):
    start_training_job(SageMakerJob(**OPTIONS), REGION)
    [job] = sagemaker_backends[DEFAULT_ACCOUNT_ID][REGION].training_jobs.values()
    job.training_job_status = job.secondary_status = "Failed"
    job.failure_reason = "train.freeze: matches no weight"
    job.secondary_status_transitions = [
        {"Status": status, "StartTime": job.creation_time, "StatusMessage": message}
        for status, message in [("Starting", "Preparing"), ("Failed", "Too bad")]
    ]
    with pytest.raises(ServiceError) as caught:
        wait_for_job(OPTIONS["name"], REGION)
    assert str(caught.value) == "coco-16x4: train.freeze: matches no weight"
    assert re.search(r" Starting - Preparing\n.* Failed - Too bad", capsys.readouterr().out)


def test_a_job_that_was_stopped_is_no_failure(aws):
    start_training_job(SageMakerJob(**OPTIONS), REGION)
    [job] = sagemaker_backends[DEFAULT_ACCOUNT_ID][REGION].training_jobs.values()
    job.training_job_status = job.secondary_status = "Stopped"
    assert wait_for_job(OPTIONS["name"], REGION) == "Stopped"


def test_the_log_is_shown_behind_its_hosts_names(aws, capsys):
    start_training_job(SageMakerJob(**OPTIONS), REGION)
    logs = boto3.client("logs", REGION)
    group = "/aws/sagemaker/TrainingJobs"
    logs.create_log_group(logGroupName=group)
    now = 1_000 * int(time.time())
    for host in ("algo-1", "algo-2"):
        stream = f"coco-16x4/{host}-1700000000"
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        logs.put_log_events(
            logGroupName=group,
            logStreamName=stream,
            logEvents=[{"timestamp": now, "message": f"{word} {host}"} for word in ("a", "b")],
        )
    assert wait_for_job(OPTIONS["name"], REGION) == "Completed"
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("[")] == [
        "[algo-1] a algo-1", "[algo-1] b algo-1", "[algo-2] a algo-2", "[algo-2] b algo-2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("region", "instance_type", "lane", "image"),
    [
        ("us-east-1", "ml.g5.xlarge", "modern",
         "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-training:2.19.0-gpu-py312"),
        ("eu-south-1", "ml.c5.xlarge", "legacy",
         "692866216735.dkr.ecr.eu-south-1.amazonaws.com/tensorflow-training:2.16-cpu-py310"),
        ("cn-north-1", "ml.p3.2xlarge", "modern",
         "727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn/tensorflow-training:2.19.0-gpu-py312"),
    ],
)  # fmt: skip
def test_awss_container_fits_region_instance_and_lane(region, instance_type, lane, image):
    assert tensorflow_image(region, instance_type, lane) == image


def test_what_aws_refuses_is_said_in_one_line(aws, monkeypatch, caplog):
    job = SageMakerJob(**OPTIONS)
    with pytest.raises(ServiceError, match="no AWS region: give --region"):
        start_training_job(job)
    with pytest.raises(ServiceError, match=r"AWS refused PutObject: NoSuchBucket: The specified"):
        start_training_job(SageMakerJob(**{**OPTIONS, "output": "s3://another/out"}), REGION)
    with pytest.raises(ConfigError, match=r"--region nowhere-1: AWS's TensorFlow container is not"):
        start_training_job(job, "nowhere-1")

    def refuse(*_: object, **__: object) -> None:
        answer = {"Error": {"Code": "ResourceLimitExceeded", "Message": "The limit is 0"}}
        raise ClientError(answer, "CreateTrainingJob")

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", refuse)
    result = CliRunner().invoke(main, [*ARGUMENTS, "--image", IMAGE])
    assert result.exit_code == 1
    assert result.output == (
        "error: AWS refused CreateTrainingJob: ResourceLimitExceeded: The limit is 0\n"
    )
    assert caplog.text == ""


def test_missing_credentials_are_said_in_one_line(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for image in (None, IMAGE):
        with pytest.raises(ServiceError, match="no AWS credentials found: set them up"):
            start_training_job(SageMakerJob(**OPTIONS, image=image), REGION)


def test_a_missing_client_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ServiceError, match=r"boto3 is missing: pip install 'boto3>=1\.34'"):
        request()
