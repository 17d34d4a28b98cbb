"""The other services the pack talks to, and the faults AWS is known for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.aws import AwsServer


def test_a_subnet_group_of_the_default_vpc_takes_an_instance(
    connect: Callable[..., Any], create: Callable[..., Any]
) -> None:
    """EC2's default subnets and security group are there for RDS."""
    ec2, rds = connect("ec2"), connect("rds")
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
    rds.create_db_subnet_group(
        DBSubnetGroupName="g", DBSubnetGroupDescription="d", SubnetIds=subnets
    )
    groups = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    made = create(DBSubnetGroupName="g", VpcSecurityGroupIds=[groups[0]["GroupId"]])
    assert made["DBSubnetGroup"]["DBSubnetGroupName"] == "g"


def test_the_services_beside_rds_answer(connect: Callable[..., Any]) -> None:
    """sts, iam, kms, sqs and ecr do their simplest thing."""
    assert connect("sts").get_caller_identity()["Account"] == "123456789012"
    assert connect("iam").list_users()["Users"] == []
    assert connect("kms").create_key()["KeyMetadata"]["Enabled"] is True
    queue = connect("sqs").create_queue(QueueName="q")["QueueUrl"]
    connect("sqs").send_message(QueueUrl=queue, MessageBody="hello")
    assert connect("sqs").receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "hello"
    assert (
        connect("ecr").create_repository(repositoryName="repo")["repository"]["repositoryName"]
        == "repo"
    )


@pytest.mark.parametrize(
    "service, call, code",
    [
        ("rds", "describe_db_instances", "Throttling"),
        ("ec2", "describe_vpcs", "RequestLimitExceeded"),
        ("ecr", "describe_repositories", "ThrottlingException"),
    ],
)
def test_throttling_is_what_boto3_expects_of_each_protocol(
    aws: AwsServer, connect: Callable[..., Any], service: str, call: str, code: str
) -> None:
    """Without retries the error comes out with its code; with retries boto3 gets over it."""
    aws.throttle_next(1)
    with pytest.raises(ClientError) as caught:
        getattr(connect(service), call)()
    assert caught.value.response["Error"]["Code"] == code
    aws.throttle_next(1)
    getattr(connect(service, retries=2), call)()


def test_throttling_can_be_of_one_action(aws: AwsServer, connect: Callable[..., Any]) -> None:
    """Other actions go through, and the order is used up by the one it is for."""
    rds = connect("rds")
    aws.throttle_next(1, action="DescribeDBSnapshots")
    rds.describe_db_instances()
    with pytest.raises(ClientError, match="Rate exceeded"):
        rds.describe_db_snapshots()
    rds.describe_db_snapshots()


def test_enforced_iam_denies_what_no_policy_allows(
    aws: AwsServer, connect: Callable[..., Any]
) -> None:
    """A user's key does what its policy says, and nothing once enforcement is on without one."""
    iam = connect("iam")
    iam.create_user(UserName="u")
    key = iam.create_access_key(UserName="u")["AccessKey"]
    statement = {"Effect": "Allow", "Action": "rds:Describe*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="u", PolicyName="p", PolicyDocument=policy)
    rds = connect("rds", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    aws.enforce_iam(True)
    try:
        assert rds.describe_db_instances()["DBInstances"] == []
        with pytest.raises(ClientError) as caught:
            rds.delete_db_instance(DBInstanceIdentifier="db", SkipFinalSnapshot=True)
        assert caught.value.response["Error"]["Code"] == "AccessDenied"
    finally:
        aws.enforce_iam(False)


def test_a_second_server_in_the_process_is_refused(aws: AwsServer) -> None:
    """moto's state is the process's, so two servers would share it unawares."""
    with pytest.raises(RuntimeError, match="one state per process"):
        AwsServer().start()
