"""RDS through boto3, in our words: describe, create or restore, modify, tag, snapshot, delete.

Each call is one request or two, never a waiter: what takes minutes is looked at again by a later
run. botocore retries throttled and broken calls a few times with its standard back-off; what is
left is translated once, in `_translated`.
"""

from __future__ import annotations

import contextlib
import functools
import time
from dataclasses import dataclass, field
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    Iterator,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from kubestorm.clients import aws
from kubestorm.core.errors import (
    ConflictError,
    DefinitionError,
    Error,
    NotFoundError,
    PermanentError,
    TemporaryError,
)
from kubestorm.core.naming import TAG_UID
from kubestorm.core.secrets import Secret
from kubestorm.core.settings import AwsSettings

SERVICE = "AWS RDS"
KEPT_SECONDS = 1800.0
# Source: "Common errors" of the RDS API reference, and botocore's own list of throttling codes.
TEMPORARY_CODES = frozenset(
    (
        "InternalFailure",
        "InternalError",
        "InvalidDBInstanceState",  # it changed its state since we looked: look again
        "InvalidDBInstanceStateFault",
        "InvalidDBSnapshotState",
        "InvalidDBParameterGroupState",  # an instance that is being deleted uses it still
        "InvalidDBParameterGroupStateFault",
        "InsufficientDBInstanceCapacity",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
    )
)
CREDENTIAL_CODES = frozenset(
    (
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "NotAuthorized",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    )
)
# Source: ModifyDBParameterGroup in the RDS API reference.
PARAMETERS_A_CALL = 20


@dataclass(frozen=True)
class ObservedInstance:
    """An RDS instance as DescribeDBInstances reports it; sizes in GiB."""

    identifier: str
    status: str
    engine: str
    version: str
    instance_class: str
    storage_gib: int
    storage_type: str
    iops: Optional[int]
    max_storage_gib: Optional[int]
    multi_az: bool
    backup_retention_days: int
    backup_window: Optional[str]
    maintenance_window: Optional[str]
    database_name: Optional[str]
    username: str
    deletion_protection: bool
    subnet_group: Optional[str]
    security_groups: Tuple[str, ...]
    parameter_group: Optional[str]
    encryption_key: Optional[str]
    monitoring_interval_seconds: int
    host: Optional[str]
    port: Optional[int]
    tags: Mapping[str, str]
    pending: Mapping[str, Any] = field(default_factory=dict)
    """PendingModifiedValues, by RDS's parameter names; the password is left out."""
    pending_reboot: bool = False
    """A parameter group waits for a reboot."""
    arn: str = ""
    throughput_mibps: Optional[int] = None
    """Of gp3; None where RDS does not say."""
    password_pending: bool = False
    """RDS has taken a new master password and is still applying it."""

    @property
    def owner_uid(self) -> Optional[str]:
        """The uid of the Database it belongs to, None for an instance that is not ours."""
        return self.tags.get(TAG_UID)


@dataclass(frozen=True)
class ObservedSnapshot:
    """A snapshot; `status` is RDS's word (`creating`, `available`, `failed`)."""

    identifier: str
    status: str
    tags: Mapping[str, str] = field(default_factory=dict)


class ObservedParameter(NamedTuple):
    """One parameter of a group. `static`: it takes effect with a reboot."""

    value: Optional[str]
    modifiable: bool
    static: bool


class ListedSnapshot(NamedTuple):
    """A snapshot in the list of all; `status` in RDS's words."""

    identifier: str
    status: str
    tags: Mapping[str, str]


class RdsClient:
    """One region of one account. Raises the pack's errors only.

    `before_write` is called before each write; what it raises keeps the write from being sent.
    """

    def __init__(self, client: Any, before_write: Callable[[], None] = lambda: None) -> None:
        self._client, self._before_write = client, before_write

    @contextlib.contextmanager
    def _writing(self, operation: str) -> Iterator[None]:
        self._before_write()
        with _translated(operation):
            yield

    def describe(self, identifier: str) -> Optional[ObservedInstance]:
        """The instance as it is now, None if there is none."""
        try:
            with _translated("DescribeDBInstances"):
                answer = self._client.describe_db_instances(DBInstanceIdentifier=identifier)
        except NotFoundError:
            return None
        found = answer["DBInstances"]
        return observed_instance(found[0]) if found else None

    def create(
        self,
        identifier: str,
        parameters: Mapping[str, Any],
        *,
        username: str,
        password: Secret,
        tags: Mapping[str, str],
    ) -> None:
        """CreateDBInstance; `parameters` by RDS's names. ConflictError when the name is taken."""
        with self._writing("CreateDBInstance"):
            self._client.create_db_instance(
                DBInstanceIdentifier=identifier,
                MasterUsername=username,
                MasterUserPassword=password.reveal(),
                Tags=_tag_list(tags),
                **parameters,
            )

    def restore_snapshot(
        self,
        identifier: str,
        snapshot: str,
        parameters: Mapping[str, Any],
        *,
        tags: Mapping[str, str],
    ) -> None:
        """RestoreDBInstanceFromDBSnapshot. Any snapshot of the account: whether the caller may have
        it is checked before. ConflictError when the name is taken.
        """
        with self._writing("RestoreDBInstanceFromDBSnapshot"):
            self._client.restore_db_instance_from_db_snapshot(
                DBInstanceIdentifier=identifier,
                DBSnapshotIdentifier=snapshot,
                Tags=_tag_list(tags),
                **parameters,
            )

    def restore_point_in_time(
        self,
        identifier: str,
        source: str,
        at: Optional[str],
        parameters: Mapping[str, Any],
        *,
        tags: Mapping[str, str],
    ) -> None:
        """RestoreDBInstanceToPointInTime from the backups of instance `source`; `at` is RFC 3339,
        None the latest restorable. As `restore_snapshot`.
        """
        when = {"RestoreTime": at} if at else {"UseLatestRestorableTime": True}
        with self._writing("RestoreDBInstanceToPointInTime"):
            self._client.restore_db_instance_to_point_in_time(
                SourceDBInstanceIdentifier=source,
                TargetDBInstanceIdentifier=identifier,
                Tags=_tag_list(tags),
                **when,
                **parameters,
            )

    def modify(
        self, identifier: str, parameters: Mapping[str, Any], *, immediately: bool = True
    ) -> None:
        """ModifyDBInstance; `parameters` by RDS's names. Not immediately: in the maintenance
        window.
        """
        with self._writing("ModifyDBInstance"):
            self._client.modify_db_instance(
                DBInstanceIdentifier=identifier, ApplyImmediately=immediately, **parameters
            )

    def set_password(self, identifier: str, password: Secret) -> None:
        """Set the master password; RDS applies it at once."""
        self.modify(identifier, {"MasterUserPassword": password.reveal()})

    def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        """Add or replace these tags."""
        with self._writing("AddTagsToResource"):
            self._client.add_tags_to_resource(ResourceName=arn, Tags=_tag_list(tags))

    def pending_maintenance(self, arn: str) -> Tuple[str, ...]:
        """AWS's own maintenance that waits for the instance, a phrase each."""
        with _translated("DescribePendingMaintenanceActions"):
            answer = self._client.describe_pending_maintenance_actions(ResourceIdentifier=arn)
        found = [
            item
            for each in answer["PendingMaintenanceActions"]
            for item in each["PendingMaintenanceActionDetails"]
        ]
        return tuple(_maintenance_phrase(item) for item in found)

    def describe_parameter_group(self, name: str) -> Optional[str]:
        """The group's family, None if there is no such group."""
        try:
            with _translated("DescribeDBParameterGroups"):
                answer = self._client.describe_db_parameter_groups(DBParameterGroupName=name)
        except NotFoundError:
            return None
        found = answer["DBParameterGroups"]
        return str(found[0]["DBParameterGroupFamily"]) if found else None

    def create_parameter_group(self, name: str, family: str, tags: Mapping[str, str]) -> None:
        """Make it; one of that name counts as done."""
        with contextlib.suppress(ConflictError), self._writing("CreateDBParameterGroup"):
            self._client.create_db_parameter_group(
                DBParameterGroupName=name,
                DBParameterGroupFamily=family,
                Description="Parameters of one Database, written by kubestorm",
                Tags=_tag_list(tags),
            )

    def parameters(self, group: str, *, only_set: bool) -> Mapping[str, ObservedParameter]:
        """The group's parameters by name: those that somebody set, or all there are (some hundreds,
        page by page).
        """
        found: Dict[str, ObservedParameter] = {}
        source = {"Source": "user"} if only_set else {}
        with _translated("DescribeDBParameters"):
            pages = self._client.get_paginator("describe_db_parameters").paginate(
                DBParameterGroupName=group, **source
            )
            for page in pages:
                for raw in page["Parameters"]:
                    found[raw["ParameterName"]] = ObservedParameter(
                        raw.get("ParameterValue"),
                        modifiable=bool(raw.get("IsModifiable", True)),
                        static=raw.get("ApplyType") == "static",
                    )
        return found

    def set_parameters(
        self, group: str, values: Mapping[str, str], static: Collection[str]
    ) -> None:
        """Write values, dynamic ones at once, `static` ones for the next reboot; twenty a call."""
        names = sorted(values)
        for chunk in (
            names[at : at + PARAMETERS_A_CALL] for at in range(0, len(names), PARAMETERS_A_CALL)
        ):
            parameters = [
                {
                    "ParameterName": name,
                    "ParameterValue": values[name],
                    "ApplyMethod": _method(name in static),
                }
                for name in chunk
            ]
            with self._writing("ModifyDBParameterGroup"):
                self._client.modify_db_parameter_group(
                    DBParameterGroupName=group, Parameters=parameters
                )

    def reset_parameters(self, group: str, names: Collection[str], static: Collection[str]) -> None:
        """Take values back to the family's defaults."""
        ordered = sorted(names)
        for chunk in (
            ordered[at : at + PARAMETERS_A_CALL] for at in range(0, len(ordered), PARAMETERS_A_CALL)
        ):
            parameters = [
                {"ParameterName": name, "ApplyMethod": _method(name in static)} for name in chunk
            ]
            with self._writing("ResetDBParameterGroup"):
                self._client.reset_db_parameter_group(
                    DBParameterGroupName=group, ResetAllParameters=False, Parameters=parameters
                )

    def delete_parameter_group(self, name: str) -> None:
        """Remove it. Safe to repeat. TemporaryError while an instance uses it."""
        with contextlib.suppress(NotFoundError), self._writing("DeleteDBParameterGroup"):
            self._client.delete_db_parameter_group(DBParameterGroupName=name)

    def describe_snapshot(self, identifier: str) -> Optional[ObservedSnapshot]:
        """The snapshot of that name, None if the account has none of its own."""
        try:
            with _translated("DescribeDBSnapshots"):
                answer = self._client.describe_db_snapshots(DBSnapshotIdentifier=identifier)
        except NotFoundError:
            return None
        found = answer["DBSnapshots"]
        if not found:
            return None
        return ObservedSnapshot(identifier, found[0].get("Status", ""), _tags_of(found[0]))

    def create_snapshot(
        self, identifier: str, snapshot_identifier: str, tags: Mapping[str, str]
    ) -> None:
        """Begin a manual snapshot; one of that name counts as done."""
        with contextlib.suppress(ConflictError), self._writing("CreateDBSnapshot"):
            self._client.create_db_snapshot(
                DBInstanceIdentifier=identifier,
                DBSnapshotIdentifier=snapshot_identifier,
                Tags=_tag_list(tags),
            )

    def delete(self, identifier: str, *, final_snapshot: Optional[str]) -> None:
        """Begin the deletion: with a final snapshot and its automated backups kept, or (None) with
        nothing left.
        """
        if final_snapshot:
            how: Dict[str, Any] = {
                "SkipFinalSnapshot": False,
                "FinalDBSnapshotIdentifier": final_snapshot,
                "DeleteAutomatedBackups": False,
            }
        else:
            how = {"SkipFinalSnapshot": True, "DeleteAutomatedBackups": True}
        with contextlib.suppress(NotFoundError), self._writing("DeleteDBInstance"):
            self._client.delete_db_instance(DBInstanceIdentifier=identifier, **how)

    def list_instances(self) -> Iterator[ObservedInstance]:
        """Every instance of the region, page by page."""
        with _translated("DescribeDBInstances"):
            for page in self._client.get_paginator("describe_db_instances").paginate():
                for raw in page["DBInstances"]:
                    yield observed_instance(raw)

    def list_snapshots(self) -> Iterator[ListedSnapshot]:
        """Every manual and final snapshot of the region, page by page."""
        with _translated("DescribeDBSnapshots"):
            for page in self._client.get_paginator("describe_db_snapshots").paginate(
                SnapshotType="manual"
            ):
                for raw in page["DBSnapshots"]:
                    yield ListedSnapshot(
                        str(raw["DBSnapshotIdentifier"]),
                        str(raw.get("Status") or ""),
                        _tags_of(raw),
                    )


def connect(settings: AwsSettings, before_write: Callable[[], None] = lambda: None) -> RdsClient:
    """A client as configured; assuming a role is the only request it sends.

    Making boto's reads megabytes of service descriptions, so it is kept: for part of the hour after
    which an assumed role's keys end, and until AWS refuses its credentials.
    """
    return RdsClient(_kept(settings, int(time.monotonic() // KEPT_SECONDS)), before_write)


@functools.lru_cache(maxsize=1)
def _kept(settings: AwsSettings, _period: int) -> Any:
    with _translated("AssumeRole" if settings.role_arn else "the configured credentials"):
        return aws.open_client(settings, "rds")


def observed_instance(raw: Mapping[str, Any]) -> ObservedInstance:
    """One entry of DescribeDBInstances as a value."""
    endpoint = raw.get("Endpoint") or {}
    groups = raw.get("DBParameterGroups") or [{}]
    pending = {
        key: value
        for key, value in (raw.get("PendingModifiedValues") or {}).items()
        if key != "MasterUserPassword"
    }
    return ObservedInstance(
        identifier=raw["DBInstanceIdentifier"],
        status=raw.get("DBInstanceStatus", ""),
        engine=raw.get("Engine", ""),
        version=raw.get("EngineVersion", ""),
        instance_class=raw.get("DBInstanceClass", ""),
        storage_gib=int(raw.get("AllocatedStorage", 0)),
        storage_type=raw.get("StorageType", ""),
        iops=raw.get("Iops"),
        throughput_mibps=raw.get("StorageThroughput"),
        max_storage_gib=raw.get("MaxAllocatedStorage"),
        multi_az=bool(raw.get("MultiAZ", False)),
        backup_retention_days=int(raw.get("BackupRetentionPeriod", 0)),
        backup_window=raw.get("PreferredBackupWindow"),
        maintenance_window=raw.get("PreferredMaintenanceWindow"),
        database_name=raw.get("DBName"),
        username=raw.get("MasterUsername", ""),
        deletion_protection=bool(raw.get("DeletionProtection", False)),
        subnet_group=(raw.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
        security_groups=tuple(
            item["VpcSecurityGroupId"] for item in raw.get("VpcSecurityGroups") or ()
        ),
        parameter_group=groups[0].get("DBParameterGroupName"),
        encryption_key=raw.get("KmsKeyId"),
        monitoring_interval_seconds=int(raw.get("MonitoringInterval") or 0),
        host=endpoint.get("Address"),
        port=endpoint.get("Port"),
        tags=_tags_of(raw),
        pending=pending,
        pending_reboot=any(
            group.get("ParameterApplyStatus") == "pending-reboot" for group in groups
        ),
        arn=raw.get("DBInstanceArn", ""),
        password_pending="MasterUserPassword" in (raw.get("PendingModifiedValues") or {}),
    )


def _method(static: bool) -> str:
    return "pending-reboot" if static else "immediate"


def _maintenance_phrase(raw: Mapping[str, Any]) -> str:
    """`system-update: New operating system patch, by 2026-03-01`."""
    when = (
        raw.get("CurrentApplyDate") or raw.get("AutoAppliedAfterDate") or raw.get("ForcedApplyDate")
    )
    text = f"{raw.get('Action', 'maintenance')}: {raw.get('Description') or 'by AWS'}"
    return f"{text}, from {when:%Y-%m-%d}" if when else text


def _tags_of(raw: Mapping[str, Any]) -> Mapping[str, str]:
    return {item["Key"]: item.get("Value", "") for item in raw.get("TagList") or ()}


def _tag_list(tags: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


@contextlib.contextmanager
def _translated(operation: str) -> Iterator[None]:
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        raise _from_answer(error, operation) from error
    except exceptions.ParamValidationError as error:
        raise PermanentError(
            f"{operation} cannot be asked of {SERVICE}: {error}", service=SERVICE
        ) from error
    except (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.ProfileNotFound,
    ) as error:
        # AWS was not asked, and so has refused nothing.
        raise DefinitionError(
            f"There are no AWS credentials to use for {operation}: {error}. Set "
            "aws.credentials_file, aws.profile or an instance role.",
            field="aws",
        ) from error
    except exceptions.NoRegionError as error:
        message = "No AWS region is known; set aws.region."
        raise DefinitionError(message, field="aws.region") from error
    except (
        exceptions.BotoCoreError
    ) as error:  # connections refused, reset, timed out, names not found, TLS
        raise TemporaryError(
            f"{SERVICE} cannot be reached for {operation}: {error}", service=SERVICE
        ) from error


def _from_answer(error: Any, operation: str) -> Error:
    told = error.response.get("Error") or {}
    code, message = str(told.get("Code", "")), str(told.get("Message", ""))
    status = (error.response.get("ResponseMetadata") or {}).get("HTTPStatusCode")
    text = f"{SERVICE} refused {operation} ({code}): {message}"
    if code in TEMPORARY_CODES or (isinstance(status, int) and status >= 500):
        text = f"{SERVICE} cannot do {operation} right now ({code}): {message}"
        return TemporaryError(text, service=SERVICE, status_code=status)
    if code.endswith(("NotFound", "NotFoundFault")) and code.startswith(
        ("DBInstance", "DBSnapshot", "DBParameterGroup")
    ):
        return NotFoundError(text, service=SERVICE, status_code=status)
    if code.endswith(("AlreadyExists", "AlreadyExistsFault")):
        return ConflictError(text, service=SERVICE, status_code=status)
    if code in CREDENTIAL_CODES:
        _kept.cache_clear()
        text = (
            f"{SERVICE} does not allow the pack {operation} ({code}): {message} The policy needed "
            "is in deploy/."
        )
    return PermanentError(text, service=SERVICE, status_code=status)
