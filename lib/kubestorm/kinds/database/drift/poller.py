"""Check for drift at intervals: each distinct finding is reported once, and again after it changed,
or went and came back.

The datastore keeps fingerprints of what was reported, per Database and service, so that a service
that does not answer for a while neither repeats nor loses anything. They are written after the
dispatch: after a crash in between, a finding is reported twice rather than never.
"""

from __future__ import annotations

import json
import logging
from typing import Callable, Dict, List, Mapping, Sequence

from kubestorm.clients.services import Services
from kubestorm.core.dispatching import Dispatch
from kubestorm.core.errors import Error
from kubestorm.kinds.database.drift.observe import inspect
from kubestorm.kinds.database.drift.report import KIND_MARK, ORPHAN_MARK, digests, key_of, payload
from kubestorm.kinds.database.drift.values import Finding, Place, Report
from kubestorm.sources.datastore import Store

TRIGGER = "kubestorm.drift_detected"

Announce = Callable[[Services, Sequence[Finding], Dispatch], None]
"""Notify people of new findings."""
Told = Dict[str, Dict[str, str]]
"""Database or orphan -> service -> fingerprint of what was reported."""


class DriftPoller:
    """What the sensor runs at each interval. Raises nothing: the next check tries again."""

    def __init__(
        self,
        store: Store,
        dispatch: Dispatch,
        log: logging.Logger,
        cluster: str,
        announce: Announce,
    ) -> None:
        self._store, self._dispatch, self._log, self._cluster = store, dispatch, log, cluster
        self._announce = announce
        self._unknown: Mapping[str, str] = {}

    def poll(self, services: Services) -> None:
        """Check once, dispatch what is new, remember it."""
        try:
            report = inspect(services)
        except Error as error:
            self._say_unknown({"Kubernetes": str(error)})
            return
        self._say_unknown(report.unknown)
        try:
            self._tell(report, services)
        except Exception as error:  # noqa: BLE001 (any message bus, any datastore: the next check repeats it)
            self._log.warning(
                "drift.not_reported: %s; the next check reports it", type(error).__name__
            )

    def _tell(self, report: Report, services: Services) -> None:
        told = self._load()
        now = remaining(told, report)
        new: List[Finding] = []
        for finding in report.findings:
            key, found = key_of(finding), digests(finding)
            if found.items() - told.get(key, {}).items():
                self._dispatch(TRIGGER, payload(finding, self._cluster))
                self._log.info("drift.detected: %s in %s", finding.place, ", ".join(sorted(found)))
                new.append(finding)
            now.setdefault(key, {}).update(found)
        try:
            self._announce(services, new, self._dispatch)
        except Error as error:  # a wrong section of the configuration: rules have been told
            self._log.warning("drift.not_announced: %s", error)
        if now != told:
            self._store.set_value(
                self._name, json.dumps(now, sort_keys=True, separators=(",", ":"))
            )

    def _load(self) -> Told:
        try:
            found = json.loads(self._store.get_value(self._name) or "{}")
        except ValueError:
            return {}
        return {key: dict(value) for key, value in found.items() if isinstance(value, dict)}

    @property
    def _name(self) -> str:
        return f"drift.{self._cluster}"

    def _say_unknown(self, unknown: Mapping[str, str]) -> None:
        for service, message in unknown.items():
            if service not in self._unknown:
                self._log.warning("drift.unknown: %s", message)
        for service in self._unknown:
            if service not in unknown:
                self._log.info("drift.recovered: %s", service)
        self._unknown = dict(unknown)


def remaining(told: Told, report: Report) -> Told:
    """What stays remembered: what this report does not cover. The rest is reported again when it
    comes back.
    """
    kept: Told = {}
    for key, services in told.items():
        orphan = key.startswith(ORPHAN_MARK)
        where = key[len(ORPHAN_MARK) if orphan else 0 :].partition(KIND_MARK)[0]
        namespace, _, name = where.rpartition("/")
        place = Place(namespace, name)
        left = {
            service: digest
            for service, digest in services.items()
            if not report.is_judged(place, service, orphan=orphan)
        }
        if left:
            kept[key] = left
    return kept
