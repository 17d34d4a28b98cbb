"""Compare the specs of Databases with what exists, both ways. Pure.

Only the fields that a Database sets are compared (decision 0066), by the function that plans
changes: what is reported here is what a run would change or refuse.
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

from kubestorm.clients.rds import ObservedInstance
from kubestorm.core import naming
from kubestorm.kinds.database.drift.values import (
    CONSUL,
    DIFFERENT,
    EXTRA,
    MISSING,
    RDS,
    VAULT,
    Desired,
    Difference,
    Finding,
    Kept,
    ObservedState,
    Place,
    Report,
)
from kubestorm.kinds.database.plan import needs_password, plan_instance
from kubestorm.kinds.database.plan_changes import Refuse, differences, is_pending
from kubestorm.kinds.database.plan_parameters import compare_parameters, with_own_group
from kubestorm.kinds.database.status import Reason

PUBLISHED_KEYS = ("host", "port", "database", "username", "vault_path")


def compare(
    databases: Iterable[Desired],
    state: ObservedState,
    *,
    cluster: str,
    mount: str,
    prefix: str = "",
    present: FrozenSet[Place] = frozenset(),
    uids: FrozenSet[str] = frozenset(),
) -> Report:
    """`present` and `uids` are of further Databases that exist: what is theirs is no orphan.
    `prefix` begins our instances' identifiers: one with it and without tags has lost them.
    """
    databases = tuple(databases)
    findings: List[Finding] = []
    for desired in databases:
        found = () if desired.under_way else _differences(desired, state)
        if found:
            findings.append(Finding(desired.place, desired.uid, found, origin=desired.origin))
    places = present | {desired.place for desired in databases}
    owners = uids | {desired.uid for desired in databases}
    adopted = frozenset(desired.identifier for desired in databases)
    orphans, kept = _leftovers(
        state, places, owners, adopted, cluster=cluster, mount=mount, prefix=prefix
    )
    return Report(
        findings=tuple(sorted([*findings, *orphans], key=lambda one: (one.place, one.orphan))),
        kept=tuple(sorted(kept)),
        under_way={desired.place: desired.under_way for desired in databases if desired.under_way},
        unknown=dict(state.unknown),
        compared=len(databases),
    )


# One Database against what exists.


def _differences(desired: Desired, state: ObservedState) -> Tuple[Difference, ...]:
    observed = _instance_of(desired, state)
    version = state.secrets.get(desired.place) if state.secrets is not None else None
    found: List[Difference] = []
    if state.instances is not None:
        found += _instance(desired, observed)
        found += _parameters(desired, observed, state)
    if state.secrets is not None:
        found += _secret(desired, observed, version)
        found += _pending(desired, state)
    if state.published is not None:
        found += _published(desired, observed, state.published.get(desired.place) or {})
    return tuple(found)


def _instance_of(desired: Desired, state: ObservedState) -> Optional[ObservedInstance]:
    return next(
        (one for one in state.instances or () if one.identifier == desired.identifier), None
    )


def _instance(desired: Desired, observed: Optional[ObservedInstance]) -> List[Difference]:
    if observed is None:
        # Not repairable: an empty one would hide the loss. A run refuses and says what to do.
        return [Difference(RDS, "instance", desired.identifier, None, MISSING)]
    if observed.owner_uid != desired.uid:
        return [
            Difference(RDS, f"tags.{naming.TAG_UID}", desired.uid, observed.owner_uid, DIFFERENT)
        ]
    if desired.spec is None:
        return []
    # Without the version of the credentials, which `_secret` compares.
    spec = with_own_group(desired.spec, desired.own_identifier, observed)
    planned = plan_instance(
        spec, observed, uid=desired.uid, identifier=desired.identifier, tags=desired.tags
    )
    refusal = planned[0] if planned and isinstance(planned[0], Refuse) else None
    changes = [change for change in differences(spec, observed) if not is_pending(change, observed)]
    found = [
        Difference(
            RDS, change.field, _plain(change.new), _plain(change.old), DIFFERENT, refusal is None
        )
        for change in changes
    ]
    found += [
        Difference(RDS, f"tags.{key}", value, observed.tags.get(key), DIFFERENT, refusal is None)
        for key, value in sorted(desired.tags.items())
        if observed.tags.get(key) != value
    ]
    if refusal is not None:
        what = (
            ("status", observed.status)
            if refusal.reason == Reason.INSTANCE_BROKEN
            else (refusal.reason, refusal.message)
        )
        found.append(
            Difference(
                RDS, what[0], "available" if what[0] == "status" else None, what[1], DIFFERENT
            )
        )
    return found


def _parameters(
    desired: Desired, observed: Optional[ObservedInstance], state: ObservedState
) -> List[Difference]:
    """`spec.parameters` against its group, which every run of the instance step writes."""
    if (
        desired.spec is None
        or observed is None
        or observed.owner_uid != desired.uid
        or "parameters" not in desired.spec.stated
    ):
        return []
    group = with_own_group(desired.spec, desired.own_identifier, observed).parameter_group or ""
    found = state.parameters.get(group)
    if found is None:
        return []
    changes = compare_parameters(desired.spec.parameters, found)
    differing = [
        Difference(
            RDS,
            f"parameters.{name}",
            value,
            found[name].value if name in found else None,
            DIFFERENT if name in found else MISSING,
            True,
        )
        for name, value in sorted(changes.write.items())
    ]
    return differing + [
        Difference(RDS, f"parameters.{name}", None, found[name].value, EXTRA, True)
        for name in sorted(changes.reset)
    ]


def _pending(desired: Desired, state: ObservedState) -> List[Difference]:
    """A rotation's copy that is no longer needed: a run promotes or deletes it."""
    if desired.place not in state.pending or desired.rotation_due:
        return []
    return [
        Difference(
            VAULT, "pending", None, naming.pending_vault_path(desired.vault_path), EXTRA, True
        )
    ]


def _secret(
    desired: Desired, observed: Optional[ObservedInstance], version: Optional[int]
) -> List[Difference]:
    # The pack sets no password for an adopted instance.
    adopted = desired.spec is not None and desired.spec.adopt is not None
    ours = observed is not None and observed.owner_uid == desired.uid
    if version is None:
        if not desired.credentials_stored:
            return []
        return [
            Difference(VAULT, "secret", desired.vault_path, None, MISSING, ours and not adopted)
        ]
    if observed is None or not ours or not version or not needs_password(observed, version):
        return []
    given = observed.tags.get(naming.TAG_CREDENTIALS_VERSION)
    return [
        Difference(VAULT, "version", given, str(version), DIFFERENT, observed.status == "available")
    ]


def _published(
    desired: Desired, observed: Optional[ObservedInstance], found: Mapping[str, str]
) -> List[Difference]:
    ours = observed is not None and observed.owner_uid == desired.uid
    wished = _address(desired, observed if ours else None)
    return [
        Difference(CONSUL, key, value, found.get(key), DIFFERENT if key in found else MISSING, ours)
        for key, value in wished.items()
        if found.get(key) != value
    ]


def _address(desired: Desired, observed: Optional[ObservedInstance]) -> Dict[str, str]:
    """What Consul should hold, as far as it is known: from the instance, else from status."""
    if observed is None or not observed.host:
        values: Dict[str, Any] = {"host": desired.host, "port": desired.port}
    else:
        database = observed.database_name or (desired.spec.database_name if desired.spec else None)
        values = {
            "host": observed.host,
            "port": observed.port,
            "database": database,
            "username": observed.username,
        }
    values["vault_path"] = desired.vault_path
    return {key: str(value) for key, value in values.items() if value is not None}


# What exists against the Databases.


def _leftovers(
    state: ObservedState,
    places: FrozenSet[Place],
    owners: FrozenSet[str],
    adopted: FrozenSet[str],
    *,
    cluster: str,
    mount: str,
    prefix: str,
) -> Tuple[List[Finding], List[Kept]]:
    if state.instances is None:
        return [], []
    kept: List[Kept] = []
    extra: Dict[Tuple[Place, str], List[Difference]] = {}
    retained: Dict[Place, str] = {}
    for one in state.instances:
        place = _orphaned(one, owners, adopted, cluster=cluster, prefix=prefix)
        if place is None:
            continue
        if one.owner_uid and one.tags.get(naming.TAG_RETAINED) == one.owner_uid:
            retained[place] = one.identifier
            kept.append(
                Kept(
                    place,
                    RDS,
                    one.identifier,
                    "its Database was deleted with deletionPolicy Retain",
                )
            )
            continue
        extra.setdefault((place, one.owner_uid or ""), []).append(
            Difference(RDS, "instance", None, one.identifier, EXTRA)
        )
    for service, field, found in _named(state, cluster, mount):
        for place, where in found.items():
            if place in places:
                continue
            if place in retained:
                kept.append(
                    Kept(
                        place,
                        service,
                        where,
                        f"it belongs to the retained instance {retained[place]}",
                    )
                )
            elif service == VAULT and place in state.snapshots:
                kept.append(Kept(place, service, where, "a snapshot of its instance is kept"))
            else:
                owner = next((uid for (other, uid) in extra if other == place), "")
                extra.setdefault((place, owner), []).append(
                    Difference(service, field, None, where, EXTRA)
                )
    findings = [
        Finding(place, uid, tuple(found), orphan=True) for (place, uid), found in extra.items()
    ]
    return findings, kept


def _orphaned(
    one: ObservedInstance,
    owners: FrozenSet[str],
    adopted: FrozenSet[str],
    *,
    cluster: str,
    prefix: str,
) -> Optional[Place]:
    """The place of its Database, or its identifier without tags; None where it is no orphan."""
    if one.status == "deleting" or one.identifier in adopted:
        return None
    if one.owner_uid is None:
        return (
            Place("", one.identifier)
            if prefix and one.identifier.startswith(f"{prefix}-{cluster}-")
            else None
        )
    if one.tags.get(naming.TAG_CLUSTER) != cluster or one.owner_uid in owners:
        return None
    return Place(
        one.tags.get(naming.TAG_NAMESPACE, ""), one.tags.get(naming.TAG_NAME, one.identifier)
    )


def _named(
    state: ObservedState, cluster: str, mount: str
) -> Sequence[Tuple[str, str, Mapping[Place, str]]]:
    secrets = {
        place: f"{mount}/{naming.vault_path(cluster, *place)}" for place in state.secrets or ()
    }
    keys = {place: naming.consul_prefix(cluster, *place) for place in state.published or ()}
    return ((VAULT, "secret", secrets), (CONSUL, "keys", keys))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
