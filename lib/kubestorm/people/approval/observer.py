"""When somebody has to be asked, reminded, or told that the time is over: from the objects that the
Kubernetes sensor sees, dispatched as `kubestorm.approval_wanted`, once for each reason.

Nothing is kept but in memory: everything follows from the objects and their status, and the
sensor reports each object when it begins to watch.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import threading
from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Tuple

from kubestorm.core import untrusted
from kubestorm.core.conditions import AWAITING_APPROVAL
from kubestorm.core.errors import DefinitionError
from kubestorm.core.naming import GROUP, VERSION, Identity, identity_of, is_ours
from kubestorm.core.times import parse_time
from kubestorm.kinds.application.rollout.approval import approval_hash, pending_approval
from kubestorm.kinds.common.approval import WAITING
from kubestorm.people.approval.proposal import deletion_hash, requester
from kubestorm.people.approval.record import Record, read
from kubestorm.people.approval.settings import DELETE, ApprovalSettings, Rule

TRIGGER = "kubestorm.approval_wanted"
ASKED, CHANGED, DUE = "asked", "changed", "due"
ROLLOUTS, DATABASES, APPLICATIONS = "rollouts", "databases", "applications"
RETRY_SECONDS = 120.0
"""For a run that left no record; doubled each time."""
MAX_TRIES = 5
NOT_DISPATCHED_SECONDS = 10.0

Object = Mapping[str, Any]
Dispatch = Callable[[str, Dict[str, Any]], object]


class OpenQuestion(NamedTuple):
    """What somebody has to be asked about an object now."""

    what: str
    content_hash: str
    rule: Rule


@dataclass
class _Waiting:
    """One object that waits for people."""

    identity: Identity
    asked_about: str
    """Digest of what makes another question of it."""
    record: Optional[Record]
    due: Optional[float]
    reason: str
    application: Tuple[str, str]
    tries: int = 0


class ApprovalObserver:
    """Sees objects as they change; `tick` dispatches what is due. Safe for several threads."""

    def __init__(
        self,
        config: Mapping[str, Any],
        dispatch: Dispatch,
        log: logging.Logger,
        *,
        clock: Callable[[], float],
        now: Callable[[], dt.datetime],
    ) -> None:
        """A wrong configuration is logged, and nobody is asked."""
        try:
            self._settings = ApprovalSettings.from_config(config)
        except DefinitionError as error:
            log.error("approval.settings: %s", error)
            self._settings = ApprovalSettings()
        self._config, self._dispatch, self._log = config, dispatch, log
        self._clock, self._now = clock, now
        self._waiting: Dict[str, _Waiting] = {}
        """By uid."""
        self._environments: Dict[Tuple[str, str], str] = {}
        """Application -> digest of its variables, which a question about its Rollout shows."""
        self._lock = threading.Lock()

    def observe(self, plural: str, obj: Object, fresh: bool) -> None:
        """An object as it is now; every change counts, `fresh` or not. Does not block."""
        if not self._settings.rules or not self._is_asked_about(plural, obj):
            return
        with self._lock:
            if plural == APPLICATIONS:
                self._see_application(obj)
            else:
                self._see(plural, obj)

    def _is_asked_about(self, plural: str, obj: Object) -> bool:
        """Rules of an operator's own make the sensor watch other kinds, too."""
        if is_ours(obj):
            return plural in (ROLLOUTS, DATABASES, APPLICATIONS)
        group = str(obj.get("apiVersion") or "").partition("/")[0]
        kinds = (self._config.get("database") or {}).get("kinds") or ()
        return any((kind.get("group"), kind.get("plural")) == (group, plural) for kind in kinds)

    def due(self) -> Optional[float]:
        """When `tick` has something to do, on the monotonic clock."""
        with self._lock:
            return min(
                (one.due for one in self._waiting.values() if one.due is not None), default=None
            )

    def tick(self) -> None:
        """Dispatch what is due. Raises nothing."""
        now = self._clock()
        with self._lock:
            due = [one for one in self._waiting.values() if one.due is not None and one.due <= now]
            for one in due:
                one.tries += 1
                again = RETRY_SECONDS * 2 ** (one.tries - 1)
                one.due = now + again if one.tries < MAX_TRIES else None
        for one in due:
            try:
                self._dispatch(TRIGGER, {**one.identity._asdict(), "reason": one.reason})
            except Exception as error:  # noqa: BLE001 (any message bus: tried again)
                self._log.warning("approval.not_dispatched: %s", type(error).__name__)
                with self._lock:
                    one.tries -= 1
                    one.due = now + NOT_DISPATCHED_SECONDS

    def _see(self, plural: str, obj: Object) -> None:
        uid = str(obj["metadata"].get("uid") or "")
        question = open_question(plural, obj, self._config, self._settings)
        if question is None:
            self._waiting.pop(uid, None)
            return
        record = _record_of(question, obj)
        digest = _digest([question.what, question.content_hash, obj.get("spec"), requester(obj)])
        before = self._waiting.get(uid)
        if before is not None and before.asked_about == digest and before.record == record:
            return
        due: Optional[float] = self._clock()
        if record is None:
            reason = ASKED
        elif before is not None and before.asked_about != digest:
            reason = CHANGED
        else:
            due, reason = self._next(question.rule, record), DUE
        self._waiting[uid] = _Waiting(
            identity=identity_of(
                str(self._config.get("cluster") or ""),
                plural,
                {"apiVersion": f"{GROUP}/{VERSION}", **obj},
            ),
            asked_about=digest,
            record=record,
            due=due,
            reason=reason,
            application=_application_of(plural, obj),
        )

    def _see_application(self, obj: Object) -> None:
        key = (str(obj["metadata"].get("namespace") or ""), str(obj["metadata"]["name"]))
        digest = _digest((obj.get("spec") or {}).get("env"))
        before = self._environments.get(key)
        self._environments[key] = digest
        if before in (None, digest):
            return
        for one in self._waiting.values():
            if one.application == key:
                one.due, one.reason, one.tries = self._clock(), CHANGED, 0

    def _next(self, rule: Rule, record: Record) -> Optional[float]:
        """When a reminder or the expiry is due, whichever comes first."""
        times = [parse_time(record.expires_at)]
        reminded = parse_time(record.reminded_at or record.asked_at)
        if rule.reminder_minutes and reminded is not None:
            times.append(reminded + dt.timedelta(minutes=rule.reminder_minutes))
        known = [at for at in times if at is not None]
        if not known:
            return None
        return self._clock() + max((min(known) - self._now()).total_seconds(), 0.0)


def open_question(
    plural: str, obj: Object, config: Mapping[str, Any], settings: ApprovalSettings
) -> Optional[OpenQuestion]:
    """What somebody has to be asked about an object now, None where nothing is or it was answered.
    Pure.

    A Rollout says by its phase that it waits; whatever asks for a database, by a condition.
    """
    if plural == ROLLOUTS:
        what = pending_approval(obj, config)
        content_hash = approval_hash(obj, what) if what else ""
    else:
        conditions = untrusted.mappings(untrusted.status(obj).get("conditions"))
        what = DELETE if any(one.get("reason") == AWAITING_APPROVAL for one in conditions) else ""
        content_hash = deletion_hash(obj) if what else ""
    rule = settings.rule_for(str(obj["metadata"].get("namespace") or ""), what) if what else None
    if rule is None:
        return None
    question = OpenQuestion(what, content_hash, rule)
    record = _record_of(question, obj)
    return question if record is None or record.state == WAITING else None


def _record_of(question: OpenQuestion, obj: Object) -> Optional[Record]:
    """The object's record, if it is about this question."""
    record = read(obj)
    same = record is not None and (record.what, record.content_hash) == question[:2]
    return record if same else None


def _application_of(plural: str, obj: Object) -> Tuple[str, str]:
    name = ((obj.get("spec") or {}).get("applicationRef") or {}).get("name")
    namespace = str(obj["metadata"].get("namespace") or "")
    return (namespace, str(name)) if plural == ROLLOUTS and name else ("", "")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
