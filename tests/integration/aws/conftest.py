"""AWS for each module: moto takes a second to load and keeps one state per process. The clock
stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from sandbox.aws import AwsServer
from sandbox.clock import ManualClock

REGION = "eu-central-1"


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="module")
def running(clock: ManualClock) -> Iterator[AwsServer]:
    with AwsServer(clock=clock, provision_seconds=60) as server:
        yield server


@pytest.fixture
def aws(running: AwsServer) -> AwsServer:
    running.reset()
    return running


@pytest.fixture
def connect(aws: AwsServer) -> Iterator[Callable[..., Any]]:
    """Make boto3 clients of a service, with throw-away credentials and without retries unless given
    others.
    """
    made: list[Any] = []

    def make(service: str, *, retries: int = 0, key: str = "test", secret: str = "test") -> Any:
        session = boto3.session.Session(
            aws_access_key_id=key, aws_secret_access_key=secret, region_name=REGION
        )
        config = Config(retries={"total_max_attempts": retries + 1, "mode": "standard"})
        made.append(session.client(service, endpoint_url=aws.url, config=config))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def rds(connect: Callable[..., Any]) -> Any:
    return connect("rds")


@pytest.fixture
def create(rds: Any) -> Callable[..., dict[str, Any]]:
    """Create an instance of small, valid arguments, some replaced or (with None) left out."""

    def make(name: str = "db", **changes: Any) -> dict[str, Any]:
        arguments = {
            "DBInstanceIdentifier": name,
            "DBInstanceClass": "db.t3.micro",
            "Engine": "postgres",
            "EngineVersion": "16.4",
            "MasterUsername": "app",
            "MasterUserPassword": "a-long-password",
            "AllocatedStorage": 20,
            **changes,
        }
        given = {key: value for key, value in arguments.items() if value is not None}
        return rds.create_db_instance(**given)["DBInstance"]

    return make
