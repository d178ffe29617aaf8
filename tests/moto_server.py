"""Moto's server as S3: the people who play AWS, for all that goes well.

What it does not play (a store that throttles, refuses a key, cuts a line) tests/s3_server.py does.
"""

import contextlib
import logging
from collections.abc import Iterator

import boto3
import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

SECRET_KEY = "a-secret-of-the-tests"
_PAGE = 5  # short, so that lists have several pages


class MotoServer:
    """The server, with one bucket.

    Attributes:
        environment: what a client needs to know.
    """

    def __init__(self, address: str) -> None:
        self.environment = {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "AKIATESTONLY",
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "us-east-1",
            "MOTO_S3_DEFAULT_MAX_KEYS": str(_PAGE),  # the server is in this process
        }
        self._client = boto3.client(
            "s3",
            endpoint_url=address,
            aws_access_key_id="AKIATESTONLY",
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
        )

    def set_up(self, patch: pytest.MonkeyPatch) -> None:
        """Leaves an empty bucket, and has clients find it."""
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].reset()
        self._client.create_bucket(Bucket="bucket")
        for name, value in self.environment.items():
            patch.setenv(name, value)


@contextlib.contextmanager
def moto_server() -> Iterator[MotoServer]:
    """Yields the server, which serves within the block."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else it tells of every request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield MotoServer(f"http://{host}:{port}")
    finally:
        server.stop()
