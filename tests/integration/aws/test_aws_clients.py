"""The pack's own clients, as the configuration says where their credentials are."""

import botocore.session
import pytest
from botocore.exceptions import ClientError
from kubestorm.clients import aws as aws_clients
from kubestorm.clients import rds
from kubestorm.core.errors import PermanentError
from kubestorm.core.settings import AwsSettings

CREDENTIALS = """
[default]
aws_access_key_id = DEFAULTKEY
aws_secret_access_key = secret-1
[shop]
aws_access_key_id = SHOPKEY
aws_secret_access_key = secret-2
"""


@pytest.mark.parametrize("profile, key", [(None, "DEFAULTKEY"), ("shop", "SHOPKEY")])
def test_a_credentials_file_is_read_by_its_path(aws, tmp_path, monkeypatch, profile, key):
    """The services' user need not have a home with credentials in it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "aws-credentials"
    file.write_text(CREDENTIALS)
    settings = AwsSettings(
        region="eu-central-1",
        endpoint_url=aws.url,
        credentials_file=str(file),
        profile=profile,
    )
    client = aws_clients.open_client(settings, "rds")
    sent = []
    client.meta.events.register("before-send.rds", lambda request, **_: sent.append(request))
    assert client.describe_db_instances()["DBInstances"] == []
    assert f"Credential={key}/".encode() in sent[0].headers["Authorization"]
    client.close()


def test_a_client_of_rds_is_kept_until_its_credentials_are_refused(aws, monkeypatch):
    """Making one reads megabytes; keys that were replaced are read again after the refusal."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "KEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-1")
    settings = AwsSettings(region="eu-central-1", endpoint_url=aws.url)
    first = rds.connect(settings)
    assert list(rds.connect(settings).list_instances()) == []
    assert rds.connect(settings)._client is first._client
    answer = {"Error": {"Code": "ExpiredToken"}}

    def refuse(**_: object) -> None:
        raise ClientError(answer, "DescribeDBInstances")

    first._client.meta.events.register("before-call.rds.DescribeDBInstances", refuse)
    with pytest.raises(PermanentError, match="ExpiredToken"):
        list(first.list_instances())
    assert rds.connect(settings)._client is not first._client


@pytest.mark.parametrize("region", ["eu-central-1", "us-east-1", "cn-north-1", "us-gov-west-1"])
@pytest.mark.parametrize("service", ["rds", "sqs", "sts", "ecr"])
def test_endpoints_are_those_of_botocores_own_descriptions(service, region, monkeypatch):
    """In each part of Amazon's cloud, and so is how requests are signed."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "KEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-1")
    ours = aws_clients.open_client(AwsSettings(region=region), service)
    theirs = botocore.session.Session().create_client(service, region_name=region)

    def facts(client):
        signer = client._request_signer
        return (
            client.meta.endpoint_url,
            client.meta.partition,
            signer.region_name,
            signer.signing_name,
        )

    assert facts(ours) == facts(theirs)
