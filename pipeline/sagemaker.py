"""Starts a training on SageMaker by one call of its API, create_training_job.

boto3 alone: the SageMaker SDK would hold back versions of our lock for this one call
(docs/clusters.md), and adds to it what our container does not need. Credentials are boto3's own
matter; none is read here.
"""

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from configs.console import OneLineCommand, one_line_errors
from configs.errors import ConfigError, ServiceError
from configs.loader import load_config
from model.weights.keras_applications import PUBLISHED

ENTRY_POINT = ["python", "-m", "model.training.sagemaker_entry"]
_REPOSITORY = Path(__file__).resolve().parent.parent
_SECONDS_BETWEEN_LOOKS = 30.0
_CHANNELS = "/opt/ml/input/data"
# CloudWatch reads these out of the lines that the chief prints.
METRICS = {
    "loss": r"step [0-9]+/[0-9]+  loss ([0-9.]+)",
    "images_per_second": r"([0-9.]+) images/s",
    "validation_AP": r"  AP ([0-9.]+)",
}


@dataclass(frozen=True)
class SageMakerJob:
    """A training job.

    Attributes:
        name: of the job, unique in the account and region.
        role: ARN of the role that the job takes on.
        image: of the container, in ECR.
        config: file in the image, relative to its checkout, or an s3:// URI.
        settings: `key=value` changes of the config.
        data: s3:// URI of a COCO-format folder, or of CocoTransform's examples.
        has_examples: whether `data` is the latter.
        output: s3:// URI below which model, logs and scalars go.
        instance_type: such as ml.p3dn.24xlarge.
        instance_count: hosts.
        weights: s3:// URI of the weights file to start from.
        checkpoints: s3:// URI of the checkpoints; a job with the same one goes on from there.
        spot: use spare capacity, which may be taken away; needs `checkpoints`.
        max_hours: limit of the training's time.
        max_wait_hours: limit of the time with waiting for spot capacity.
        volume_gb: disk of each host.
        subnets: of a VPC, with `security_groups`.
    """

    name: str
    role: str
    image: str
    config: str
    settings: tuple[str, ...]
    data: str
    output: str
    has_examples: bool = False
    instance_type: str = "ml.p3dn.24xlarge"
    instance_count: int = 1
    weights: str | None = None
    checkpoints: str | None = None
    spot: bool = False
    max_hours: float = 24.0
    max_wait_hours: float = 48.0
    volume_gb: int = 200
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()


def training_job_request(job: SageMakerJob) -> dict[str, Any]:
    """Returns the parameters of create_training_job.

    Raises:
        ConfigError: the job is not possible, such as spot without a place for checkpoints.
    """
    _check(job)
    given = dict(setting.split("=", 1) for setting in job.settings)
    settings = {} if "train.batch" in given else {"train.workers": "auto"}
    channels = {"examples" if job.has_examples else "coco": job.data}
    config = job.config
    if config.startswith("s3://"):
        channels["config"], config = config, config.rpartition("/")[2]
    if job.weights:
        channels["weights"] = job.weights
        settings["model.weights"] = f"{_CHANNELS}/weights/{job.weights.rpartition('/')[2]}"
    request: dict[str, Any] = {
        "TrainingJobName": job.name,
        "RoleArn": job.role,
        "AlgorithmSpecification": {
            "TrainingImage": job.image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ENTRY_POINT,
            "MetricDefinitions": [{"Name": n, "Regex": regex} for n, regex in METRICS.items()],
        },
        "HyperParameters": {"config": config, **settings, **given},
        "InputDataConfig": [_channel(name, uri) for name, uri in channels.items()],
        "OutputDataConfig": {"S3OutputPath": job.output},
        "TensorBoardOutputConfig": {
            "S3OutputPath": f"{job.output.rstrip('/')}/{job.name}/tensorboard",
            "LocalPath": "/opt/ml/output/data/run/tensorboard",
        },
        "ResourceConfig": {
            "InstanceType": job.instance_type,
            "InstanceCount": job.instance_count,
            "VolumeSizeInGB": job.volume_gb,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": round(job.max_hours * 3600)},
        "EnableManagedSpotTraining": job.spot,
    }
    if job.checkpoints:
        local = {"S3Uri": job.checkpoints, "LocalPath": "/opt/ml/checkpoints"}
        request["CheckpointConfig"] = local
    if job.spot:
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = round(job.max_wait_hours * 3600)
    if job.subnets:
        request["VpcConfig"] = {
            "Subnets": list(job.subnets),
            "SecurityGroupIds": list(job.security_groups),
        }
    return request


def _check(job: SageMakerJob) -> None:
    if not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", job.name):
        raise ConfigError(f"--name {job.name}: expected up to 63 letters, digits and hyphens")
    if not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", job.role):
        raise ConfigError(f"--role {job.role}: expected arn:aws:iam::<account>:role/<name>")
    places = {"--data": job.data, "--output": job.output, "--weights": job.weights,
              "--checkpoints": job.checkpoints}  # fmt: skip
    for option, uri in places.items():
        if uri and not uri.startswith("s3://"):
            raise ConfigError(f"{option} {uri}: expected an s3:// URI")
    if job.spot and not job.checkpoints:
        raise ConfigError("--spot: needs --checkpoints, else a job that is cut off starts anew")
    if job.spot and job.max_wait_hours < job.max_hours:
        raise ConfigError(
            f"--max-wait-hours {job.max_wait_hours:g} must be at least --max-hours "
            f"{job.max_hours:g}, which it includes"
        )
    if bool(job.subnets) != bool(job.security_groups):
        raise ConfigError("--subnet and --security-group: give both or neither")
    for setting in job.settings:
        if "=" not in setting:
            raise ConfigError(f"--set {setting}: expected key=value, such as train.epochs=6")
    if job.config.startswith("s3://"):
        return  # the job itself checks it
    path = _REPOSITORY / job.config
    if Path(job.config).is_absolute() or not path.is_file():
        raise ConfigError(f"--config {job.config}: expected a file of this checkout, or s3://")
    weights = load_config(path, job.settings).model.weights
    if not job.weights and weights not in (None, PUBLISHED) and not weights.startswith("/"):
        raise ConfigError(
            f"model.weights: {weights} is no file of the container: give --weights s3://..., or "
            "--set model.weights=null"
        )


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": uri,
        "S3DataDistributionType": "FullyReplicated",  # every host reads its share of each batch
    }
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def create_training_job(request: dict[str, Any], region: str | None = None) -> str:
    """Starts the job; returns its ARN.

    Raises:
        ServiceError: there are no credentials or no region, or SageMaker refuses.
    """
    return str(_call(region, "create_training_job", **request)["TrainingJobArn"])


def wait_for_job(name: str, region: str | None = None) -> str:
    """Follows a job until it has ended; returns its final status, such as Completed.

    Raises:
        ServiceError: it failed; with its reason.
    """
    shown = ""
    while True:
        job = _call(region, "describe_training_job", TrainingJobName=name)
        status, phase = job["TrainingJobStatus"], job.get("SecondaryStatus", "")
        if phase != shown:
            click.echo(f"{name}: {phase}")
            shown = phase
        if status == "Failed":
            raise ServiceError(f"{name}: {job.get('FailureReason', 'failed without a reason')}")
        if status in ("Completed", "Stopped"):
            return str(status)
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _call(region: str | None, operation: str, **parameters: Any) -> Any:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

    try:
        return getattr(boto3.client("sagemaker", region_name=region), operation)(**parameters)
    except NoRegionError:
        raise ServiceError("no AWS region: give --region or set AWS_DEFAULT_REGION") from None
    except NoCredentialsError:
        raise ServiceError(
            "no AWS credentials found: set them up as for the AWS command line, or use a role"
        ) from None
    except ClientError as error:
        answer = error.response.get("Error", {})
        raise ServiceError(
            f"SageMaker refused {operation}: {answer.get('Code')}: {answer.get('Message')}"
        ) from None
    except BotoCoreError as error:
        raise ServiceError(f"SageMaker {operation}: {error}") from None


@click.command(
    cls=OneLineCommand,
    epilog="Example: scripts/train_sagemaker.py --name coco-16x4 --role $ROLE --image $IMAGE "
    "--config configs/awsdet/faster_rcnn_r50_fpn_1x_coco_16x4.yaml --data s3://BUCKET/coco "
    "--weights s3://BUCKET/coco/pretrained-models/ImageNet-R50-AlignPadding.npz "
    "--output s3://BUCKET/out --instance-count 2 --dry-run",
)
@click.option("--name", required=True, help="Of the job; unique in the account and region.")
@click.option("--role", required=True, help="ARN of the role that the job takes on.")
@click.option("--image", required=True, help="Of the container, in ECR.")
@click.option("--config", required=True, help="Config in the image, or s3:// URI of one.")
@click.option("--data", required=True, help="s3:// URI of a COCO-format folder.")
@click.option(
    "--examples", "has_examples", is_flag=True, help="--data is CocoTransform's examples."
)
@click.option("--output", required=True, help="s3:// URI for model, logs and scalars.")
@click.option("--instance-type", default="ml.p3dn.24xlarge", show_default=True)
@click.option("--instance-count", default=1, show_default=True, type=click.IntRange(1))
@click.option("--weights", help="s3:// URI of the weights file to start from.")
@click.option("--checkpoints", help="s3:// URI; a job with the same one goes on from there.")
@click.option("--spot", is_flag=True, help="Spare capacity; a cut-off job goes on by itself.")
@click.option("--max-hours", default=24.0, show_default=True, type=click.FloatRange(0.1))
@click.option("--max-wait-hours", default=48.0, show_default=True, help="With --spot, in all.")
@click.option("--volume-gb", default=200, show_default=True, type=click.IntRange(1))
@click.option("--subnet", "subnets", multiple=True, help="Of a VPC; may be repeated.")
@click.option("--security-group", "security_groups", multiple=True, help="May be repeated.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
@click.option("--region", help="AWS region; else as for the AWS command line.")
@click.option("--dry-run", is_flag=True, help="Print the request and send nothing.")
@click.option("--wait", is_flag=True, help="Follow the job until it has ended.")
@one_line_errors
def main(region: str | None, dry_run: bool, wait: bool, **options: Any) -> None:
    """Train on SageMaker: a worker for every GPU of every instance, each with the config's M.

    The first host has the checkpoints and the model. The same --checkpoints with the same config
    and data go on where an earlier job was cut off.
    """
    request = training_job_request(SageMakerJob(**options))
    if dry_run:
        click.echo(json.dumps(request, indent=2))
        return
    click.echo(create_training_job(request, region))
    if wait:
        click.echo(wait_for_job(options["name"], region))
