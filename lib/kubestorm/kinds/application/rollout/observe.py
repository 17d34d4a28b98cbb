"""Reads an Application's part of the cluster, its rollouts and what people requested, as the values
that decisions are made of.

Pods, ReplicaSets, Events and logs are read only for tracks that are not settled. Nothing is kept
between two reads.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from kubestorm.clients import resources
from kubestorm.clients.kube import EVENTS, KubeClient, Resource
from kubestorm.clients.kube_errors import Request as Asked
from kubestorm.core import status_requests, untrusted
from kubestorm.core.errors import Error, NotFoundError
from kubestorm.core.pod_failures import (
    Container,
    Evidence,
    PodFailure,
    diagnose,
    is_observed,
    needs_events,
    needs_log,
)
from kubestorm.core.times import parse_time
from kubestorm.core.untrusted import integer, text
from kubestorm.kinds.application.observe import active_track, digest_of
from kubestorm.kinds.application.rollout.redact import last_lines
from kubestorm.kinds.application.rollout.values import (
    PENDING,
    PUSH,
    AutoscalerView,
    Freeze,
    ObservedState,
    PastRollout,
    Promotion,
    RollbackRequest,
    RolloutRequests,
    TestView,
    TrackView,
    good_rollout,
)

Object = Dict[str, Any]


class History(NamedTuple):
    """Oldest first."""

    rollouts: Tuple[PastRollout, ...]

    @property
    def newest(self) -> Optional[PastRollout]:
        return self.rollouts[-1] if self.rollouts else None

    @property
    def active(self) -> Optional[PastRollout]:
        """The rollout under way; while there is one, only it changes Deployments and the Service's
        selector.
        """
        newest = self.newest
        return newest if newest is not None and not newest.is_over else None

    @property
    def good(self) -> Optional[PastRollout]:
        """The last one that came to all pods: what runs, or is returned to."""
        return good_rollout(self.rollouts)


def read_history(kube: KubeClient, namespace: str, app: str, uid: str = "") -> History:
    """Read an Application's rollouts. With `uid`, those of an older Application of the name do not
    count.
    """
    found = kube.list_all(resources.ROLLOUTS, namespace, label_selector=resources.selector(app))
    mine = [one for one in found if not uid or resources.application_uid(one) in ("", uid)]
    return History(tuple(sorted(map(past_rollout, mine), key=lambda past: past.number)))


LOG_LINES = 40
"""Asked of the API; fewer are shown."""
LOG_BYTES = 16384
PODS_EXPLAINED = 3
"""Pods whose Events are read: they fail alike, and a thousand of them must not cost a thousand
requests.
"""


class Observed(NamedTuple):
    """The world, and the objects it was read from."""

    state: ObservedState
    deployments: Mapping[str, Object]
    """By track."""
    service: Optional[Object]
    autoscaler: Optional[Object]


def observe(
    kube: KubeClient,
    application: Mapping[str, Any],
    *,
    autoscalers: Resource,
    wants_service: bool = False,
    test: Optional[TestView] = None,
) -> Observed:
    """Read the tracks of one Application, its Service and its autoscaler."""
    namespace, app = application["metadata"]["namespace"], application["metadata"]["name"]
    found = kube.list_all(resources.DEPLOYMENTS, namespace, label_selector=resources.selector(app))
    # Lists of built-in kinds leave out apiVersion and kind, which apply needs.
    typed = {"apiVersion": resources.DEPLOYMENTS.api_version, "kind": "Deployment"}
    deployments = {track_of(one): {**one, **typed} for one in found if track_of(one)}
    service = _get(kube, resources.SERVICES, app, namespace)
    scaler = _get(kube, autoscalers, app, namespace)
    explained = _Explainer(kube, namespace, app)
    views = {track: _view(one, explained) for track, one in deployments.items()}
    selected: Optional[Tuple[str, ...]] = None
    if service is not None or wants_service:
        selected = _selected(service)
    state = ObservedState(
        tracks=views,
        active=active_track(application, service),
        selected=selected,
        autoscaler=_autoscaler(scaler, deployments),
        test=test,
    )
    return Observed(state, deployments, service, scaler)


def failure_of(kube: KubeClient, deployment: Mapping[str, Any]) -> Optional[PodFailure]:
    """What is wrong with one Deployment's present pods, where no rollout is under way."""
    metadata = deployment["metadata"]
    app = untrusted.texts(metadata.get("labels")).get(resources.APPLICATION_LABEL, metadata["name"])
    return _Explainer(kube, metadata["namespace"], app).explain(deployment)


def track_of(obj: Mapping[str, Any]) -> str:
    """The track of a Deployment, by its selector's label; empty where it has none."""
    labels = (obj["spec"].get("selector") or {}).get("matchLabels") or {}
    return str(labels.get(resources.TRACK_LABEL) or "")


def _view(deployment: Object, explained: _Explainer) -> TrackView:
    status, spec = untrusted.status(deployment), deployment["spec"]
    view = TrackView(
        digest=digest_of(deployment),
        wanted=untrusted.integer(spec.get("replicas"), 1),
        total=untrusted.integer(status.get("replicas")),
        updated=untrusted.integer(status.get("updatedReplicas")),
        available=untrusted.integer(status.get("availableReplicas")),
        observed=is_observed(deployment),
    )
    if view.is_settled():
        return view
    return replace(view, failure=explained.explain(deployment))


def _selected(service: Optional[Mapping[str, Any]]) -> Tuple[str, ...]:
    if service is None:
        return ("",)  # none is there yet: no layout agrees, so it is made
    track = (service["spec"].get("selector") or {}).get(resources.TRACK_LABEL)
    return (str(track),) if track else ()


def _autoscaler(
    scaler: Optional[Object], deployments: Mapping[str, Object]
) -> Optional[AutoscalerView]:
    if scaler is None:
        return None
    target = (scaler["spec"].get("scaleTargetRef") or {}).get("name")
    track = next(
        (track for track, one in deployments.items() if one["metadata"]["name"] == target), ""
    )
    least, most = scaler["spec"].get("minReplicas", 1), scaler["spec"].get("maxReplicas")
    return AutoscalerView(track, int(least) if least == most else None)


class _Explainer:
    """Finds out why a Deployment's pods are not available; reads what several tracks share once."""

    def __init__(self, kube: KubeClient, namespace: str, app: str) -> None:
        self._kube, self._namespace, self._app = kube, namespace, app
        self._lists: Dict[Resource, List[Object]] = {}
        self._known: Optional[Tuple[str, ...]] = None

    def explain(self, deployment: Mapping[str, Any]) -> Optional[PodFailure]:
        evidence = Evidence(
            deployment, self._list(resources.REPLICA_SETS), self._list(resources.PODS)
        )
        pods = needs_events(evidence)[:PODS_EXPLAINED]
        if pods:
            evidence = evidence._replace(
                events=[event for pod in pods for event in self._events(pod)]
            )
        crashed = needs_log(evidence)
        if crashed is not None:
            evidence = evidence._replace(logs={crashed.pod: self._log(crashed)})
        return diagnose(evidence)

    def _list(self, resource: Resource) -> List[Object]:
        if resource not in self._lists:
            found = self._kube.list_all(
                resource, self._namespace, label_selector=resources.selector(self._app)
            )
            self._lists[resource] = list(found)
        return self._lists[resource]

    def _events(self, pod: Mapping[str, Any]) -> Sequence[Object]:
        fields = f"involvedObject.uid={pod['metadata']['uid']}"
        try:
            return list(
                self._kube.list_page(EVENTS, self._namespace, field_selector=fields).get("items")
                or ()
            )
        except Error:
            return ()  # what they would add is a better sentence; the failure is seen without them

    def _log(self, crashed: Container) -> str:
        if self._known is None:
            self._known = tuple(
                secret_values(self._kube, self._namespace, self._list(resources.PODS))
            )
        for previous in (crashed.previous, False) if crashed.previous else (False,):
            try:
                text = read_log(
                    self._kube,
                    self._namespace,
                    crashed.pod,
                    container=crashed.container,
                    previous=previous,
                )
            except Error:
                continue  # the container is gone, or its node does not answer
            lines = last_lines(text, self._known)
            if lines:
                return lines
        return ""


def read_log(
    kube: KubeClient,
    namespace: str,
    pod: str,
    *,
    container: str = "",
    previous: bool = False,
    lines: int = LOG_LINES,
) -> str:
    """The end of a container's log, as it is: redact it before it is shown."""
    query = {
        "container": container or None,
        "tailLines": lines,
        "limitBytes": LOG_BYTES,
        "previous": "true" if previous else None,
    }
    asked = Asked("get", "", "pods/log", namespace, pod)
    return kube.read_text(resources.PODS.path(namespace, pod, "log"), asked, query=query)


def secret_values(
    kube: KubeClient, namespace: str, pods: Iterable[Mapping[str, Any]]
) -> Iterable[str]:
    """The values of the Secrets that these pods read, so that they can be taken out of their logs.
    Never shown.
    """
    wanted = sorted({name for pod in pods for name in _secret_names(pod)} - {""})
    for name in wanted:
        try:
            data = kube.get(resources.SECRETS, name, namespace).get("data") or {}
        except Error:
            continue  # may not be read: what looks like a secret is hidden anyway
        for value in data.values():
            try:
                text = base64.b64decode(value).decode()
            except (binascii.Error, UnicodeDecodeError, TypeError):
                continue
            yield text
            yield text.strip()


def _secret_names(pod: Mapping[str, Any]) -> Iterable[str]:
    spec = pod["spec"]
    for container in spec.get("containers") or ():
        for source in container.get("envFrom") or ():
            yield (source.get("secretRef") or {}).get("name") or ""
        for variable in container.get("env") or ():
            yield ((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name") or ""
    for volume in spec.get("volumes") or ():
        yield (volume.get("secret") or {}).get("secretName") or ""


def _get(kube: KubeClient, resource: Resource, name: str, namespace: str) -> Optional[Object]:
    try:
        return kube.get(resource, name, namespace)
    except NotFoundError:
        return None


def read_requests(
    application: Mapping[str, Any],
    rollout: Mapping[str, Any],
    *,
    superseded_by: str = "",
    latest: bool = True,
) -> RolloutRequests:
    """What is requested of one rollout now."""
    abort, promote = (
        status_requests.read(rollout, status_requests.ABORT),
        status_requests.read(rollout, status_requests.PROMOTE),
    )
    return RolloutRequests(
        abort=status_requests.by(abort) if abort is not None else "",
        promote=_promotion(promote) if promote is not None else None,
        freeze=read_freeze(application),
        superseded_by=superseded_by,
        latest=latest,
    )


def read_freeze(application: Mapping[str, Any]) -> Optional[Freeze]:
    """Who holds new rollouts, and why."""
    said = status_requests.read(application, status_requests.FREEZE)
    if said is None:
        return None
    return Freeze(
        text(said.get("owner"), status_requests.by(said)),
        text(said.get("reason"), "no reason reported"),
    )


def read_rollback_request(application: Mapping[str, Any]) -> Optional[RollbackRequest]:
    """The rollback that a person requested."""
    said = status_requests.read(application, status_requests.ROLLBACK_TO)
    if said is None:
        return None
    to = text(said.get("to")).strip() or resources.PREVIOUS_WORD
    return RollbackRequest(to, status_requests.by(said), text(said.get("id")))


def _promotion(said: Mapping[str, Any]) -> Promotion:
    # Without a stage it is about wherever the rollout stands.
    return Promotion(
        status_requests.by(said), integer(said.get("stage"), -1), bool(said.get("full"))
    )


def past_rollout(rollout: Mapping[str, Any]) -> PastRollout:
    """One line of an Application's history."""
    metadata, spec, status = rollout["metadata"], rollout["spec"], untrusted.status(rollout)
    return PastRollout(
        name=metadata["name"],
        number=untrusted.integer(spec.get("number")),
        digest=spec["image"]["digest"],
        tag=spec["image"].get("tag") or "",
        phase=untrusted.text(status.get("phase"), PENDING),
        reason=untrusted.text(status.get("reason")),
        message=untrusted.text(status.get("message")),
        cause=spec.get("cause") or PUSH,
        desired_id=spec.get("wish") or "",
        request=untrusted.text(spec.get("request")),
        requested_by=spec.get("requestedBy") or "",
        created_at=parse_time(metadata.get("creationTimestamp")),
        finished_at=parse_time(status.get("finishedAt")),
    )
