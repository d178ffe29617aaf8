"""The command that trains on SageMaker."""

from typing import Any

import click

from ground.command_options import FiniteRange, RenamedOption, set_option
from ground.console import OneLineCommand, one_line_errors, print_document
from ground.speech import RESULT, say, speech_options
from pipeline.sagemaker.job import (
    SageMakerJob,
    start_training_job,
    training_job_request,
    wait_for_job,
)


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn train-sagemaker --name coco-16x4 --role $ROLE "
    "--config configs/awsdet/faster_rcnn_r50_fpn_1x_coco_16x4.yaml --data-dir s3://BUCKET/coco "
    "--weights s3://BUCKET/coco/pretrained-models/ImageNet-R50-AlignPadding.npz "
    "--out s3://BUCKET/out --instance-count 2 --dry-run",
)
@click.option("--name", required=True, help="Of the job; unique in the account and region.")
@click.option("--role", required=True, help="ARN of the role that the job takes on.")
@click.option("--image", help="Of your own, in ECR. Else AWS's TensorFlow and this checkout.")
@click.option("--config", required=True, help="A config of the checkout, or s3:// URI of one.")
@click.option(
    "--data-dir",
    "data",
    cls=RenamedOption,
    old=("--data",),
    required=True,
    help="s3:// URI of a COCO-format folder.",
)
@click.option(
    "--data-is-examples",
    "has_examples",
    cls=RenamedOption,
    old=("--examples",),
    is_flag=True,
    help="--data-dir is CocoTransform's examples.",
)
@click.option(
    "--out",
    "output",
    cls=RenamedOption,
    old=("--output",),
    required=True,
    help="s3:// URI for model, logs and scalars.",
)
@click.option(
    "--instance-type", default="ml.p3dn.24xlarge", show_default=True, help="Of every host."
)
@click.option(
    "--instance-count", default=1, show_default=True, type=click.IntRange(1), help="Hosts."
)
@click.option("--weights", help="s3:// URI of the weights file to start from.")
@click.option("--checkpoints", help="s3:// URI; a job with the same one goes on from there.")
@click.option("--spot", is_flag=True, help="Spare capacity; a cut-off job goes on by itself.")
@click.option(
    "--max-hours",
    default=24.0,
    show_default=True,
    type=FiniteRange(0.1),
    help="SageMaker ends the job then.",
)
@click.option("--max-wait-hours", default=48.0, show_default=True, help="With --spot, in all.")
@click.option(
    "--volume-gb", default=200, show_default=True, type=click.IntRange(1), help="Disk of a host."
)
@click.option("--subnet", "subnets", multiple=True, help="Of a VPC; may be repeated.")
@click.option("--security-group", "security_groups", multiple=True, help="May be repeated.")
@click.option("--env", "environment", multiple=True, metavar="NAME=VALUE", help="Of the container.")
@click.option("--kms-key", help="Id or ARN: encrypts what the job leaves.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Of the job.")
@set_option
@click.option("--region", help="AWS region; else as for the AWS command line.")
@click.option("--dry-run", is_flag=True, help="Print the request and send nothing.")
@click.option("--wait", is_flag=True, help="Show its phases and log until it has ended.")
@speech_options
@one_line_errors
def main(
    region: str | None, dry_run: bool, wait: bool, overrides: tuple[str, ...], **options: Any
) -> None:
    """Train on SageMaker: a worker for every GPU of every instance, each with the config's M.

    The first host has the checkpoints and the model. The same --checkpoints with the same config
    and data go on where an earlier job was cut off.
    """
    job = SageMakerJob(settings=overrides, **options)
    if dry_run:
        print_document(training_job_request(job, region))
        return
    start_training_job(job, region)
    say(f"{job.name}: started", RESULT)
    if wait:
        say(f"{job.name}: {wait_for_job(job.name, region)}", RESULT)
