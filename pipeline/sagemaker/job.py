"""Starts a training on SageMaker by AWS's own client, boto3.

Without an image of one's own the job runs in AWS's TensorFlow container, which gets this checkout
as an archive and makes a locked environment of it. An image of one's own runs the code in it.
Credentials are boto3's own matter; none is read here.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.loader import load_config
from ground.errors import ConfigError, RcnnError, ServiceError
from model.weights.named import is_file_name
from pipeline.sagemaker.images import tensorflow_image
from pipeline.sagemaker.source import START_SCRIPT, source_archive, source_files

ENTRY_POINT = ["python", "-m", "pipeline.sagemaker.entry"]  # in an image of one's own
_REPOSITORY = Path(__file__).resolve().parents[2]
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
        name: name of the job, unique in the account and region.
        role: ARN of the role that the job takes on.
        config: file of this checkout (of the image's, where one is given), or an s3:// URI.
        settings: `key=value` changes of the config.
        data: s3:// URI of a COCO-format folder, or of CocoTransform's examples.
        has_examples: whether `data` is the latter.
        output: s3:// URI below which model, logs, scalars and the code sent go.
        image: address in ECR of a container that holds the code; None for AWS's and this checkout.
        instance_type: such as ml.p3dn.24xlarge.
        instance_count: hosts.
        weights: s3:// URI of the weights file to start from.
        checkpoints: s3:// URI of the checkpoints; a job with the same one goes on from there.
        spot: use spare capacity, which may be taken away; needs `checkpoints`.
        max_hours: limit of the training's time.
        max_wait_hours: limit of the time with waiting for spot capacity.
        volume_gb: disk of each host.
        subnets: subnets of a VPC, with `security_groups`.
        environment: `NAME=value` variables of the container.
        kms_key: id or ARN of the key that what the job leaves is encrypted with.
        tags: `KEY=value` tags of the job.
    """

    name: str
    role: str
    config: str
    settings: tuple[str, ...]
    data: str
    output: str
    has_examples: bool = False
    image: str | None = None
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
    environment: tuple[str, ...] = ()
    kms_key: str | None = None
    tags: tuple[str, ...] = ()

    @property
    def model_uri(self) -> str:
        """Where the job leaves its model."""
        return f"{self.output.rstrip('/')}/{self.name}/output/model.tar.gz"


def training_job_request(job: SageMakerJob, region: str | None = None) -> dict[str, Any]:
    """Returns the parameters of create_training_job; sends nothing.

    Raises:
        ConfigError: the job is not possible, such as spot without a place for checkpoints.
        ServiceError: there is no region, or no boto3.
    """
    _check(job)
    with _aws():
        return _request(job, _session(region).region_name, _source(job)[0])


def start_training_job(job: SageMakerJob, region: str | None = None) -> None:
    """Sends the archive of this checkout, where the job needs it, and the job's request.

    Raises:
        ConfigError: see `training_job_request`.
        ServiceError: no region, credentials or boto3, or S3 or SageMaker refuses; in one line.
    """
    _check(job)
    uri, archive = _source(job)
    with _aws():
        session = _session(region)
        request = _request(job, session.region_name, uri)
        if archive:
            bucket, _, key = str(uri).removeprefix("s3://").partition("/")
            session.client("s3").put_object(Bucket=bucket, Key=key, Body=archive)
        session.client("sagemaker").create_training_job(**request)


def wait_for_job(name: str, region: str | None = None) -> str:
    """Prints a job's phases and log until it has ended; returns its status, such as Completed.

    Raises:
        ServiceError: it failed, with its reason; or AWS refuses.
    """
    with _aws():
        from pipeline.sagemaker.progress import follow

        session = _session(region)
        ended = follow(name, session.client("sagemaker"), session.client("logs"))
    if ended["TrainingJobStatus"] == "Failed":
        raise ServiceError(f"{name}: {ended.get('FailureReason', 'failed without a reason')}")
    return str(ended["TrainingJobStatus"])


def _session(region: str | None) -> Any:
    import boto3

    session = boto3.Session(region_name=region)
    if session.region_name is None:
        raise ServiceError("no AWS region: give --region or set AWS_DEFAULT_REGION")
    return session


def _source(job: SageMakerJob) -> tuple[str | None, bytes | None]:
    """Returns where this checkout's archive goes, and the archive; None twice with an image."""
    if job.image:
        return None, None
    archive = source_archive(_REPOSITORY)
    digest = hashlib.sha256(archive).hexdigest()[:12]
    return f"{job.output.rstrip('/')}/{job.name}/source/{digest}.tar.gz", archive


def _request(job: SageMakerJob, region: str, source: str | None) -> dict[str, Any]:
    """Returns the parameters of create_training_job.

    Args:
        job: what is to run.
        region: where.
        source: s3:// URI of this checkout's archive; None with an image of one's own.
    """
    channels, hyperparameters = _inputs(job)
    algorithm: dict[str, Any] = {
        "TrainingInputMode": "File",
        "TrainingImage": job.image or tensorflow_image(region, job.instance_type),
        "MetricDefinitions": [{"Name": name, "Regex": regex} for name, regex in METRICS.items()],
        "EnableSageMakerMetricsTimeSeries": True,
    }
    if job.image:
        algorithm["ContainerEntrypoint"] = ENTRY_POINT
    else:
        hyperparameters = _toolkits_parameters(job, hyperparameters, region, source)
    optional: dict[str, Any] = {
        "VpcConfig": {
            "Subnets": list(job.subnets), "SecurityGroupIds": list(job.security_groups)
        } if job.subnets else None,
        "CheckpointConfig": {
            "S3Uri": job.checkpoints, "LocalPath": "/opt/ml/checkpoints"
        } if job.checkpoints else None,
        "EnableManagedSpotTraining": job.spot or None,
        "Environment": _pairs(job.environment) or None,
        "Tags": [{"Key": key, "Value": value} for key, value in _pairs(job.tags).items()] or None,
    }  # fmt: skip
    limits = {"MaxRuntimeInSeconds": round(job.max_hours * 3600)}
    if job.spot:
        limits["MaxWaitTimeInSeconds"] = round(job.max_wait_hours * 3600)
    key = {"KmsKeyId": job.kms_key} if job.kms_key else {}
    return {
        "TrainingJobName": job.name,
        "RoleArn": job.role,
        "AlgorithmSpecification": algorithm,
        "HyperParameters": hyperparameters,
        "InputDataConfig": [_channel(name, uri) for name, uri in channels.items()],
        "OutputDataConfig": {"S3OutputPath": job.output, **key},
        "ResourceConfig": {
            "InstanceType": job.instance_type,
            "InstanceCount": job.instance_count,
            "VolumeSizeInGB": job.volume_gb,
        },
        "StoppingCondition": limits,
        "TensorBoardOutputConfig": {
            "S3OutputPath": f"{job.output.rstrip('/')}/{job.name}/tensorboard",
            "LocalPath": "/opt/ml/output/data/run/tensorboard",
        },
        # AWS's own hooks into TensorFlow, which our environment lacks.
        "ProfilerConfig": {"DisableProfiler": True},
        **{name: value for name, value in optional.items() if value is not None},
    }


def _channel(name: str, uri: str) -> dict[str, Any]:
    """Returns one input; every host reads its share of each batch, so all get all of the data."""
    place = {
        "S3DataType": "S3Prefix",
        "S3Uri": uri,
        "S3DataDistributionType": "FullyReplicated",
    }
    return {
        "ChannelName": name, "DataSource": {"S3DataSource": place}, "InputMode": "File"
    }  # fmt: skip


def _toolkits_parameters(
    job: SageMakerJob, values: dict[str, str], region: str, source: str | None
) -> dict[str, str]:
    """Returns the hyperparameters that AWS's toolkit in its container reads, each as JSON."""
    ours = {name: _for_the_toolkit(value) for name, value in values.items()}
    toolkits = {
        "sagemaker_submit_directory": source,
        "sagemaker_program": START_SCRIPT,
        "sagemaker_multi_worker_mirrored_strategy_enabled": True,
        "sagemaker_container_log_level": 20,  # logging.INFO
        "sagemaker_job_name": job.name,
        "sagemaker_region": region,
    }
    return {name: json.dumps(value) for name, value in {**ours, **toolkits}.items()}


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    return dict(text.split("=", 1) for text in texts)


def _inputs(job: SageMakerJob) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the s3:// URIs of the job's channels, and its hyperparameters."""
    given = dict(setting.split("=", 1) for setting in job.settings)
    settings = {} if "train.batch" in given else {"train.workers": "auto"}
    channels = {"examples" if job.has_examples else "coco": job.data}
    config = job.config
    if config.startswith("s3://"):
        channels["config"], config = config, config.rpartition("/")[2]
    if job.weights:
        channels["weights"] = job.weights
        settings["model.weights"] = f"{_CHANNELS}/weights/{job.weights.rpartition('/')[2]}"
    return channels, {"config": config, **settings, **given}


def _for_the_toolkit(value: str) -> str:
    """Returns a hyperparameter that survives the shell of AWS's toolkit, as JSON where needed.

    The toolkit builds `sh -c "./start.sh --name 'value' ..."` of them, where these characters
    end a quotation or mean something. Our entry point decodes JSON, however often.
    """
    if not re.search(r"""["'\\$`]""", value):
        return value
    escaped = (c if re.match(r"[\w.:/-]", c, re.ASCII) else _escape(c) for c in value)
    return f'"{"".join(escaped)}"'


def _escape(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


@contextlib.contextmanager
def _aws() -> Iterator[None]:
    """Runs calls of AWS's client, with failures in one line of ours."""
    try:
        yield
    except RcnnError:
        raise
    except ImportError as error:
        raise ServiceError(f"boto3 is missing: pip install 'boto3>=1.34' ({error})") from None
    except Exception as error:
        if line := _refusal(error):
            raise ServiceError(line) from None
        raise


def _refusal(error: Exception) -> str | None:
    """Returns what AWS or its client refused, None for any other error."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    if isinstance(error, NoCredentialsError):
        return "no AWS credentials found: set them up as for the AWS command line, or use a role"
    if isinstance(error, ClientError):
        answer = error.response.get("Error", {})
        return f"AWS refused {error.operation_name}: {answer.get('Code')}: {answer.get('Message')}"
    if isinstance(error, Boto3Error | BotoCoreError):
        return f"AWS: {error}"
    return None


def _check(job: SageMakerJob) -> None:
    if not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", job.name):
        raise ConfigError(f"--name {job.name}: expected up to 63 letters, digits and hyphens")
    if not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", job.role):
        raise ConfigError(f"--role {job.role}: expected arn:aws:iam::<account>:role/<name>")
    places = {"--data-dir": job.data, "--out": job.output, "--weights": job.weights,
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
    for variable in job.environment:
        if not re.match(r"[a-zA-Z_]\w*=", variable):
            raise ConfigError(f"--env {variable}: expected NAME=value")
    for tag in job.tags:
        if not re.match(r"[^=]+=", tag):
            raise ConfigError(f"--tag {tag}: expected KEY=value")
    if job.config.startswith("s3://"):
        return  # the job itself checks it
    path = _REPOSITORY / job.config
    if Path(job.config).is_absolute() or not path.is_file():
        raise ConfigError(f"--config {job.config}: expected a file of this checkout, or s3://")
    if not job.image and Path(job.config).as_posix() not in source_files(_REPOSITORY):
        raise ConfigError(f"--config {job.config}: only files below configs/ go to the job")
    weights = load_config(path, job.settings).model.weights
    if not job.weights and is_file_name(weights) and not str(weights).startswith("/"):
        raise ConfigError(
            f"model.weights: {weights} is no file of the container: give --weights s3://..., or "
            "--set model.weights=null"
        )
