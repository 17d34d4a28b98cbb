"""A report in words, and as a trigger's payload. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, Iterable, List, Mapping

from kubestorm.kinds.database.drift.values import (
    DATABASE,
    EXTRA,
    MISSING,
    Difference,
    Finding,
    Payload,
    Report,
)

ORPHAN_MARK = "orphan:"
KIND_MARK = "@"


def payload(finding: Finding, cluster: str) -> Payload:
    """What `kubestorm.drift_detected` carries: identity, what differs, and whether a run repairs
    any of it.
    """
    return {
        "cluster": cluster,
        **finding.origin._asdict(),
        "namespace": finding.place.namespace,
        "name": finding.place.name,
        "uid": finding.uid,
        "orphan": finding.orphan,
        "repairable": finding.repairable,
        "message": sentence(finding),
        "differences": [dict(one._asdict()) for one in finding.differences],
    }


def sentence(finding: Finding) -> str:
    """One finding in words: what differs, and what to do."""
    differences = "; ".join(_clause(one) for one in finding.differences)
    if finding.orphan:
        return (
            f"No Database for what is left of {finding.place}: {differences}. It is not changed; "
            "delete it or adopt it."
        )
    if all(one.repairable for one in finding.differences):
        then = "A run of database_reconcile repairs it."
    elif finding.repairable:
        then = "A run of database_reconcile repairs part of it."
    elif any(one.what == MISSING and one.field == "instance" for one in finding.differences):
        then = (
            "No empty instance is created in its place: set or change spec.restoreFrom, or see the "
            "condition InstanceAvailable."
        )
    else:
        then = "Nothing is changed; a person has to decide."
    return f"{finding.origin.kind} {finding.place}: {differences}. {then}"


def key_of(finding: Finding) -> str:
    """The name of a Database, or of what is left of one, in what is remembered. Another kind is
    part of it: two objects of one name would take turns in being told.
    """
    if finding.orphan:
        return f"{ORPHAN_MARK}{finding.place}"
    kind = f"{finding.origin.plural}.{finding.origin.group}"
    ours = kind == f"{DATABASE.plural}.{DATABASE.group}"
    return str(finding.place) if ours else f"{finding.place}{KIND_MARK}{kind}"


def digests(finding: Finding) -> Dict[str, str]:
    """Service -> a fingerprint of what differs there: the same as long as the drift is the same."""
    found: Dict[str, List[Any]] = {}
    for one in finding.differences:
        found.setdefault(one.service, []).append([one.field, one.wished, one.found, one.what])
    return {
        service: _digest([finding.uid, *sorted(rows, key=_text)]) for service, rows in found.items()
    }


def as_result(report: Report) -> Mapping[str, Any]:
    """The report as an action's result: a sentence, and lists that show as tables."""
    rows = [
        {
            "namespace": finding.place.namespace,
            "name": finding.place.name,
            **one._asdict(),
        }
        for finding in report.findings
        for one in finding.differences
    ]
    return {
        "message": summary(report),
        "drift": rows,
        "advice": [sentence(finding) for finding in report.findings],
        "kept": [
            {
                "namespace": one.place.namespace,
                "name": one.place.name,
                **dict(one._asdict(), place=str(one.place)),
            }
            for one in report.kept
        ],
        "under_way": [
            {"namespace": place.namespace, "name": place.name, "reason": why}
            for place, why in sorted(report.under_way.items())
        ],
        "unknown": [
            {"service": service, "message": why} for service, why in sorted(report.unknown.items())
        ],
    }


def summary(report: Report) -> str:
    """The whole report in one or two sentences."""
    databases = [finding for finding in report.findings if not finding.orphan]
    orphans = [finding for finding in report.findings if finding.orphan]
    parts = [
        f"{report.compared} Databases checked" if report.compared != 1 else "1 Database checked"
    ]
    parts.append(
        f"{len(databases)} of them with drift ({_names(databases)})"
        if databases
        else "none with drift"
    )
    parts.append(
        f"{len(orphans)} leftovers without a Database ({_names(orphans)})"
        if orphans
        else "no orphans"
    )
    text = ", ".join(parts)
    if report.kept:
        text += f"; {len(report.kept)} leftovers are kept on purpose"
    if report.under_way:
        text += f"; {len(report.under_way)} are changing and not compared"
    text += "."
    if report.unknown:
        names = ", ".join(sorted(report.unknown))
        text += f" Unknown, because the service did not answer: {names}."
    return text


def _clause(one: Difference) -> str:
    if one.what == MISSING:
        wished = f" ({one.wished})" if one.wished is not None else ""
        return f"{one.service} has no {one.field}{wished}"
    if one.what == EXTRA:
        return f"{one.service} has {one.field} {one.found}"
    if one.wished is None:
        return f"{one.service}: {one.found}"
    return f"{one.service} has {one.field} {one.found} instead of {one.wished}"


def _names(findings: Iterable[Finding]) -> str:
    return ", ".join(str(finding.place) for finding in findings)


def _digest(value: Any) -> str:
    return hashlib.sha256(_text(value).encode()).hexdigest()[:16]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
