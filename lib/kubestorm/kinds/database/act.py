"""The steps of a Database's run, in the order of workflows/database_reconcile.yaml: one function
per action (`act_deletion` has the last). The way is spec, observe, plan, act, status.

Each step does what can be done now, writes its condition and returns; none waits. All are safe to
repeat and to run alone. A step that fails writes its condition before it raises.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from kubestorm.clients.rds import ObservedInstance
from kubestorm.core import naming, untrusted
from kubestorm.core.conditions import FALSE, READY, TRUE, Condition, condition_in, is_true
from kubestorm.core.errors import DefinitionError, Error, NotFoundError, PermanentError
from kubestorm.core.spec_reader import InvalidSpecError
from kubestorm.kinds.common.resource import Object
from kubestorm.kinds.database import act_rotation, plan_rotation, plan_snapshot
from kubestorm.kinds.database.act_rotation import Rotation
from kubestorm.kinds.database.observe import Observed, observe
from kubestorm.kinds.database.plan import (
    Create,
    Decision,
    Modify,
    RotatePassword,
    Tag,
    Wait,
    listed,
    plan_instance,
    refuse_restore,
)
from kubestorm.kinds.database.plan_changes import (
    Refuse,
    create_parameters,
    modify_parameters,
    restore_parameters,
)
from kubestorm.kinds.database.plan_parameters import check_parameters, compare_parameters, family_in
from kubestorm.kinds.database.run import DatabaseRun
from kubestorm.kinds.database.spec import DatabaseSpec
from kubestorm.kinds.database.status import (
    CHANGE_REFUSALS,
    CREDENTIALS_STORED,
    INSTANCE_AVAILABLE,
    PUBLISHED,
    SPEC_VALID,
    VALID,
    Reason,
    available,
    creating_message,
    instance_fields,
    is_available,
    unavailable,
)

Result = Dict[str, Any]
FORBIDDEN = 403
SKIPPED: Mapping[str, Any] = {"skipped": True}


def ensure_credentials(run: DatabaseRun) -> Result:
    """Check the spec, hold the object's deletion, and have username and password in Vault.

    The result has their path and version, never their values.
    """
    with run.reporting(CREDENTIALS_STORED):
        checked = _check_spec(run)
        if checked is None:
            return dict(SKIPPED)
        resource, spec = checked
        if spec.adopt:
            return _adopted_credentials(run, resource)
        _untag_lost_secret(run, resource, spec)
        username = run.services.settings.database.username
        ref = run.services.vault.ensure_credentials(run.vault_path, username)
        _write_stored(run, resource, ref.path, ref.version)
        return {"path": ref.path, "version": ref.version, "created": ref.created}


def ensure_instance(run: DatabaseRun) -> Result:
    """Create, restore, adopt or modify the RDS instance, whichever is next. The result says whether
    it is available as the spec asks.
    """
    with run.reporting(INSTANCE_AVAILABLE):
        checked = _check_spec(run)
        if checked is None:
            return dict(SKIPPED)
        seen = observe(run, *checked)
        if seen.instance is not None:
            # The annotation allowed one replacement, which exists now.
            run.handle.remove_annotation(naming.RECREATE_ANNOTATION)
        outcome = _carry_out(run, seen, _plan(run, seen))
        rotation = _rotate(run, seen, outcome)
        condition = outcome.available
        if rotation.waiting:
            condition = unavailable(Reason.ROTATING_CREDENTIALS, rotation.waiting)
        busy = not outcome.is_quiet or bool(rotation.waiting)
        snapshot = _ensure_snapshot(run, seen, busy=busy)
        fields = {**outcome.fields, **rotation.fields, **snapshot}
        generation = run.handle.generation(seen.resource)
        run.write_status(outcome.valid, condition, fields=fields, generation=generation)
        if rotation.delete_pending:
            run.services.vault.delete_pending(run.vault_path)
        return {
            "rotation": list(rotation.steps),
            "identifier": seen.identifier,
            "available": condition.status == TRUE,
            "decisions": [type(each).__name__ for each in outcome.done],
            "reason": str(condition.reason),
            "message": condition.message,
        }


def publish(run: DatabaseRun) -> Result:
    """Write the endpoint of an available instance to Consul, where applications read it. Writes
    nothing that is there already.
    """
    with run.reporting(PUBLISHED):
        resource = run.handle.read()
        if resource is None or resource["metadata"].get("deletionTimestamp"):
            return dict(SKIPPED)
        if not is_available(resource):
            return dict(SKIPPED)
        try:
            spec = run.parse(resource)
        except InvalidSpecError:
            return dict(SKIPPED)  # the steps before report it
        observed = run.services.rds.describe(run.identifier(resource, spec))
        if observed is None or observed.owner_uid != run.identity.uid or not observed.host:
            raise NotFoundError("RDS reports no endpoint for the instance.", service="AWS RDS")
        values = {
            "host": observed.host,
            "port": str(observed.port),
            "database": observed.database_name or spec.database_name,
            "username": observed.username,
            "vault_path": run.services.vault.full_path(run.vault_path),
        }
        result = run.services.consul.ensure_tree(run.consul_prefix, values)
        message = f"Endpoint published in Consul under {run.consul_prefix}."
        condition = Condition(PUBLISHED, TRUE, Reason.PUBLISHED, message)
        written = run.write_status(
            condition,
            fields={"consulPath": run.consul_prefix},
            generation=run.handle.generation(resource),
        )
        ready = is_true(untrusted.mappings(untrusted.status(written).get("conditions")), READY)
        return {"prefix": result.prefix, "written": list(result.written), "ready": ready}


# The spec.


def _check_spec(run: DatabaseRun) -> Optional[Tuple[Object, DatabaseSpec]]:
    """The object and its spec, its deletion held. None where nothing is to be done: it is gone or
    being deleted, or its spec is invalid, which SpecValid then says.
    """
    resource = run.handle.read()
    if resource is None or resource["metadata"].get("deletionTimestamp"):
        return None
    generation = run.handle.generation(resource)
    try:
        spec = run.parse(resource)
    except InvalidSpecError as error:
        condition = Condition(SPEC_VALID, FALSE, Reason.INVALID_SPEC, str(error))
        run.write_status(condition, generation=generation)
        return None
    # A refused change stays refused until the instance step finds it possible, or the spec changes.
    before = condition_in(untrusted.status(resource), SPEC_VALID)
    refused = before.get("reason") in CHANGE_REFUSALS
    run.valid = () if refused and before.get("observedGeneration") == generation else (VALID,)
    run.handle.ensure_finalizer()
    return resource, spec


# Credentials.


def _write_stored(run: DatabaseRun, resource: Object, path: str, version: int) -> None:
    message = f"Username and password are in Vault at {path} (version {version})."
    run.write_status(
        *run.valid,
        Condition(CREDENTIALS_STORED, TRUE, Reason.STORED, message),
        fields={"vaultPath": path, "vaultVersion": version},
        generation=run.handle.generation(resource),
    )


def _adopted_credentials(run: DatabaseRun, resource: Object) -> Result:
    """The password of an adopted instance cannot be read: it stays until somebody stores it."""
    found = run.services.vault.describe(run.vault_path)
    path = run.services.vault.full_path(run.vault_path)
    if found is None:
        message = (
            f"Write the adopted instance's username and password to Vault at {path}; they cannot "
            "be read from RDS."
        )
        missing = Condition(CREDENTIALS_STORED, FALSE, Reason.ADOPTED_CREDENTIALS_MISSING, message)
        run.write_status(*run.valid, missing, generation=run.handle.generation(resource))
        return {"path": path, "version": None, "created": False}
    version = int(found["version"])
    _write_stored(run, resource, path, version)
    return {"path": path, "version": version, "created": False}


def _untag_lost_secret(run: DatabaseRun, resource: Object, spec: DatabaseSpec) -> None:
    """Where the secret was destroyed with all its versions, a new one would be version 1 again, as
    the instance's tag may say, and the instance would keep a password that nobody has. So the tag
    is reset first, and the instance step sets the new password; a crash in between loses nothing.
    """
    stored_before = untrusted.status(resource).get("vaultVersion")
    if not stored_before or run.services.vault.describe(run.vault_path):
        return
    observed = run.services.rds.describe(run.identifier(resource, spec))
    if observed is not None and observed.owner_uid == run.identity.uid:
        run.services.rds.tag(observed.arn, {naming.TAG_CREDENTIALS_VERSION: "0"})


# The instance.


class Outcome(NamedTuple):
    """What carrying out led to: the two conditions, fields of status, the decisions carried out."""

    valid: Condition
    available: Condition
    fields: Dict[str, Any]
    done: Sequence[Decision]

    @property
    def is_quiet(self) -> bool:
        """Whether the instance is as it was observed, apart from its tags."""
        return all(isinstance(each, (Tag, Refuse)) for each in self.done)


def _plan(run: DatabaseRun, seen: Observed) -> Tuple[Decision, ...]:
    refused = refuse_restore(seen.source, seen.source_tags, run.identity) if seen.source else None
    return plan_instance(
        seen.spec,
        seen.instance,
        uid=run.identity.uid,
        identifier=seen.identifier,
        tags=run.tags(seen.spec),
        credentials_version=seen.credentials_version,
        apply_immediately=run.services.settings.database.apply_immediately,
        vanished=seen.vanished,
        restore_refused=refused,
    )


def _carry_out(run: DatabaseRun, seen: Observed, decisions: Sequence[Decision]) -> Outcome:
    """Carry the decisions out. A change that AWS refuses is a refused change: the instance serves
    on.
    """
    observed = seen.instance
    condition = available(observed) if observed else _no_instance(Reason.CREATING)
    fields: Dict[str, Any] = {}
    done: List[Decision] = []
    refused = next((each for each in decisions if isinstance(each, Refuse)), None)
    try:
        if "parameters" in seen.spec.stated and refused is None:
            fields.update(_ensure_parameters(run, seen))
        for decision in decisions:
            condition = _carry_out_one(run, seen, decision) or condition
            done.append(decision)
    except (PermanentError, DefinitionError, NotFoundError) as error:
        refused = _refusal_by_aws(error, observed)
    created = any(isinstance(each, Create) for each in done)
    request = plan_rotation.requested(seen.resource)
    if created and request:
        fields[plan_rotation.STATUS_FIELD] = request  # its password is a new one already
    if observed is not None or any(not isinstance(each, Refuse) for each in done):
        modified = any(isinstance(each, Modify) for each in done)
        fields.update(instance_fields(seen.identifier, observed, modified=modified))
    valid = VALID
    if refused is not None and refused.change:
        valid = Condition(SPEC_VALID, FALSE, refused.reason, refused.message)
        condition = available(observed) if observed else _no_instance(refused.reason)
    if condition.reason == Reason.FOREIGN_INSTANCE:
        return Outcome(valid, condition, {}, done)
    if observed is not None:
        fields["pending"] = list(seen.pending) or None
        if seen.pending and condition.status == TRUE:
            message = f"{condition.message} Pending: {'; '.join(seen.pending)}."
            condition = condition._replace(message=message)
    return Outcome(valid, condition, fields, done)


def _no_instance(reason: str) -> Condition:
    return unavailable(reason, "There is no instance yet.")


def _refusal_by_aws(error: Error, observed: Optional[ObservedInstance]) -> Refuse:
    """An error as a refused change; raised again where the spec is not at fault: the pack lacks a
    permission, or there is no instance to change.
    """
    invalid = isinstance(error, InvalidSpecError)
    if error.status_code == FORBIDDEN or (observed is None and not invalid):
        raise error
    reason = Reason.PARAMETERS_REFUSED if invalid else Reason.CHANGE_REFUSED
    return Refuse(reason, str(error), change=True)


def _carry_out_one(run: DatabaseRun, seen: Observed, decision: Decision) -> Optional[Condition]:
    """The condition that it leads to, None where it does not change that."""
    observed = seen.instance
    if isinstance(decision, Refuse):
        return unavailable(decision.reason, decision.message)
    if isinstance(decision, Wait):
        status = TRUE if decision.settled else FALSE
        return Condition(INSTANCE_AVAILABLE, status, decision.reason, decision.message)
    if isinstance(decision, Create):
        return _create(run, seen)
    if observed is None:
        raise TypeError(f"no instance for {type(decision).__name__}")
    if isinstance(decision, Tag):
        run.services.rds.tag(observed.arn, decision.tags)
        return None
    if isinstance(decision, Modify):
        run.services.rds.modify(
            seen.identifier,
            modify_parameters(seen.spec, decision.changes, observed),
            immediately=run.services.settings.database.apply_immediately,
        )
        message = f"Changing {listed(decision.changes)}; this usually takes several minutes."
        return unavailable(Reason.MODIFYING, message)
    return _give_password(run, seen.identifier, observed, decision)


def _create(run: DatabaseRun, seen: Observed) -> Condition:
    spec, identifier, tags = seen.spec, seen.identifier, run.tags(seen.spec)
    rds, point = run.services.rds, seen.spec.restore_point
    if spec.restore_snapshot or point:
        # Vault has no version 0: once the instance is available, it is given our password in place
        # of its old one.
        tags[naming.TAG_CREDENTIALS_VERSION] = "0"
        parameters = restore_parameters(spec)
        if point:
            rds.restore_point_in_time(
                identifier, point.source_instance, point.time, parameters, tags=tags
            )
        elif spec.restore_snapshot:
            rds.restore_snapshot(identifier, spec.restore_snapshot, parameters, tags=tags)
        message = f"Restoring RDS instance {identifier}; how long depends on the size of the data."
        return unavailable(Reason.RESTORING, message)
    credentials = run.services.vault.read(run.vault_path)
    tags[naming.TAG_CREDENTIALS_VERSION] = str(credentials.version)
    rds.create(
        identifier,
        create_parameters(spec),
        username=credentials.username,
        password=credentials.password,
        tags=tags,
    )
    return unavailable(Reason.CREATING, creating_message(identifier))


def _give_password(
    run: DatabaseRun, identifier: str, observed: ObservedInstance, _decision: RotatePassword
) -> Condition:
    """Set Vault's password on the instance, then tag it with the version: in this order, a repeat
    sets it again.
    """
    run.services.vault.rename_user(run.vault_path, observed.username)
    credentials = run.services.vault.read(run.vault_path)
    run.services.rds.set_password(identifier, credentials.password)
    run.services.rds.tag(observed.arn, {naming.TAG_CREDENTIALS_VERSION: str(credentials.version)})
    message = f"Setting the password of version {credentials.version} of the credentials."
    return unavailable(Reason.ROTATING_CREDENTIALS, message)


def _rotate(run: DatabaseRun, seen: Observed, outcome: Outcome) -> Rotation:
    if seen.instance is None or not (seen.is_rotating and seen.is_ours and outcome.is_quiet):
        return Rotation()
    return act_rotation.rotate(run.services, run.vault_path, seen.resource, seen.instance)


# Its own parameter group.


def _ensure_parameters(run: DatabaseRun, seen: Observed) -> Dict[str, Any]:
    """Have the group hold what the spec says; the fields of status that follow. Raises
    InvalidSpecError before anything is written. Safe to repeat.
    """
    rds, spec = run.services.rds, seen.spec
    group = spec.parameter_group or ""
    family = rds.describe_parameter_group(group)
    if family is None:
        family = family_in(group, spec.engine)
        rds.create_parameter_group(group, family, run.tags(spec))
    changes = compare_parameters(spec.parameters, rds.parameters(group, only_set=True))
    if changes.write or changes.reset:
        known = rds.parameters(group, only_set=False)
        check_parameters(changes, known, family)
        static = {name for name, parameter in known.items() if parameter.static}
        if changes.reset:
            rds.reset_parameters(group, changes.reset, static)
        if changes.write:
            rds.set_parameters(group, changes.write, static)
    return {"parameterGroup": group, **_delete_former_group(run, seen, group)}


def _delete_former_group(run: DatabaseRun, seen: Observed, group: str) -> Dict[str, Any]:
    """After a major upgrade, delete the group of the old version, once the instance uses the new
    one.
    """
    status, observed = untrusted.status(seen.resource), seen.instance
    former = status.get("formerParameterGroup") or status.get("parameterGroup")
    if not former or former == group:
        return {}
    if observed is None or observed.parameter_group != group or observed.status != "available":
        return {"formerParameterGroup": former}
    run.services.rds.delete_parameter_group(str(former))
    return {"formerParameterGroup": None}


# A requested snapshot.


def _ensure_snapshot(run: DatabaseRun, seen: Observed, *, busy: bool) -> Dict[str, Any]:
    """Create the snapshot that somebody requested, or see how far it is; the field of status."""
    word, instance = plan_snapshot.requested(seen.resource), seen.instance
    if word is None or instance is None or not seen.is_ours:
        return {}
    if not plan_snapshot.is_word(word):
        message = f"{naming.SNAPSHOT_ANNOTATION}: {word!r} cannot be part of a snapshot's name."
        return {plan_snapshot.STATUS_FIELD: plan_snapshot.refused(word, message)}
    rds = run.services.rds
    name = plan_snapshot.identifier(instance.identifier, run.identity.uid, word)
    found = rds.describe_snapshot(name)
    state = plan_snapshot.plan_snapshot(word, name, found, instance, busy=busy)
    if found is None and state["state"] == plan_snapshot.CREATING:
        try:
            rds.create_snapshot(instance.identifier, name, naming.owner_tags(run.identity))
        except (PermanentError, DefinitionError, NotFoundError) as error:
            state = plan_snapshot.refused(word, str(error), name)
    return {plan_snapshot.STATUS_FIELD: state}
