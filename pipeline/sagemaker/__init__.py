"""Trains on SageMaker. What a notebook needs is here."""

from pipeline.sagemaker.job import (
    SageMakerJob,
    start_training_job,
    training_job_request,
    wait_for_job,
)

__all__ = ["SageMakerJob", "start_training_job", "training_job_request", "wait_for_job"]
