"""Notifications about drift: one message for each finding that is new or has changed."""

from __future__ import annotations

import datetime as dt
from typing import Sequence

from kubestorm.clients.services import Services
from kubestorm.core.dispatching import Dispatch
from kubestorm.kinds.database.drift.report import key_of, sentence
from kubestorm.kinds.database.drift.values import Finding
from kubestorm.people.notifications.delivery import dispatch_news
from kubestorm.people.notifications.notifications import WARNING, News
from kubestorm.people.notifications.settings import DRIFT


def announce(services: Services, findings: Sequence[Finding], dispatch: Dispatch) -> None:
    """Dispatch `kubestorm.news` for these findings, to the channels of their namespaces."""
    now = services.now()
    dispatch_news(services, DRIFT, [notification(one, now) for one in findings], dispatch)


def notification(finding: Finding, now: dt.datetime) -> News:
    """The message for the channel of its namespace. A finding that went and came back is a new one:
    `since` differs.
    """
    text = sentence(finding)
    return News(
        subject=f"drift/{key_of(finding)}",
        state=text,
        topic="databases with drift",
        tone=WARNING,
        namespace=finding.place.namespace,
        name=finding.place.name,
        sentence=text,
        since=now,
    )
