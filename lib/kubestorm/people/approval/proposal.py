"""What exactly will happen if people say yes: in lines, and as a hash of all of them. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

from kubestorm.core import untrusted

Object = Mapping[str, Any]
MAX_VALUE = 120
MAX_CHANGES = 25
# Secrets belong in Vault; whoever has put one into a plain variable all the same must not find it
# in a channel.
_SECRET = re.compile(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL|PRIVATE|DSN", re.IGNORECASE)


@dataclass(frozen=True)
class Proposal:
    """`title` is a sentence; `facts` label and value; `changes` what is added (+), removed (-) or
    changed (~).
    """

    title: str
    facts: Tuple[Tuple[str, str], ...] = ()
    changes: Tuple[str, ...] = ()
    requested_by: str = ""

    @property
    def shown(self) -> str:
        """A hash of all that people see of it."""
        text = json.dumps(
            [self.title, self.facts, self.changes, self.requested_by], ensure_ascii=True
        )
        return hashlib.sha256(text.encode()).hexdigest()


def of_rollout(
    rollout: Object, what: str, application: Optional[Object], deployment: Optional[Object]
) -> Proposal:
    """A Rollout that waits to begin, or to be promoted. `deployment` is what carries the good image
    now.
    """
    spec, status = rollout["spec"], untrusted.status(rollout)
    image = spec.get("image") or {}
    name = str((spec.get("applicationRef") or {}).get("name") or "")
    version = str(image.get("tag") or str(image.get("digest") or "")[:19])
    where = f"{name} in {rollout['metadata'].get('namespace', '')}"
    title = (
        f"Roll out {version} of {where}"
        if what == "rollout"
        else f"Promote {version} of {where} to all pods"
    )
    facts = [
        ("image", f"{image.get('repository', '')}:{image.get('tag', '')}".strip(":")),
        ("digest", str(image.get("digest") or "")),
        ("running now", str(spec.get("previousTag") or spec.get("previousDigest") or "nothing")),
        ("strategy", str((spec.get("strategy") or {}).get("type") or "RollingUpdate")),
        ("cause", str(spec.get("cause") or "")),
        ("requested by", str(spec.get("requestedBy") or "")),
    ]
    if what == "promote":
        # Not the weight of the moment, which is no part of what is decided.
        facts.append(("reached", str(status.get("step") or "")))
    return Proposal(
        title=f"{title}.",
        facts=tuple((label, value) for label, value in facts if value),
        changes=tuple(_rollout_changes(spec, application, deployment)),
        requested_by=str(spec.get("requestedBy") or ""),
    )


def _rollout_changes(
    spec: Object, application: Optional[Object], deployment: Optional[Object]
) -> List[str]:
    running = _container(deployment)
    image = spec.get("image") or {}
    wanted = "/".join(
        part
        for part in (str(image.get("registry") or ""), str(image.get("repository") or ""))
        if part
    )
    lines = [_change("image", running.get("image"), f"{wanted}@{image.get('digest', '')}")]
    replicas = spec.get("replicas") or {}
    low, high = replicas.get("min"), replicas.get("max")
    if high and high != low:
        # What an autoscaler has made of it at this moment is no part of what is decided.
        lines.append(f"  replicas: {low} to {high}, by load")
    else:
        lines.append(
            _change("replicas", ((deployment or {}).get("spec") or {}).get("replicas"), low)
        )
    if application is not None:
        before = {
            str(one.get("name")): one
            for one in running.get("env") or ()
            if isinstance(one, Mapping)
        }
        after = _environment((application.get("spec") or {}).get("env"))
        for key in sorted(set(before) | set(after)):
            old, new = _plain(before.get(key)), after.get(key)
            hidden = old != new and _SECRET.search(key)
            lines.append(f"~ env {key}: (not shown)" if hidden else _change(f"env {key}", old, new))
    found = [line for line in lines if line]
    more = len(found) - MAX_CHANGES
    return [*found[:MAX_CHANGES], f"… and {more} more changes"] if more > 0 else found


def of_deletion(database: Object, identifier: str) -> Proposal:
    """A Database whose deletion destroys its data."""
    metadata, spec, status = (
        database["metadata"],
        database.get("spec") or {},
        untrusted.status(database),
    )
    storage = spec.get("storage") if isinstance(spec.get("storage"), Mapping) else {}
    facts = [
        ("RDS instance", identifier),
        ("engine", " ".join(str(spec.get(key) or "") for key in ("engine", "version")).strip()),
        ("size", str(spec.get("size") or "")),
        ("storage", f"{storage['sizeGiB']} GiB" if storage and storage.get("sizeGiB") else ""),
        ("instance status", "none" if status.get("instanceStatus") == "deleted" else ""),
        ("requested by", requester(database)),
    ]
    return Proposal(
        title=(
            f"Delete the Database {metadata.get('namespace', '')}/{metadata['name']} with all its "
            "data, for ever."
        ),
        facts=tuple((label, value) for label, value in facts if value),
        changes=(
            f"- RDS instance {identifier} and its automated backups; no final snapshot is made",
            "- its credentials in Vault",
            "- its address in Consul",
        ),
        requested_by=requester(database),
    )


def deletion_hash(database: Object) -> str:
    """What an answer about a deletion is bound to: this object's life and instance."""
    metadata, status = database["metadata"], untrusted.status(database)
    content: Dict[str, Any] = {
        "what": "delete",
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "instance": status.get("instanceIdentifier", ""),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def requester(obj: Object) -> str:
    """Who asked by chat or an action; empty where somebody used kubectl."""
    return str(untrusted.annotations_of(obj).get("kubestorm.io/requested-by") or "")


def _container(deployment: Optional[Object]) -> Object:
    pod = (((deployment or {}).get("spec") or {}).get("template") or {}).get("spec") or {}
    containers = pod.get("containers") or [{}]
    return containers[0] if isinstance(containers[0], Mapping) else {}


def _environment(env: Any) -> Dict[str, str]:
    """Names and plain values; what comes from elsewhere is only named; no secret is looked up."""
    found: Dict[str, str] = {}
    if isinstance(env, Mapping):
        found = {str(key): _plain({"value": value}) for key, value in env.items()}
    elif isinstance(env, list):
        found = {str(one.get("name")): _plain(one) for one in env if isinstance(one, Mapping)}
    return found


def _plain(entry: Any) -> Any:
    if entry is None:
        return None
    value = entry.get("value") if isinstance(entry, Mapping) else None
    return "(from elsewhere)" if value is None or isinstance(value, (dict, list)) else str(value)


def _change(label: str, before: Any, after: Any) -> str:
    old, new = _cut(before), _cut(after)
    if old == new:
        return ""
    if before is None:
        return f"+ {label}: {new}"
    if after is None:
        return f"- {label}: {old}"
    return f"~ {label}: {old} → {new}"


def _cut(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"
