"""Clients of AWS services as the pack's configuration says: profile or environment, a role to
assume, an endpoint.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

from kubestorm.settings import AwsSettings


def open_client(
    settings: AwsSettings,
    service: str,
    *,
    region: Optional[str] = None,
    endpoint_url: Optional[str] = None,
    read_timeout_seconds: Optional[float] = None,
) -> Any:
    """A boto3 client; assuming a role is the only request it sends. Raises botocore's exceptions."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=settings.timeout_seconds,
        read_timeout=read_timeout_seconds or settings.timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": settings.attempts},
        user_agent_extra="kubestorm",
    )
    options: Dict[str, Any] = {"config": config}
    if settings.endpoint_url:
        options["endpoint_url"] = settings.endpoint_url
    if settings.ca_file:
        options["verify"] = settings.ca_file
    session = boto3.Session(profile_name=settings.profile, region_name=region or settings.region)
    if settings.role_arn:
        session = _assume(session, settings, options)
    if endpoint_url:
        options["endpoint_url"] = endpoint_url
    return session.client(service, **options)


def _assume(session: Any, settings: AwsSettings, options: Mapping[str, Any]) -> Any:
    import boto3

    external = {"ExternalId": settings.external_id} if settings.external_id else {}
    answer = session.client("sts", **options).assume_role(
        RoleArn=settings.role_arn, RoleSessionName="kubestorm", **external
    )
    given = answer["Credentials"]
    return boto3.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        region_name=session.region_name,
    )
