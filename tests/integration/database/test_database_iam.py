"""The actions of the IAM policy in deploy/ suffice for the journey, when AWS checks every call."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def limited(world, aws, monkeypatch):
    """The world, entered as a user with deploy/iam-policy.json and nothing else."""
    iam = boto3.client("iam", endpoint_url=aws.url, region_name="eu-central-1")
    iam.create_user(UserName="kubestorm")
    policy = json.loads((ROOT / "deploy" / "iam-policy.json").read_text())
    for statement in policy["Statement"]:
        statement["Resource"] = "*"  # moto checks who may call what, and knows no resources of RDS
    iam.put_user_policy(
        UserName="kubestorm", PolicyName="kubestorm", PolicyDocument=json.dumps(policy)
    )
    key = iam.create_access_key(UserName="kubestorm")["AccessKey"]
    credentials = Path(world.config["vault"]["auth"]["token_file"]).with_name("aws-credentials")
    credentials.write_text(
        f"[limited]\naws_access_key_id = {key['AccessKeyId']}\n"
        f"aws_secret_access_key = {key['SecretAccessKey']}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    world.config["aws"]["profile"] = "limited"
    aws.enforce_iam(True)
    yield world
    aws.enforce_iam(False)


def test_the_iam_policy_of_deploy_is_enough(limited):
    """Creation with parameters, a change, a rotation, a deletion with snapshots."""
    spec = {"parameters": {"work_mem": "4096"}, "deletionPolicy": "Snapshot"}
    limited.apply(**spec)
    limited.until_ready()
    limited.apply(**{**spec, "size": "large", "parameters": {}})
    limited.until_ready()
    assert "pending" not in limited.get()["status"], "maintenance could be read"
    limited.annotate(**{"kubestorm.io/rotate-credentials": "now"})
    limited.reconcile()
    limited.until_ready()
    limited.delete()
    for _ in range(12):
        limited.reconcile()
        if limited.get() is None:
            break
        limited.let_aws_finish()
    assert limited.get() is None


def test_a_missing_permission_is_named_with_the_remedy(limited, aws):
    """The call that was refused is in the condition, and where the policy is."""
    aws.enforce_iam(False)
    iam = boto3.client("iam", endpoint_url=aws.url, region_name="eu-central-1")
    iam.delete_user_policy(UserName="kubestorm", PolicyName="kubestorm")
    aws.enforce_iam(True)
    limited.apply()
    limited.reconcile()
    assert limited.condition("Ready") == ("False", "AWSRDSRefused")
    message = next(
        item["message"] for item in limited.get()["status"]["conditions"] if item["type"] == "Ready"
    )
    assert "DescribeDBInstances" in message
    assert "deploy/" in message
