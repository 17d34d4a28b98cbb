"""The steps of a Database's run, in the order of workflows/database_reconcile.yaml: one function an
action.

Each looks at the object and the world as they are, does what can be done now, writes what it found
and returns; none waits. All are safe to repeat and to run alone. A step that fails has written its
condition before it raises.
"""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from kubestorm.clients.lease import LeaseLostError
from kubestorm.clients.rds import ObservedInstance
from kubestorm.clients.services import Services
from kubestorm.core import naming, untrusted
from kubestorm.core.conditions import FALSE, READY, TRUE, Condition, condition_in, is_true
from kubestorm.core.errors import DefinitionError, Error, NotFoundError, PermanentError
from kubestorm.core.naming import Identity
from kubestorm.core.settings import KindMapping
from kubestorm.core.spec_reader import InvalidSpecError
from kubestorm.kinds.common.resource import Object, ResourceHandle, reason_of
from kubestorm.kinds.database import (
    asked_snapshot,
    kinds,
    own_parameters,
    restoring,
    rotating,
    rotation,
)
from kubestorm.kinds.database.plan import (
    Create,
    Decision,
    Modify,
    Refuse,
    RotatePassword,
    Tag,
    Wait,
    create_parameters,
    modify_parameters,
    plan_instance,
    restore_parameters,
    state_of,
    whats_pending,
)
from kubestorm.kinds.database.spec import DatabaseSpec, limits_for, parse_database

SPEC_VALID = "SpecValid"
CREDENTIALS_STORED = "CredentialsStored"
INSTANCE_AVAILABLE = "InstanceAvailable"
PUBLISHED = "Published"
ORDER = (SPEC_VALID, CREDENTIALS_STORED, INSTANCE_AVAILABLE, PUBLISHED)

# Reasons of SpecValid that only a look at the instance can find or lift.
CHANGE_REFUSALS = frozenset(
    (
        "EngineChangeRefused",
        "StorageShrinkRefused",
        "DowngradeRefused",
        "StorageCeilingRefused",
        "StoragePerformanceRefused",
        "ImmutableField",
        "ChangeRefused",
        "ParametersRefused",
        restoring.REFUSED,
    )
)
VALID = Condition(SPEC_VALID, TRUE, "Valid", "The spec can be carried out.")

Result = Dict[str, Any]
FORBIDDEN = 403
SKIPPED: Mapping[str, Any] = {"skipped": True}


class DatabaseRun:
    """One step's view of one Database."""

    def __init__(self, services: Services, identity: Identity, run_id: str) -> None:
        self.services = services
        self.identity = identity
        self.handle = ResourceHandle(services, identity, run_id, ORDER)
        self.valid: Sequence[Condition] = ()
        """What a step has found about SpecValid, to be written with its own condition."""

    @property
    def vault_path(self) -> str:
        return naming.vault_path(self.identity.cluster, self.identity.namespace, self.identity.name)

    @property
    def consul_prefix(self) -> str:
        return naming.consul_prefix(
            self.identity.cluster, self.identity.namespace, self.identity.name
        )

    def identifier(self, resource: Object, spec: Optional[DatabaseSpec]) -> str:
        """The RDS instance: the adopted one, the one that status remembers, or the one that the
        name gives.
        """
        if spec is not None and spec.adopt:
            return spec.adopt
        known = untrusted.status(resource).get("instanceIdentifier")
        return str(known) if known else self.own_identifier

    @property
    def own_identifier(self) -> str:
        """The identifier that the resource's name gives."""
        return naming.rds_identifier(
            self.services.settings.database.identifier_prefix, *self._place
        )

    def tags(self, spec: DatabaseSpec) -> Dict[str, str]:
        """What the instance carries; whose it is cannot be overwritten by the resource's tags."""
        return {**spec.tags, **naming.owner_tags(self.identity)}

    def parse(self, resource: Object) -> DatabaseSpec:
        return parse_database(self.as_database(resource), self.services.settings.database)

    def as_database(self, resource: Object) -> Object:
        """The object with a spec in our words, whatever its kind."""
        return kinds.as_database(resource, self._kind)

    def write_status(self, *conditions: Condition, **more: Any) -> Optional[Object]:
        """As ResourceHandle's, in the words of the object's own kind."""
        told = [
            each._replace(message=kinds.in_their_words(each.message, self._kind))
            for each in conditions
        ]
        return self.handle.write_status(*told, **more)

    @property
    def _kind(self) -> Optional[KindMapping]:
        return kinds.mapping_for(self.identity, self.services.settings.database.kinds)

    @property
    def _place(self) -> tuple[str, str, str]:
        return self.identity.cluster, self.identity.namespace, self.identity.name

    @contextlib.contextmanager
    def reporting(self, condition_type: str) -> Iterator[None]:
        """Write the condition of whatever fails inside, then let it fail."""
        try:
            yield
        except LeaseLostError:
            raise
        except Error as error:
            # When it is Kubernetes that does not answer, the condition cannot be written either:
            # the run shows it.
            with contextlib.suppress(Error):
                told = Condition(condition_type, FALSE, reason_of(error), str(error))
                self.handle.write_status(*self.valid, told)
            raise


def ensure_credentials(run: DatabaseRun) -> Result:
    """Check the spec, hold the object's deletion, and have username and password in Vault.

    The result says where they are and in which version, never what.
    """
    with run.reporting(CREDENTIALS_STORED):
        checked = _checked(run)
        if checked is None:
            return dict(SKIPPED)
        resource, spec = checked
        username = run.services.settings.database.username
        if spec.adopt:
            return _adopted_credentials(run, resource)
        _mind_lost_secret(run, resource, spec)
        ref = run.services.vault.ensure_credentials(run.vault_path, username)
        condition = Condition(
            CREDENTIALS_STORED,
            TRUE,
            "Stored",
            f"Username and password are in Vault at {ref.path} (version {ref.version}).",
        )
        fields = {"vaultPath": ref.path, "vaultVersion": ref.version}
        run.write_status(
            *run.valid, condition, fields=fields, generation=_generation(run, resource)
        )
        return {"path": ref.path, "version": ref.version, "created": ref.created}


def _checked(run: DatabaseRun) -> Optional[Tuple[Object, DatabaseSpec]]:
    """The object and its spec, its deletion held; None where there is nothing to do, which is then
    told in the condition SpecValid: it is gone, is being deleted, or asks for what cannot be.
    """
    resource = run.handle.read()
    if resource is None or resource["metadata"].get("deletionTimestamp"):
        return None
    try:
        spec = run.parse(resource)
    except InvalidSpecError as error:
        condition = Condition(SPEC_VALID, FALSE, "InvalidSpec", str(error))
        run.write_status(condition, generation=_generation(run, resource))
        return None
    run.valid = _valid(run, resource)
    run.handle.ensure_finalizer()
    return resource, spec


def _valid(run: DatabaseRun, resource: Object) -> Sequence[Condition]:
    """SpecValid, unless a change was refused: that stays until the instance step finds it possible,
    or the spec is another.
    """
    told = condition_in(untrusted.status(resource), SPEC_VALID)
    refused = told.get("reason") in CHANGE_REFUSALS
    stays = refused and told.get("observedGeneration") == _generation(run, resource)
    return () if stays else (VALID,)


def _generation(run: DatabaseRun, resource: Object) -> int:
    return run.handle.generation(resource)


class Look(NamedTuple):
    """What the instance step found, and what is to be done about it."""

    resource: Object
    spec: DatabaseSpec
    identifier: str
    observed: Optional[ObservedInstance]
    rotates: bool
    decisions: Tuple[Decision, ...]


class Outcome(NamedTuple):
    """What the decisions led to: the two conditions, the fields of status, the names of what was
    done.
    """

    valid: Condition
    available: Condition
    fields: Dict[str, Any]
    done: List[str]


def ensure_instance(run: DatabaseRun) -> Result:
    """Create, restore, adopt or modify the RDS instance, whichever is next; says whether it serves
    as asked.
    """
    with run.reporting(INSTANCE_AVAILABLE):
        checked = _checked(run)
        if checked is None:
            return dict(SKIPPED)
        resource, spec = checked
        look = _look(run, resource, spec)
        if look.observed is not None:
            # It allowed one replacement, which is there now.
            run.handle.remove_annotation(naming.RECREATE_ANNOTATION)
        outcome = _act(run, look)
        condition, turn = outcome.available, rotating.Rotation()
        ours = look.observed is not None and look.observed.owner_uid == run.identity.uid
        if (
            look.rotates
            and look.observed is not None
            and ours
            and set(outcome.done) <= {"Tag", "Refuse"}
        ):
            turn = rotating.carry_on(run.services, run.vault_path, resource, look.observed)
            if turn.waiting:
                condition = Condition(
                    INSTANCE_AVAILABLE, FALSE, "RotatingCredentials", turn.waiting
                )
        snapshot = _asked_snapshot(
            run, look, busy=not set(outcome.done) <= {"Tag", "Refuse"} or bool(turn.waiting)
        )
        fields = {**outcome.fields, **turn.fields, **snapshot}
        run.write_status(
            outcome.valid, condition, fields=fields, generation=_generation(run, resource)
        )
        if turn.forget:
            rotating.forget(run.services, run.vault_path)
        return {
            "rotation": list(turn.steps),
            "identifier": look.identifier,
            "available": condition.status == TRUE,
            "decisions": outcome.done,
            "reason": condition.reason,
            "message": condition.message,
        }


def _asked_snapshot(run: DatabaseRun, look: Look, *, busy: bool) -> Dict[str, Any]:
    if look.observed is None or look.observed.owner_uid != run.identity.uid:
        return {}
    tags = naming.owner_tags(run.identity)
    return asked_snapshot.carry_on(run.services.rds, look.resource, look.observed, tags, busy=busy)


def _look(run: DatabaseRun, resource: Object, spec: DatabaseSpec) -> Look:
    """Compare what is asked for with what RDS and Vault say. Changes nothing."""
    identifier = run.identifier(resource, spec)
    observed = run.services.rds.describe(identifier)
    spec = own_parameters.with_own_group(spec, run.own_identifier, observed)
    rotates = observed is not None and rotation.is_rotating(
        rotating.observe(run.services, run.vault_path, resource, observed)
    )
    decisions = plan_instance(
        spec,
        observed,
        uid=run.identity.uid,
        identifier=identifier,
        tags=run.tags(spec),
        # A rotation under way has a password of its own on its way to the instance.
        credentials_version=None if rotates else _credentials_version(run),
        apply_immediately=run.services.settings.database.apply_immediately,
        vanished=observed is None
        and has_vanished(run.as_database(resource), _generation(run, resource)),
    )
    if any(isinstance(decision, Create) for decision in decisions):
        limits = limits_for(run.identity.namespace, run.services.settings.database)
        refused = restoring.refusal(run.services.rds, spec, run.identity, limits.restore_from)
        decisions = (refused,) if refused is not None else decisions
    return Look(resource, spec, identifier, observed, rotates, decisions)


def _act(run: DatabaseRun, look: Look) -> Outcome:
    """Carry the decisions out. What AWS refuses of a change is told as a refused change: the
    instance serves on.
    """
    observed, condition = look.observed, _available_condition(look.observed)
    pending = _pending(run, observed)
    fields: Dict[str, Any] = {}
    done: List[str] = []
    refused = next((item for item in look.decisions if isinstance(item, Refuse)), None)
    try:
        if "parameters" in look.spec.stated and refused is None:
            fields.update(_ensure_parameters(run, look))
        for decision in look.decisions:
            condition = _carry_out(run, look.spec, look.identifier, observed, decision) or condition
            done.append(type(decision).__name__)
    except (PermanentError, DefinitionError, NotFoundError) as error:
        refused = _refusal_by_aws(error, observed)
    if "Create" in done and rotating.requested(look.resource):
        fields[rotating.STATUS_FIELD] = rotating.requested(
            look.resource
        )  # its password is a new one already
    if observed is not None or (done and done != ["Refuse"]):
        fields.update(_instance_fields(look.identifier, observed, done))
    valid = VALID
    if refused is not None and refused.change:
        valid = Condition(SPEC_VALID, FALSE, refused.reason, refused.message)
        nothing = Condition(INSTANCE_AVAILABLE, FALSE, refused.reason, "There is no instance yet.")
        condition = _available_condition(observed) if observed else nothing
    if condition.reason == "ForeignInstance":
        return Outcome(valid, condition, {}, done)
    if observed is not None:
        fields["pending"] = list(pending) or None
        if pending and condition.reason in ("Available", "PendingMaintenance"):
            condition = condition._replace(
                message=f"{condition.message} Pending: {'; '.join(pending)}."
            )
    return Outcome(valid, condition, fields, done)


def _refusal_by_aws(error: Error, observed: Optional[ObservedInstance]) -> Refuse:
    """An error as a refused change. One that says we may not ask is no fault of the spec, and goes
    on.
    """
    wrong = isinstance(error, InvalidSpecError)
    if error.status_code == FORBIDDEN or (observed is None and not wrong):
        raise error
    return Refuse("ParametersRefused" if wrong else "ChangeRefused", str(error), change=True)


def publish(run: DatabaseRun) -> Result:
    """Put the address of an available instance where applications look for it; nothing is written
    when nothing differs.
    """
    with run.reporting(PUBLISHED):
        resource = _living(run)
        if resource is None or not _serves(resource):
            return dict(SKIPPED)
        try:
            spec = run.parse(resource)
        except InvalidSpecError:
            return dict(SKIPPED)  # the steps before have told
        observed = run.services.rds.describe(run.identifier(resource, spec))
        if observed is None or observed.owner_uid != run.identity.uid or not observed.host:
            raise NotFoundError("RDS has no address for the instance yet.", service="AWS RDS")
        values = {
            "host": observed.host,
            "port": str(observed.port),
            "database": observed.database_name or spec.database_name,
            "username": observed.username,
            "vault_path": run.services.vault.full_path(run.vault_path),
        }
        result = run.services.consul.ensure_tree(run.consul_prefix, values)
        condition = Condition(
            PUBLISHED, TRUE, "Published", f"The address is in Consul under {run.consul_prefix}."
        )
        fields = {"consulPath": run.consul_prefix}
        written = run.write_status(condition, fields=fields, generation=_generation(run, resource))
        ready = is_true(untrusted.mappings(untrusted.status(written).get("conditions")), READY)
        return {"prefix": result.prefix, "written": list(result.written), "ready": ready}


def _carry_out(
    run: DatabaseRun,
    spec: DatabaseSpec,
    identifier: str,
    observed: Optional[ObservedInstance],
    decision: Any,
) -> Optional[Condition]:
    """Do one decision; the condition it leads to, None where it changes nothing about that."""
    if isinstance(decision, Refuse):
        return Condition(INSTANCE_AVAILABLE, FALSE, decision.reason, decision.message)
    if isinstance(decision, Wait):
        return Condition(
            INSTANCE_AVAILABLE,
            TRUE if decision.settled else FALSE,
            decision.reason,
            decision.message,
        )
    if isinstance(decision, Create):
        return _create(run, spec, identifier)
    if observed is None:
        return None
    if isinstance(decision, Tag):
        run.services.rds.tag(observed.arn, decision.tags)
        return None
    if isinstance(decision, Modify):
        immediately = run.services.settings.database.apply_immediately
        parameters = modify_parameters(spec, decision.changes, observed)
        run.services.rds.modify(identifier, parameters, immediately=immediately)
        changes = ", ".join(str(change) for change in decision.changes)
        return Condition(
            INSTANCE_AVAILABLE, FALSE, "Modifying", f"Changing {changes}; this takes minutes."
        )
    if isinstance(decision, RotatePassword):
        return _give_password(run, identifier, observed)
    raise TypeError(f"no way to carry out {type(decision).__name__}")


def _create(run: DatabaseRun, spec: DatabaseSpec, identifier: str) -> Condition:
    tags = run.tags(spec)
    if spec.restore_snapshot or spec.restore_point:
        # Version 0 is none that Vault has: once it is available, it is given our password instead
        # of its old one.
        tags[naming.TAG_CREDENTIALS_VERSION] = "0"
        _restore(run, spec, identifier, tags)
        return Condition(
            INSTANCE_AVAILABLE,
            FALSE,
            "Restoring",
            f"RDS restores {identifier}; this takes minutes.",
        )
    credentials = run.services.vault.read(run.vault_path)
    tags[naming.TAG_CREDENTIALS_VERSION] = str(credentials.version)
    run.services.rds.create(
        identifier,
        create_parameters(spec),
        username=credentials.username,
        password=credentials.password,
        tags=tags,
    )
    return Condition(
        INSTANCE_AVAILABLE, FALSE, "Creating", f"RDS creates {identifier}; this takes minutes."
    )


def _restore(
    run: DatabaseRun, spec: DatabaseSpec, identifier: str, tags: Mapping[str, str]
) -> None:
    rds, parameters, point = run.services.rds, restore_parameters(spec), spec.restore_point
    if spec.restore_snapshot:
        rds.restore_snapshot(identifier, spec.restore_snapshot, parameters, tags=tags)
    elif point:
        rds.restore_point_in_time(
            identifier, point.source_instance, point.time, parameters, tags=tags
        )


def _give_password(run: DatabaseRun, identifier: str, observed: ObservedInstance) -> Condition:
    """Set Vault's password on the instance, then note which version it was. In this order: a repeat
    sets it again.
    """
    run.services.vault.rename_user(run.vault_path, observed.username)
    credentials = run.services.vault.read(run.vault_path)
    run.services.rds.set_password(identifier, credentials.password)
    run.services.rds.tag(observed.arn, {naming.TAG_CREDENTIALS_VERSION: str(credentials.version)})
    message = f"The instance is given version {credentials.version} of its credentials."
    return Condition(INSTANCE_AVAILABLE, FALSE, "RotatingCredentials", message)


def _adopted_credentials(run: DatabaseRun, resource: Object) -> Result:
    """An adopted instance has a password of its own, which nobody can read: it stays until somebody
    brings it.
    """
    found = run.services.vault.describe(run.vault_path)
    path = run.services.vault.full_path(run.vault_path)
    generation = _generation(run, resource)
    if found is None:
        message = (
            f"Write the adopted instance's username and password to Vault at {path}; they cannot "
            "be read from RDS."
        )
        missing = Condition(CREDENTIALS_STORED, FALSE, "AdoptedCredentialsMissing", message)
        run.write_status(*run.valid, missing, generation=generation)
        return {"path": path, "version": None, "created": False}
    version = int(found["version"])
    condition = Condition(
        CREDENTIALS_STORED, TRUE, "Stored", f"The credentials are in Vault at {path}."
    )
    fields = {"vaultPath": path, "vaultVersion": version}
    run.write_status(*run.valid, condition, fields=fields, generation=generation)
    return {"path": path, "version": version, "created": False}


def has_vanished(resource: Object, generation: Optional[int] = None) -> bool:
    """Whether an absent instance is a loss: it served once, and no one said since how to go on.

    `generation` is 0 for a kind whose generation counts our own writes: there no new spec answers.
    """
    metadata, status = resource["metadata"], untrusted.status(resource)
    if not untrusted.mapping(status.get("endpoint")).get("host"):
        return False
    if (
        untrusted.texts(metadata.get("annotations")).get(naming.RECREATE_ANNOTATION)
        == metadata["name"]
    ):
        return False
    told = condition_in(status, INSTANCE_AVAILABLE)
    # A restoreFrom from the beginning is no answer to the loss: it would bring back a state of long
    # ago unasked.
    if generation is None:
        generation = untrusted.integer(metadata.get("generation"))
    # A restore that was refused was begun as an answer, and another source goes on with it.
    answered = told.get("reason") == restoring.REFUSED or (
        told.get("reason") == "InstanceVanished"
        and untrusted.integer(told.get("observedGeneration")) < generation
    )
    return not (answered and (resource.get("spec") or {}).get("restoreFrom"))


def _mind_lost_secret(run: DatabaseRun, resource: Object, spec: DatabaseSpec) -> None:
    """Where the secret was destroyed with all its versions, a new one would be version 1 again, as
    the instance's tag may say, and the instance would keep a password that nobody has. The tag is
    taken back first, so that the instance step gives it the new one; in this order a crash in
    between loses nothing."""
    if not untrusted.status(resource).get("vaultVersion") or run.services.vault.describe(
        run.vault_path
    ):
        return
    observed = run.services.rds.describe(run.identifier(resource, spec))
    if observed is not None and observed.owner_uid == run.identity.uid:
        run.services.rds.tag(observed.arn, {naming.TAG_CREDENTIALS_VERSION: "0"})


def _credentials_version(run: DatabaseRun) -> Optional[int]:
    found = run.services.vault.describe(run.vault_path)
    return int(found["version"]) if found else None


def _available_condition(observed: Optional[ObservedInstance]) -> Condition:
    wait = state_of(observed) if observed else None
    if wait is not None:
        return Condition(INSTANCE_AVAILABLE, FALSE, wait.reason, wait.message)
    message = f"RDS serves at {observed.host}:{observed.port}." if observed else ""
    return Condition(INSTANCE_AVAILABLE, TRUE, "Available", message)


def _ensure_parameters(run: DatabaseRun, look: Look) -> Dict[str, Any]:
    status = untrusted.status(look.resource)
    return own_parameters.ensure(
        run.services.rds, look.spec, run.tags(look.spec), status, look.observed
    )


def _pending(run: DatabaseRun, observed: Optional[ObservedInstance]) -> Sequence[str]:
    """What waits for a window or a reboot. That maintenance cannot be read is told there, and stops
    nothing.
    """
    if observed is None or observed.owner_uid != run.identity.uid:
        return ()
    try:
        maintenance = run.services.rds.pending_maintenance(observed.arn)
    except PermanentError as error:
        maintenance = (str(error),)
    return whats_pending(observed, maintenance)


def _instance_fields(
    identifier: str, observed: Optional[ObservedInstance], done: List[str]
) -> Dict[str, Any]:
    fields: Dict[str, Any] = {"instanceIdentifier": identifier}
    if observed is None:
        # The address is that of an instance that served: until this one does, there is none.
        fields.update(dict.fromkeys(("endpoint", "engineVersion", "storageGiB")))
        return {**fields, "instanceStatus": "creating"}
    fields.update(engineVersion=observed.version, storageGiB=observed.storage_gib)
    fields["instanceStatus"] = "modifying" if "Modify" in done else observed.status
    if observed.host:
        fields["endpoint"] = {"host": observed.host, "port": observed.port}
    return fields


def _serves(resource: Object) -> bool:
    """Whether the instance step has found the instance available for this spec."""
    status = untrusted.status(resource)
    return is_true(untrusted.mappings(status.get("conditions")), INSTANCE_AVAILABLE)


def _living(run: DatabaseRun) -> Optional[Object]:
    """The object now; None when it is gone or going: the event of that has its own run."""
    resource = run.handle.read()
    return None if resource is None or resource["metadata"].get("deletionTimestamp") else resource
