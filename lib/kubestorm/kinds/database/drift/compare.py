"""Compare what is wished with what exists, both ways. Pure.

Of an instance only what its Database states is compared (decision 0066), by the same function that
plans changes: what is reported here is what a run would change, or refuse to.
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

from kubestorm.clients.rds import ObservedInstance
from kubestorm.core import naming
from kubestorm.kinds.database import own_parameters
from kubestorm.kinds.database.drift.values import (
    CONSUL,
    DIFFERENT,
    EXTRA,
    MISSING,
    RDS,
    VAULT,
    Difference,
    Finding,
    Kept,
    Place,
    Report,
    Wish,
    World,
)
from kubestorm.kinds.database.plan import (
    Refuse,
    differences,
    is_pending,
    needs_password,
    plan_instance,
)

PUBLISHED_KEYS = ("host", "port", "database", "username", "vault_path")


def compare(
    wishes: Iterable[Wish],
    world: World,
    *,
    cluster: str,
    mount: str,
    prefix: str = "",
    present: FrozenSet[Place] = frozenset(),
    uids: FrozenSet[str] = frozenset(),
) -> Report:
    """`present` and `uids` are of Databases that exist beside the wishes, whose belongings are no
    orphans.

    `prefix` is the first part of our instances' identifiers: one under it without tags has lost
    them.
    """
    wishes = tuple(wishes)
    findings: List[Finding] = []
    for wish in wishes:
        found = () if wish.under_way else _judge(wish, world)
        if found:
            findings.append(Finding(wish.place, wish.uid, found, origin=wish.origin))
    places = present | {wish.place for wish in wishes}
    owners = uids | {wish.uid for wish in wishes}
    adopted = frozenset(wish.identifier for wish in wishes)
    orphans, kept = _leftovers(
        world, places, owners, adopted, cluster=cluster, mount=mount, prefix=prefix
    )
    return Report(
        findings=tuple(sorted([*findings, *orphans], key=lambda one: (one.place, one.orphan))),
        kept=tuple(sorted(kept)),
        under_way={wish.place: wish.under_way for wish in wishes if wish.under_way},
        unknown=dict(world.unknown),
        compared=len(wishes),
    )


# One Database against the world.


def _judge(wish: Wish, world: World) -> Tuple[Difference, ...]:
    observed = _instance_of(wish, world)
    version = world.secrets.get(wish.place) if world.secrets is not None else None
    found: List[Difference] = []
    if world.instances is not None:
        found += _instance(wish, observed)
        found += _parameters(wish, observed, world)
    if world.secrets is not None:
        found += _secret(wish, observed, version)
        found += _pending(wish, world)
    if world.published is not None:
        found += _published(wish, observed, world.published.get(wish.place) or {})
    return tuple(found)


def _instance_of(wish: Wish, world: World) -> Optional[ObservedInstance]:
    return next((one for one in world.instances or () if one.identifier == wish.identifier), None)


def _instance(wish: Wish, observed: Optional[ObservedInstance]) -> List[Difference]:
    if observed is None:
        # Not by itself: an empty one would hide the loss. database_reconcile refuses, and says what
        # to do.
        return [Difference(RDS, "instance", wish.identifier, None, MISSING)]
    if observed.owner_uid != wish.uid:
        return [Difference(RDS, f"tags.{naming.TAG_UID}", wish.uid, observed.owner_uid, DIFFERENT)]
    if wish.spec is None:
        return []
    # Without the version of the credentials: whether they differ is Vault's row.
    spec = own_parameters.with_own_group(wish.spec, wish.own_identifier, observed)
    planned = plan_instance(
        spec, observed, uid=wish.uid, identifier=wish.identifier, tags=wish.tags
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
        for key, value in sorted(wish.tags.items())
        if observed.tags.get(key) != value
    ]
    if refusal is not None:
        what = (
            ("status", observed.status)
            if refusal.reason == "InstanceBroken"
            else (refusal.reason, refusal.message)
        )
        found.append(
            Difference(
                RDS, what[0], "available" if what[0] == "status" else None, what[1], DIFFERENT
            )
        )
    return found


def _parameters(wish: Wish, observed: Optional[ObservedInstance], world: World) -> List[Difference]:
    """What `spec.parameters` says against what its group holds. Every run of the instance step
    writes it.
    """
    if (
        wish.spec is None
        or observed is None
        or observed.owner_uid != wish.uid
        or "parameters" not in wish.spec.stated
    ):
        return []
    group = (
        own_parameters.with_own_group(wish.spec, wish.own_identifier, observed).parameter_group
        or ""
    )
    found = world.parameters.get(group)
    if found is None:
        return []
    changes = own_parameters.compare(wish.spec.parameters, found)
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


def _pending(wish: Wish, world: World) -> List[Difference]:
    """A rotation's copy that no rotation needs any more: a run promotes it, or forgets it."""
    if wish.place not in world.pending or wish.rotation_due:
        return []
    return [
        Difference(VAULT, "pending", None, naming.pending_vault_path(wish.vault_path), EXTRA, True)
    ]


def _secret(
    wish: Wish, observed: Optional[ObservedInstance], version: Optional[int]
) -> List[Difference]:
    # The password of an adopted instance is not ours to make.
    adopted = wish.spec is not None and wish.spec.adopt is not None
    ours = observed is not None and observed.owner_uid == wish.uid
    if version is None:
        if not wish.credentials_stored:
            return []
        return [Difference(VAULT, "secret", wish.vault_path, None, MISSING, ours and not adopted)]
    if observed is None or not ours or not version or not needs_password(observed, version):
        return []
    given = observed.tags.get(naming.TAG_CREDENTIALS_VERSION)
    return [
        Difference(VAULT, "version", given, str(version), DIFFERENT, observed.status == "available")
    ]


def _published(
    wish: Wish, observed: Optional[ObservedInstance], found: Mapping[str, str]
) -> List[Difference]:
    ours = observed is not None and observed.owner_uid == wish.uid
    wished = _address(wish, observed if ours else None)
    return [
        Difference(CONSUL, key, value, found.get(key), DIFFERENT if key in found else MISSING, ours)
        for key, value in wished.items()
        if found.get(key) != value
    ]


def _address(wish: Wish, observed: Optional[ObservedInstance]) -> Dict[str, str]:
    """What Consul should say, as far as it is known: from the instance, or else from status."""
    if observed is None or not observed.host:
        values: Dict[str, Any] = {"host": wish.host, "port": wish.port}
    else:
        database = observed.database_name or (wish.spec.database_name if wish.spec else None)
        values = {
            "host": observed.host,
            "port": observed.port,
            "database": database,
            "username": observed.username,
        }
    values["vault_path"] = wish.vault_path
    return {key: str(value) for key, value in values.items() if value is not None}


# The world against the Databases.


def _leftovers(
    world: World,
    places: FrozenSet[Place],
    owners: FrozenSet[str],
    adopted: FrozenSet[str],
    *,
    cluster: str,
    mount: str,
    prefix: str,
) -> Tuple[List[Finding], List[Kept]]:
    if world.instances is None:
        return [], []
    kept: List[Kept] = []
    extra: Dict[Tuple[Place, str], List[Difference]] = {}
    retained: Dict[Place, str] = {}
    for one in world.instances:
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
    for service, field, found in _named(world, cluster, mount):
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
            elif service == VAULT and place in world.snapshots:
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
    """Where its Database was, or its identifier where the tags are lost; None if no orphan."""
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
    world: World, cluster: str, mount: str
) -> Sequence[Tuple[str, str, Mapping[Place, str]]]:
    secrets = {
        place: f"{mount}/{naming.vault_path(cluster, *place)}" for place in world.secrets or ()
    }
    keys = {place: naming.consul_prefix(cluster, *place) for place in world.published or ()}
    return ((VAULT, "secret", secrets), (CONSUL, "keys", keys))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
