"""An Application's rollouts: which goes on, which image is the good one, and which was before."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from kubestorm.clients import resources
from kubestorm.clients.kube import KubeClient
from kubestorm.kinds.application.rollout.intents import format_moment
from kubestorm.kinds.application.rollout.objects import past_of
from kubestorm.kinds.application.rollout.planning import Past, good_of

Object = Dict[str, Any]


class History(NamedTuple):
    """Oldest first."""

    pasts: Tuple[Past, ...]

    @property
    def newest(self) -> Optional[Past]:
        return self.pasts[-1] if self.pasts else None

    @property
    def active(self) -> Optional[Past]:
        """The rollout that goes on; while there is one, Deployments and the Service's selector are
        its alone.
        """
        newest = self.newest
        return newest if newest is not None and not newest.is_over else None

    @property
    def good(self) -> Optional[Past]:
        """The last one that came to all pods: what runs, or is returned to."""
        return good_of(self.pasts)


def look(kube: KubeClient, namespace: str, app: str, uid: str = "") -> History:
    """Read an Application's rollouts. With `uid`, those of an older Application of the name do not
    count.
    """
    found = kube.list_all(resources.ROLLOUTS, namespace, label_selector=resources.selector(app))
    mine = [one for one in found if not uid or resources.application_uid(one) in ("", uid)]
    return History(tuple(sorted(map(past_of, mine), key=lambda past: past.number)))


def table(history: History) -> List[Object]:
    """The history as a person reads it, newest first: what, who, when, outcome, why."""
    good = history.good
    return [
        {
            "name": past.name,
            "tag": past.tag,
            "digest": past.digest,
            "cause": past.cause,
            "requested_by": past.requested_by,
            "at": format_moment(past.created_at),
            "finished_at": format_moment(past.finished_at),
            "outcome": past.phase,
            "reason": past.reason,
            "why": past.message,
            "good": past is good,
        }
        for past in reversed(history.pasts)
    ]
