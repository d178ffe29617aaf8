"""Follows a SageMaker job: its phases, and the log that its hosts write to CloudWatch."""

import time
from typing import Any

from botocore.exceptions import ClientError

from ground.speech import say

_LOG_GROUP = "/aws/sagemaker/TrainingJobs"
_POLL_SECONDS = 20.0
_ENDED = ("Completed", "Failed", "Stopped")


def follow(name: str, sagemaker: Any, logs: Any) -> dict[str, Any]:
    """Prints a job's phases and log until it has ended; returns its description.

    Args:
        name: name of the job.
        sagemaker: boto3's client of SageMaker.
        logs: its client of CloudWatch's logs. Where they may not be read, a line says so once.
    """
    phases = 0
    log: _Log | None = _Log(name, logs)
    while True:
        job: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=name)
        seen = job.get("SecondaryStatusTransitions", [])
        for phase in seen[phases:]:
            message = phase.get("StatusMessage", "")
            say(f"{phase['StartTime']:%Y-%m-%d %H:%M:%S} {phase['Status']} - {message}")
        phases = len(seen)
        if log is not None:
            try:
                log.print_new()
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code", "")
                # There is no log before the first host writes one.
                if code != "ResourceNotFoundException":
                    say(f"its log cannot be read: {code}", "warning", "warning")
                    log = None
        if job["TrainingJobStatus"] in _ENDED:
            return job
        time.sleep(_POLL_SECONDS)


class _Log:
    """The log streams of a job's hosts, and how far each was read."""

    def __init__(self, name: str, client: Any) -> None:
        self._name = name
        self._client = client
        self._tokens: dict[str, str] = {}

    def print_new(self) -> None:
        """Prints what was written since the last call, behind the host's name.

        Raises:
            ClientError: CloudWatch refuses.
        """
        pages = self._client.get_paginator("describe_log_streams").paginate(
            logGroupName=_LOG_GROUP, logStreamNamePrefix=f"{self._name}/"
        )
        for stream in [found["logStreamName"] for page in pages for found in page["logStreams"]]:
            self._print_stream(stream)

    def _print_stream(self, stream: str) -> None:
        host = stream.removeprefix(f"{self._name}/").rpartition("-")[0] or stream
        while True:
            token = self._tokens.get(stream)
            answer = self._client.get_log_events(
                logGroupName=_LOG_GROUP,
                logStreamName=stream,
                startFromHead=True,
                **({"nextToken": token} if token else {}),
            )
            for event in answer["events"]:
                say(f"[{host}] {event['message']}", "log", fields={"host": host})
            self._tokens[stream] = answer["nextForwardToken"]
            if not answer["events"] or self._tokens[stream] == token:
                return
