"""The steps of a Database's run, in the order of workflows/database_reconcile.yaml: one function an action.

Each looks at the object and the world as they are, does what can be done now, writes what it found and returns; none
waits. All are safe to repeat and to run alone. A step that fails has written its condition before it raises.
"""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Mapping, Optional

from kubestorm import naming
from kubestorm.conditions import FALSE, READY, TRUE, Condition, find, is_true
from kubestorm.database import rotating, rotation
from kubestorm.database.plan import (
    Create,
    Modify,
    ObservedInstance,
    Refuse,
    RotatePassword,
    Tag,
    Wait,
    plan_instance,
)
from kubestorm.database.spec import DatabaseSpec, InvalidSpecError, parse_database
from kubestorm.errors import Error, NotFoundError
from kubestorm.naming import Identity
from kubestorm.resource import LeaseLostError, Object, ResourceHandle
from kubestorm.services import Services

SPEC_VALID = "SpecValid"
CREDENTIALS_STORED = "CredentialsStored"
INSTANCE_AVAILABLE = "InstanceAvailable"
PUBLISHED = "Published"
ORDER = (SPEC_VALID, CREDENTIALS_STORED, INSTANCE_AVAILABLE, PUBLISHED)

Result = Dict[str, Any]
SKIPPED: Mapping[str, Any] = {"skipped": True}


class DatabaseRun:
    """One step's view of one Database."""

    def __init__(self, services: Services, identity: Identity, run_id: str) -> None:
        self.services = services
        self.identity = identity
        self.handle = ResourceHandle(services, identity, run_id, ORDER)

    @property
    def vault_path(self) -> str:
        return naming.vault_path(self.identity.cluster, self.identity.namespace, self.identity.name)

    @property
    def consul_prefix(self) -> str:
        return naming.consul_prefix(self.identity.cluster, self.identity.namespace, self.identity.name)

    def identifier(self, resource: Object, spec: Optional[DatabaseSpec]) -> str:
        """The RDS instance: the adopted one, the one that status remembers, or the one that the name gives."""
        if spec is not None and spec.adopt:
            return spec.adopt
        known = (resource.get("status") or {}).get("instanceIdentifier")
        prefix = self.services.settings.database.identifier_prefix
        return str(known) if known else naming.rds_identifier(prefix, *self._place)

    def tags(self, spec: DatabaseSpec) -> Dict[str, str]:
        """What the instance carries; whose it is cannot be overwritten by the resource's own tags."""
        return {**spec.tags, **naming.owner_tags(self.identity)}

    def parse(self, resource: Object) -> DatabaseSpec:
        return parse_database(resource, self.services.settings.database)

    @property
    def _place(self) -> tuple[str, str, str]:
        return self.identity.cluster, self.identity.namespace, self.identity.name

    @contextlib.contextmanager
    def reporting(self, condition_type: str) -> Iterator[None]:
        """Write the condition of whatever fails inside, then let it fail. The Lease is renewed first."""
        self.handle.keep_lock()
        try:
            yield
        except LeaseLostError:
            raise
        except Error as error:
            # When it is Kubernetes that does not answer, the condition cannot be written either: the run shows it.
            with contextlib.suppress(Error):
                self.handle.report(condition_type, error)
            raise


def plan(run: DatabaseRun) -> Result:
    """Read the object afresh, check it, hold its deletion; says what the rest of the run has to do.

    `todo` is a list of the steps that have work: credentials, instance, publish; or teardown; or none.
    """
    run.handle.keep_lock()
    resource = run.handle.read()
    if resource is None:
        return {"todo": [], "reason": "The object is gone."}
    metadata = resource["metadata"]
    if metadata.get("deletionTimestamp"):
        held = naming.FINALIZER in (metadata.get("finalizers") or ())
        return {"todo": ["teardown"] if held else [], "reason": "The object is being deleted."}
    generation = int(metadata.get("generation", 0))
    try:
        run.parse(resource)
    except InvalidSpecError as error:
        condition = Condition(SPEC_VALID, FALSE, "InvalidSpec", str(error))
        run.handle.write_status(condition, generation=generation)
        return {"todo": [], "reason": f"InvalidSpec: {error}"}
    with run.reporting(SPEC_VALID):
        run.handle.ensure_finalizer()
        condition = Condition(SPEC_VALID, TRUE, "Valid", "The spec can be carried out.")
        run.handle.write_status(condition, generation=generation)
    return {"todo": ["credentials", "instance", "publish"], "reason": "", "generation": generation}


def ensure_credentials(run: DatabaseRun) -> Result:
    """Have username and password in Vault. The result says where and in which version, never what."""
    with run.reporting(CREDENTIALS_STORED):
        resource = _living(run)
        if resource is None:
            return dict(SKIPPED)
        spec = run.parse(resource)
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
        run.handle.write_status(condition, fields=fields, generation=_generation(resource))
        return {"path": ref.path, "version": ref.version, "created": ref.created}


def ensure_instance(run: DatabaseRun) -> Result:
    """Create, restore, adopt or modify the RDS instance, whichever is next; says whether it serves as asked."""
    with run.reporting(INSTANCE_AVAILABLE):
        resource = _living(run)
        if resource is None:
            return dict(SKIPPED)
        generation = _generation(resource)
        spec = run.parse(resource)
        identifier = run.identifier(resource, spec)
        observed = run.services.rds.describe(identifier)
        rotates = observed is not None and rotation.is_rotating(
            rotating.observe(run.services, run.vault_path, resource, observed)
        )
        # A rotation under way has a password of its own on its way to the instance.
        credentials = None if rotates else _credentials_version(run)
        settings = run.services.settings.database
        decisions = plan_instance(
            spec,
            observed,
            uid=run.identity.uid,
            identifier=identifier,
            tags=run.tags(spec),
            credentials_version=credentials,
            apply_immediately=settings.apply_immediately,
            vanished=observed is None and has_vanished(resource),
        )
        if observed is not None:
            # It allowed one replacement, which is there now.
            run.handle.remove_annotation(naming.RECREATE_ANNOTATION)
        condition = _available_condition(observed)
        done: List[str] = []
        for decision in decisions:
            condition = _carry_out(run, spec, identifier, observed, decision) or condition
            done.append(type(decision).__name__)
        fields = {} if done == ["Refuse"] and observed is None else _instance_fields(identifier, observed, done)
        if isinstance(decisions[0] if decisions else None, Refuse) and condition.reason == "ForeignInstance":
            fields = {}
        if "Create" in done and rotating.requested(resource):
            fields[rotating.STATUS_FIELD] = rotating.requested(resource)  # its password is a new one already
        turn = rotating.Rotation()
        if rotates and observed is not None and observed.owner_uid == run.identity.uid and set(done) <= {"Tag"}:
            turn = rotating.carry_on(run.services, run.vault_path, resource, observed)
            fields.update(turn.fields)
            if turn.waiting:
                condition = Condition(INSTANCE_AVAILABLE, FALSE, "RotatingCredentials", turn.waiting)
        run.handle.write_status(condition, fields=fields, generation=generation)
        if turn.forget:
            rotating.forget(run.services, run.vault_path)
        return {
            "rotation": list(turn.steps),
            "identifier": identifier,
            "available": condition.status == TRUE,
            "decisions": done,
            "reason": condition.reason,
            "message": condition.message,
        }


def publish(run: DatabaseRun) -> Result:
    """Put the address where applications look for it; nothing is written when nothing differs."""
    with run.reporting(PUBLISHED):
        resource = _living(run)
        if resource is None:
            return dict(SKIPPED)
        spec = run.parse(resource)
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
        condition = Condition(PUBLISHED, TRUE, "Published", f"The address is in Consul under {run.consul_prefix}.")
        fields = {"consulPath": run.consul_prefix}
        written = run.handle.write_status(condition, fields=fields, generation=_generation(resource))
        ready = is_true(((written or {}).get("status") or {}).get("conditions") or [], READY)
        return {"prefix": result.prefix, "written": list(result.written), "ready": ready}


def _carry_out(
    run: DatabaseRun, spec: DatabaseSpec, identifier: str, observed: Optional[ObservedInstance], decision: Any
) -> Optional[Condition]:
    """Do one decision; the condition it leads to, None where it changes nothing about that."""
    if isinstance(decision, Refuse):
        return Condition(INSTANCE_AVAILABLE, FALSE, decision.reason, decision.message)
    if isinstance(decision, Wait):
        return Condition(INSTANCE_AVAILABLE, TRUE if decision.settled else FALSE, decision.reason, decision.message)
    if isinstance(decision, Create):
        return _create(run, spec, identifier)
    if observed is None:
        return None
    if isinstance(decision, Tag):
        run.services.rds.tag(observed.arn, decision.tags)
        return None
    if isinstance(decision, Modify):
        immediately = run.services.settings.database.apply_immediately
        run.services.rds.modify(identifier, observed.engine, decision.changes, immediately=immediately)
        changes = ", ".join(str(change) for change in decision.changes)
        return Condition(INSTANCE_AVAILABLE, FALSE, "Modifying", f"Changing {changes}; this takes minutes.")
    if isinstance(decision, RotatePassword):
        return _give_password(run, identifier, observed)
    raise TypeError(f"no way to carry out {type(decision).__name__}")


def _create(run: DatabaseRun, spec: DatabaseSpec, identifier: str) -> Condition:
    tags = run.tags(spec)
    if spec.restore_snapshot or spec.restore_point:
        # Version 0 is none that Vault has: once it is available, it is given our password instead of its old one.
        run.services.rds.restore(spec, identifier, tags={**tags, naming.TAG_CREDENTIALS_VERSION: "0"})
        return Condition(INSTANCE_AVAILABLE, FALSE, "Restoring", f"RDS restores {identifier}; this takes minutes.")
    credentials = run.services.vault.read(run.vault_path)
    tags[naming.TAG_CREDENTIALS_VERSION] = str(credentials.version)
    run.services.rds.create(spec, identifier, username=credentials.username, password=credentials.password, tags=tags)
    return Condition(INSTANCE_AVAILABLE, FALSE, "Creating", f"RDS creates {identifier}; this takes minutes.")


def _give_password(run: DatabaseRun, identifier: str, observed: ObservedInstance) -> Condition:
    """Set Vault's password on the instance, then note which version it was. In this order: a repeat sets it again."""
    run.services.vault.rename_user(run.vault_path, observed.username)
    credentials = run.services.vault.read(run.vault_path)
    run.services.rds.set_password(identifier, credentials.password)
    run.services.rds.tag(observed.arn, {naming.TAG_CREDENTIALS_VERSION: str(credentials.version)})
    message = f"The instance is given version {credentials.version} of its credentials."
    return Condition(INSTANCE_AVAILABLE, FALSE, "RotatingCredentials", message)


def _adopted_credentials(run: DatabaseRun, resource: Object) -> Result:
    """An adopted instance has a password of its own, which nobody can read: it stays until somebody brings it."""
    found = run.services.vault.describe(run.vault_path)
    path = run.services.vault.full_path(run.vault_path)
    generation = _generation(resource)
    if found is None:
        message = (
            f"Write the adopted instance's username and password to Vault at {path}; they cannot be read from RDS."
        )
        run.handle.write_status(
            Condition(CREDENTIALS_STORED, FALSE, "AdoptedCredentialsMissing", message), generation=generation
        )
        return {"path": path, "version": None, "created": False}
    version = int(found["version"])
    condition = Condition(CREDENTIALS_STORED, TRUE, "Stored", f"The credentials are in Vault at {path}.")
    run.handle.write_status(condition, fields={"vaultPath": path, "vaultVersion": version}, generation=generation)
    return {"path": path, "version": version, "created": False}


def has_vanished(resource: Object) -> bool:
    """Whether an absent instance is a loss: it served once, and no one has said since how to go on."""
    metadata, status = resource["metadata"], resource.get("status") or {}
    if not (status.get("endpoint") or {}).get("host"):
        return False
    if (metadata.get("annotations") or {}).get(naming.RECREATE_ANNOTATION) == metadata["name"]:
        return False
    told = find(status.get("conditions") or [], INSTANCE_AVAILABLE) or {}
    # A restoreFrom from the beginning is no answer to the loss: it would bring back a state of long ago unasked.
    answered = told.get("reason") == "InstanceVanished" and int(told.get("observedGeneration", 0)) < _generation(
        resource
    )
    return not (answered and (resource.get("spec") or {}).get("restoreFrom"))


def _mind_lost_secret(run: DatabaseRun, resource: Object, spec: DatabaseSpec) -> None:
    """Where the secret was destroyed with all its versions, a new one would be version 1 again, as the instance's tag
    may say, and the instance would keep a password that nobody has. The tag is taken back first, so that the instance
    step gives it the new one; in this order a crash in between loses nothing."""
    if not (resource.get("status") or {}).get("vaultVersion") or run.services.vault.describe(run.vault_path):
        return
    observed = run.services.rds.describe(run.identifier(resource, spec))
    if observed is not None and observed.owner_uid == run.identity.uid:
        run.services.rds.tag(observed.arn, {naming.TAG_CREDENTIALS_VERSION: "0"})


def _credentials_version(run: DatabaseRun) -> Optional[int]:
    found = run.services.vault.describe(run.vault_path)
    return int(found["version"]) if found else None


def _available_condition(observed: Optional[ObservedInstance]) -> Condition:
    pending = " A reboot is pending for its parameter group." if observed and observed.pending_reboot else ""
    message = f"RDS serves at {observed.host}:{observed.port}.{pending}" if observed else ""
    return Condition(INSTANCE_AVAILABLE, TRUE, "Available", message)


def _instance_fields(identifier: str, observed: Optional[ObservedInstance], done: List[str]) -> Dict[str, Any]:
    fields: Dict[str, Any] = {"instanceIdentifier": identifier}
    if observed is None:
        # The address is that of an instance that served: until this one does, there is none.
        return {**fields, "instanceStatus": "creating", "endpoint": None}
    fields["instanceStatus"] = "modifying" if "Modify" in done else observed.status
    if observed.host:
        fields["endpoint"] = {"host": observed.host, "port": observed.port}
    return fields


def _generation(resource: Object) -> int:
    return int(resource["metadata"].get("generation", 0))


def _living(run: DatabaseRun) -> Optional[Object]:
    """The object now; None when it is gone or going since the plan: the event of that has its own run."""
    resource = run.handle.read()
    return None if resource is None or resource["metadata"].get("deletionTimestamp") else resource
