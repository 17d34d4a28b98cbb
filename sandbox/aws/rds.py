"""RDS as moto models it, with the two things it lacks: time, and refusals.

A change is scheduled on the world's clock and carried out when somebody next looks, so there are no
threads and a test can move the clock. The statuses and their order are those of the RDS user guide
("Viewing DB instance status").
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, NamedTuple

from moto.core.responses import ActionResult
from moto.rds import models
from moto.rds.exceptions import RDSClientError
from moto.rds.responses import RDSResponse

from sandbox.aws import rds_parameters, rds_rules
from sandbox.clock import Clock, wall_clock

AVAILABLE = "available"
_ORIGINAL_BACKEND = models.RDSBackend
_ORIGINAL_INSTANCE = models.DBInstance
_ORIGINAL_DESCRIBE_PARAMETERS = RDSResponse.describe_db_parameters

# The parameters whose change waits in PendingModifiedValues, and what that structure calls them.
PENDING_NAMES = {
    "allocated_storage": "AllocatedStorage",
    "backup_retention_period": "BackupRetentionPeriod",
    "ca_certificate_identifier": "CACertificateIdentifier",
    "db_instance_class": "DBInstanceClass",
    "engine_version": "EngineVersion",
    "iops": "Iops",
    "license_model": "LicenseModel",
    "master_user_password": "MasterUserPassword",
    "multi_az": "MultiAZ",
    "port": "Port",
    "storage_throughput": "StorageThroughput",
    "storage_type": "StorageType",
}
# Applied as soon as possible whatever ApplyImmediately says (API reference, ModifyDBInstance).
SOON = frozenset({"master_user_password"})
MASK = "****"


class RdsTimes(NamedTuple):
    """Seconds each change takes."""

    create: float
    backup: float
    modify: float
    delete: float
    snapshot: float
    reboot: float

    @classmethod
    def scaled(cls, provision_seconds: float) -> RdsTimes:
        """Times in proportion.

        Creating and the first backup make up the provisioning, the rest take half of it or less.
        """
        whole = provision_seconds
        return cls(
            create=whole * 0.8,
            backup=whole * 0.2,
            modify=whole / 2,
            delete=whole / 2,
            snapshot=whole / 3,
            reboot=whole / 4,
        )


class World(NamedTuple):
    """What the running server decides for all of RDS."""

    clock: Clock = wall_clock
    times: RdsTimes = RdsTimes.scaled(0)


_world = World()


@contextlib.contextmanager
def _as_rds_errors() -> Iterator[None]:
    try:
        yield
    except rds_rules.Refusal as refusal:
        raise RDSClientError(refusal.code, refusal.message) from None


def _not_available_for_snapshot(name: str) -> RDSClientError:
    reason = f"because the database instance {name} is not currently in the available state."
    return RDSClientError("InvalidDBInstanceState", f"Cannot create a snapshot {reason}")


class TimedInstance(models.DBInstance):  # type: ignore[misc]
    """An instance whose endpoint is unknown until it has been available once."""

    def __init__(self, backend: Any, **arguments: Any) -> None:
        self.endpoint_known = False
        self.pending_modified_values: dict[str, Any] = {}
        self.pending: dict[str, Any] = {}
        self.parameters_status = "in-sync"
        self.maintenance: list[dict[str, Any]] = []
        super().__init__(backend, **arguments)
        self.dbi_resource_id = f"db-{uuid.uuid4().hex[:26].upper()}"

    @property
    def endpoint(self) -> dict[str, Any] | None:
        return super().endpoint if self.endpoint_known else None

    @property
    def db_parameter_group_status_list(self) -> Any:
        groups = self.db_parameter_groups()
        for group in groups:
            group.ParameterApplyStatus = self.parameters_status
        return groups

    def await_values(self, values: dict[str, Any]) -> None:
        """Remember values to apply later, and show them, the password only as asterisks."""
        self.pending = {**self.pending, **values}
        shown = {
            PENDING_NAMES[key]: MASK if key == "master_user_password" else value
            for key, value in self.pending.items()
        }
        self.pending_modified_values = shown

    def take_pending(self, names: set[str]) -> dict[str, Any]:
        """The named values that were waiting, which then wait no longer."""
        taken = {key: value for key, value in self.pending.items() if key in names}
        rest = {key: value for key, value in self.pending.items() if key not in names}
        self.pending = {}
        self.await_values(rest)
        return taken

    def shape(self) -> rds_rules.InstanceShape:
        return rds_rules.InstanceShape(
            self.engine,
            self.engine_version,
            self.allocated_storage,
            self.storage_type,
            self.iops,
            self.storage_throughput,
        )


class TimedBackend(models.RDSBackend):  # type: ignore[misc]
    """moto's RDS of one account and region, with a schedule of what is yet to happen."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._schedule: list[tuple[float, Callable[[], None]]] = []

    # -- time

    def advance(self) -> None:
        """Carry out what has come due, oldest first; a step may schedule another that is due
        already.
        """
        now = _world.clock()
        while self._schedule and self._schedule[0][0] <= now:
            _, step = self._schedule.pop(0)
            step()

    def _in(self, seconds: float, step: Callable[[], None], after: float | None = None) -> float:
        due = (_world.clock() if after is None else after) + seconds
        self._schedule.append((due, step))
        self._schedule.sort(key=lambda entry: entry[0])
        return due

    def _status_in(
        self, seconds: float, thing: Any, status: str, after: float | None = None
    ) -> float:
        def step() -> None:
            if thing.status != "deleting":
                thing.status = status
                if status == AVAILABLE and isinstance(thing, TimedInstance):
                    thing.endpoint_known = True

        return self._in(seconds, step, after)

    def _begin(self, instance: Any) -> Any:
        """Let a new instance go through its first statuses."""
        instance.status = "creating"
        instance.endpoint_known = False
        due = None
        if instance.backup_retention_period:
            due = self._status_in(_world.times.create, instance, "backing-up")
            self._status_in(_world.times.backup, instance, AVAILABLE, after=due)
        else:
            self._status_in(_world.times.create, instance, AVAILABLE)
        return instance

    # -- instances

    def create_db_instance(self, db_kwargs: MutableMapping[str, Any]) -> Any:
        self.advance()
        if db_kwargs.get("engine") not in rds_rules.ENGINES or db_kwargs.get(
            "db_cluster_identifier"
        ):
            return super().create_db_instance(db_kwargs)
        with _as_rds_errors():
            db_kwargs.update(rds_rules.check_create(db_kwargs))
        self._check_subnet_group(db_kwargs.get("db_subnet_group_name"))
        self._forget_first_snapshot(db_kwargs["db_instance_identifier"])
        return self._begin(super().create_db_instance(db_kwargs))

    def _forget_first_snapshot(self, name: str) -> None:
        """moto names an instance's first automated snapshot by the minute, and stumbles over that
        of a former one.
        """
        if name not in self.databases:
            for known in [
                each for each in self.database_snapshots if each.startswith(f"rds:{name}-")
            ]:
                del self.database_snapshots[known]

    def restore_db_instance_from_db_snapshot(
        self, from_snapshot_id: str, overrides: MutableMapping[str, Any]
    ) -> Any:
        self.advance()
        name = from_snapshot_id.rpartition(":")[2]
        snapshot = self.database_snapshots.get(name)
        if snapshot and snapshot.status != AVAILABLE:
            raise RDSClientError(
                "InvalidDBSnapshotState",
                f"Cannot restore from snapshot {name}: it is not in the available state.",
            )
        with _as_rds_errors():
            rds_rules.check_identifier(
                "DBInstanceIdentifier", overrides.get("db_instance_identifier")
            )
            if overrides.get("db_instance_class"):
                rds_rules.check_class(overrides["db_instance_class"])
        self._check_subnet_group(overrides.get("db_subnet_group_name"))
        return super().restore_db_instance_from_db_snapshot(from_snapshot_id, overrides)

    def describe_db_instances(
        self, db_instance_identifier: str | None = None, filters: Any = None
    ) -> Any:
        self.advance()
        return super().describe_db_instances(db_instance_identifier, filters)

    def modify_db_instance(
        self, db_instance_identifier: str, db_kwargs: MutableMapping[str, Any]
    ) -> Any:
        instance = self.describe_db_instances(db_instance_identifier)[0]
        if not isinstance(instance, TimedInstance) or instance.engine not in rds_rules.ENGINES:
            return super().modify_db_instance(db_instance_identifier, db_kwargs)
        if instance.status != AVAILABLE:
            raise RDSClientError(
                "InvalidDBInstanceState", "Database instance is not in available state."
            )
        request = {key: db_kwargs[key] for key in db_kwargs}
        if request.get("db_port_number"):
            request["port"] = request.pop("db_port_number")
        with _as_rds_errors():
            request.update(rds_rules.check_modify(instance.shape(), request))
            size = request.get("allocated_storage") or instance.allocated_storage
            rds_rules.check_ceiling(size, request.get("max_allocated_storage"))
            role = request.get("monitoring_role_arn") or instance.monitoring_role_arn
            rds_rules.check_monitoring(request.get("monitoring_interval"), role)
        later = {
            k: v
            for k, v in request.items()
            if k in PENDING_NAMES and v is not None and self._differs(instance, k, v)
        }
        at_once = {key: value for key, value in request.items() if key not in PENDING_NAMES}
        new_name = at_once.get("new_db_instance_identifier")
        if new_name and new_name in self.databases:
            raise models.DBInstanceAlreadyExists()
        another_group = at_once.get("db_parameter_group_name") not in (
            None,
            instance.db_parameter_group_name,
        )
        super().modify_db_instance(db_instance_identifier, at_once)
        if another_group:
            instance.parameters_status = "pending-reboot"  # it takes effect with a reboot, always
        instance.await_values(later)
        self._start_applying(
            instance, set(PENDING_NAMES) if request.get("apply_immediately") else set(SOON)
        )
        return instance

    @staticmethod
    def _differs(instance: TimedInstance, key: str, value: Any) -> bool:
        return key == "master_user_password" or getattr(instance, key) != value

    def _start_applying(self, instance: TimedInstance, names: set[str]) -> None:
        """Begin to apply those pending values, if there are any: the instance is busy until they
        hold.
        """
        names = names & set(instance.pending)
        if not names:
            return
        instance.status = "resetting-master-credentials" if names <= SOON else "modifying"
        if "engine_version" in names:
            instance.status = "upgrading"

        def step() -> None:
            if instance.status != "deleting":
                instance.update(**instance.take_pending(names))
                instance.status = AVAILABLE
                if "engine_version" in names:
                    instance.parameters_status = "in-sync"

        self._in(_world.times.modify, step)

    def run_maintenance(self) -> None:
        """A maintenance window: everything pending on available instances begins to be applied."""
        self.advance()
        for instance in self.databases.values():
            if isinstance(instance, TimedInstance) and instance.status == AVAILABLE:
                instance.maintenance = []
                self._start_applying(instance, set(PENDING_NAMES))

    def describe_db_parameter_groups(self, db_parameter_group_kwargs: Any) -> Any:
        name = db_parameter_group_kwargs.get("db_parameter_group_name")
        if name and name not in self.db_parameter_groups:
            raise models.DBParameterGroupNotFoundError(name)
        return super().describe_db_parameter_groups(db_parameter_group_kwargs)

    def modify_db_parameter_group(
        self, db_parameter_group_name: str, db_parameter_group_parameters: Any
    ) -> Any:
        group = self.db_parameter_groups.get(db_parameter_group_name)
        wanted = list(db_parameter_group_parameters)
        if group is not None:
            with _as_rds_errors():
                rds_parameters.check(group.family or "", wanted)
        changed = super().modify_db_parameter_group(db_parameter_group_name, wanted)
        self._await_reboot(db_parameter_group_name, wanted)
        return changed

    def reset_db_parameter_group(
        self, name: str, parameters: list[dict[str, Any]], everything: bool
    ) -> Any:
        """ResetDBParameterGroup, which moto lacks."""
        group = self.db_parameter_groups.get(name)
        if group is None:
            raise models.DBParameterGroupNotFoundError(name)
        named = {parameter["ParameterName"] for parameter in parameters}
        for known in [known for known in group.parameters if everything or known in named]:
            del group.parameters[known]
        self._await_reboot(name, parameters)
        return group

    def delete_db_parameter_group(self, db_parameter_group_name: str) -> Any:
        self.advance()
        if any(
            getattr(it, "db_parameter_group_name", None) == db_parameter_group_name
            for it in self.databases.values()
        ):
            message = "One or more database instances are still members of this parameter group."
            raise RDSClientError("InvalidDBParameterGroupState", message)
        return super().delete_db_parameter_group(db_parameter_group_name)

    def _await_reboot(self, group: str, parameters: list[dict[str, Any]]) -> None:
        if any(parameter.get("ApplyMethod") == "pending-reboot" for parameter in parameters):
            for instance in self.databases.values():
                if (
                    isinstance(instance, TimedInstance)
                    and instance.db_parameter_group_name == group
                ):
                    instance.parameters_status = "pending-reboot"

    def reboot_db_instance(self, db_instance_identifier: str) -> Any:
        instance = super().reboot_db_instance(db_instance_identifier)
        self._require_available(instance)
        instance.status = "rebooting"
        instance.parameters_status = "in-sync"
        self._status_in(_world.times.reboot, instance, AVAILABLE)
        return instance

    def stop_db_instance(
        self, db_instance_identifier: str, db_snapshot_identifier: str | None = None
    ) -> Any:
        self.advance()
        instance = super().stop_db_instance(db_instance_identifier, db_snapshot_identifier)
        instance.status = "stopping"
        self._status_in(_world.times.reboot, instance, "stopped")
        return instance

    def start_db_instance(self, db_instance_identifier: str) -> Any:
        self.advance()
        instance = super().start_db_instance(db_instance_identifier)
        instance.status = "starting"
        self._status_in(_world.times.reboot, instance, AVAILABLE)
        return instance

    def delete_db_instance(
        self,
        db_instance_identifier: str,
        final_db_snapshot_identifier: str | None = None,
        skip_final_snapshot: bool | None = False,
        delete_automated_backups: bool | None = True,
    ) -> Any:
        instance = self.describe_db_instances(db_instance_identifier)[0]
        if not isinstance(instance, TimedInstance) or instance.db_cluster_identifier:
            return super().delete_db_instance(
                db_instance_identifier,
                final_db_snapshot_identifier,
                skip_final_snapshot,
                delete_automated_backups,
            )
        name = instance.db_instance_identifier
        with _as_rds_errors():
            rds_rules.check_delete(bool(skip_final_snapshot), final_db_snapshot_identifier)
        if instance.status == "deleting":
            raise RDSClientError(
                "InvalidDBInstanceState", f"Instance {name} is already being deleted."
            )
        if instance.deletion_protection:
            message = "Cannot delete protected DB Instance, please disable deletion protection and try again."
            raise RDSClientError("InvalidParameterCombination", message)
        seconds = _world.times.delete
        if final_db_snapshot_identifier:
            # Only an instance that has been set up has something to take a final snapshot of.
            if instance.status in ("creating", "failed"):
                raise _not_available_for_snapshot(name)
            self._snapshot(name, final_db_snapshot_identifier, snapshot_type="manual")
            seconds += _world.times.snapshot
        instance.status = "deleting"

        def step() -> None:
            if self.databases.get(name) is instance:
                _ORIGINAL_BACKEND.delete_db_instance(
                    self, name, None, True, delete_automated_backups
                )

        self._in(seconds, step)
        return instance

    # -- snapshots

    def create_db_snapshot(
        self, db_instance_identifier: str, db_snapshot_identifier: str, *rest: Any, **named: Any
    ) -> Any:
        self.advance()
        instance = self.databases.get(db_instance_identifier)
        automated = named.get("snapshot_type") == "automated"
        if (
            instance is not None
            and not automated
            and instance.status not in (AVAILABLE, "storage-optimization")
        ):
            raise _not_available_for_snapshot(db_instance_identifier)
        return self._snapshot(db_instance_identifier, db_snapshot_identifier, *rest, **named)

    def _snapshot(self, instance_name: str, snapshot_name: str, *rest: Any, **named: Any) -> Any:
        snapshot = super().create_db_snapshot(instance_name, snapshot_name, *rest, **named)
        return self._begin_snapshot(snapshot)

    def _begin_snapshot(self, snapshot: Any) -> Any:
        snapshot.status = "creating"
        snapshot.percent_progress = 0

        def step() -> None:
            snapshot.status = AVAILABLE
            snapshot.percent_progress = 100

        self._in(_world.times.snapshot, step)
        return snapshot

    def copy_db_snapshot(self, *arguments: Any, **named: Any) -> Any:
        self.advance()
        return self._begin_snapshot(super().copy_db_snapshot(*arguments, **named))

    def describe_db_snapshots(self, *arguments: Any, **named: Any) -> Any:
        self.advance()
        return super().describe_db_snapshots(*arguments, **named)

    def delete_db_snapshot(self, db_snapshot_identifier: str) -> Any:
        self.advance()
        snapshot = self.database_snapshots.get(db_snapshot_identifier)
        if (
            snapshot is not None
            and snapshot.snapshot_type == "manual"
            and snapshot.status != AVAILABLE
        ):
            message = "Cannot delete the snapshot because it is not currently in the available or failed state."
            raise RDSClientError("InvalidDBSnapshotState", message)
        return super().delete_db_snapshot(db_snapshot_identifier)

    # -- helpers

    def _require_available(self, instance: Any) -> None:
        if instance.status != AVAILABLE:
            name = instance.db_instance_identifier
            raise RDSClientError(
                "InvalidDBInstanceState", f"Instance {name} is not in available state."
            )

    def _check_subnet_group(self, name: str | None) -> None:
        if name and name != "default" and name not in self.subnet_groups:
            raise RDSClientError(
                "DBSubnetGroupNotFoundFault", f"DB subnet group '{name}' does not exist."
            )


# moto finds a backend's URLs by the name of the module its class says it is in.
TimedBackend.__module__ = models.__name__


def describe_db_engine_versions(response: Any) -> ActionResult:
    """DescribeDBEngineVersions, which moto lacks, for the engines of `rds_rules`."""
    engine, version = response.params.get("Engine"), response.params.get("EngineVersion")
    found = [
        {"Engine": name, "EngineVersion": known, "Status": AVAILABLE, "DBEngineDescription": name}
        for name in rds_rules.ENGINES
        for known in rds_rules.ENGINE_VERSIONS[name]
        if engine in (None, name)
        and (version is None or known == version or known.startswith(version + "."))
    ]
    if response.params.get("DefaultOnly"):
        found = [
            entry
            for entry in found
            if rds_rules.DEFAULT_VERSION[entry["Engine"]] == entry["EngineVersion"]
        ]
    return ActionResult({"DBEngineVersions": found})


def describe_db_parameters(response: Any) -> ActionResult:
    """DescribeDBParameters with all that the family has, and the filter by source; moto tells what
    was set.
    """
    name = response.params.get("DBParameterGroupName")
    groups = response.backend.describe_db_parameter_groups({"db_parameter_group_name": name})
    if not groups:
        raise models.DBParameterGroupNotFoundError(name)
    found = rds_parameters.described(groups[0].family or "", groups[0].parameters)
    source = response.params.get("Source")
    return ActionResult(
        {"Parameters": [each for each in found if source in (None, each["Source"])]}
    )


def reset_db_parameter_group(response: Any) -> ActionResult:
    """ResetDBParameterGroup, which moto lacks."""
    parameters = [parameter.original_dict() for parameter in response.params.get("Parameters", [])]
    name, everything = (
        response.params.get("DBParameterGroupName"),
        bool(response.params.get("ResetAllParameters")),
    )
    response.backend.reset_db_parameter_group(name, parameters, everything)
    return ActionResult({"DBParameterGroupName": name})


def describe_pending_maintenance_actions(response: Any) -> ActionResult:
    """DescribePendingMaintenanceActions, which moto lacks."""
    wanted = response.params.get("ResourceIdentifier")
    found = [
        {
            "ResourceIdentifier": instance.arn,
            "PendingMaintenanceActionDetails": instance.maintenance,
        }
        for instance in response.backend.databases.values()
        if isinstance(instance, TimedInstance)
        and instance.maintenance
        and wanted in (None, instance.arn)
    ]
    return ActionResult({"PendingMaintenanceActions": found})


ADDED_TO_RESPONSES = (
    describe_db_engine_versions,
    describe_pending_maintenance_actions,
    reset_db_parameter_group,
)


def install(world: World) -> None:
    """Put the timed RDS in the place of moto's, for backends made from now on."""
    global _world
    _world = world
    models.rds_backends.backend = TimedBackend
    models.DBInstance = TimedInstance
    for operation in ADDED_TO_RESPONSES:
        setattr(RDSResponse, operation.__name__, operation)
    RDSResponse.describe_db_parameters = describe_db_parameters


def uninstall() -> None:
    """Give moto its own RDS back."""
    models.rds_backends.backend = _ORIGINAL_BACKEND
    models.DBInstance = _ORIGINAL_INSTANCE
    for operation in ADDED_TO_RESPONSES:
        delattr(RDSResponse, operation.__name__)
    RDSResponse.describe_db_parameters = _ORIGINAL_DESCRIBE_PARAMETERS


def all_backends() -> list[TimedBackend]:
    """The backends of every account and region used so far, brought up to the present time."""
    backends = [backend for account in models.rds_backends.values() for backend in account.values()]
    for backend in backends:
        backend.advance()
    return backends
