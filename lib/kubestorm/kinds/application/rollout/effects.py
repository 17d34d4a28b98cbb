"""Carries decisions out: each effect is an ensure by the Kubernetes API, safe to repeat.

What is applied is rendered from the Application, so that a rollout changes an image and a number
and nothing else of what the Application says. Only Deployments that belong to the Application are
touched.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, Mapping, Optional, Tuple

from kubestorm.clients import resources
from kubestorm.clients.kube import KubeClient
from kubestorm.core.errors import NotFoundError, PermanentError
from kubestorm.kinds.application import apply, render
from kubestorm.kinds.application.rollout.model import (
    CANARY_TRACK,
    Activate,
    ApplyTrack,
    Autoscale,
    Effect,
    RemoveTrack,
    Select,
)
from kubestorm.kinds.application.rollout.observe import Observed
from kubestorm.kinds.application.values import ApplicationSpec
from kubestorm.kinds.application.versions import ApiVersions

Object = Dict[str, Any]


class Hands:
    """What a rollout changes with: one Application, its rendered objects, one API."""

    def __init__(
        self,
        kube: KubeClient,
        application: Mapping[str, Any],
        spec: ApplicationSpec,
        api: ApiVersions,
        *,
        config_hash: str,
        tags: Mapping[str, str],
    ) -> None:
        """`tags` names digests, for people who read annotations."""
        self._kube, self._application, self._spec, self._api = kube, application, spec, api
        self._config_hash, self._tags = config_hash, tags
        self._namespace = application["metadata"]["namespace"]

    def do(self, effects: Iterable[Effect], observed: Observed) -> None:
        """Carry effects out, in their order. Tests are run by the caller."""
        active = observed.world.active
        for effect in effects:
            if isinstance(effect, ApplyTrack):
                self._apply(effect, observed.deployments.get(effect.track))
            elif isinstance(effect, RemoveTrack):
                self._remove(effect.track)
            elif isinstance(effect, Select):
                self._select(effect.tracks or (active, CANARY_TRACK))
            elif isinstance(effect, Activate):
                active = effect.track
                self._activate(effect.track)
            elif isinstance(effect, Autoscale):
                self._autoscale(effect)

    def _apply(self, effect: ApplyTrack, live: Optional[Mapping[str, Any]]) -> None:
        wanted = effect.replicas
        if live is not None and (effect.by_scale or wanted is None):
            wanted = None
            apply.hand_over_replicas(self._kube, dict(live))
        manifest = render.deployment(
            self._spec,
            track=effect.track,
            image=f"{self._spec.image}@{effect.digest}",
            replicas=wanted,
            config_hash=self._config_hash,
            image_tag=self._tags.get(effect.digest, ""),
        )
        # Fields that others have set stay theirs; what a rollout is about, images and selectors, is
        # ours alone.
        outcome = apply.ensure(
            self._kube, manifest, uid=self._spec.uid, live=dict(live) if live is not None else None
        )
        written = outcome.live or manifest
        if effect.replicas is not None and written["spec"].get("replicas") != effect.replicas:
            self._scale(manifest["metadata"]["name"], effect.replicas)

    def _scale(self, name: str, replicas: int) -> None:
        body = {"spec": {"replicas": replicas}}
        self._kube.patch(resources.DEPLOYMENTS, name, body, self._namespace, subresource="scale")

    def _remove(self, track: str) -> None:
        name = render.deployment_name(self._spec.name, track)
        try:
            live = self._kube.get(resources.DEPLOYMENTS, name, self._namespace)
            self._check_owner(live)
            self._kube.delete(
                resources.DEPLOYMENTS, name, self._namespace, uid=live["metadata"]["uid"]
            )
        except NotFoundError:
            return

    def _select(self, tracks: Tuple[str, ...]) -> None:
        if self._spec.port is None:
            return
        apply.ensure(self._kube, render.service(self._spec, tracks=tracks), uid=self._spec.uid)

    def _activate(self, track: str) -> None:
        """Where there is a Service, selecting one track has told it already."""
        body = {"metadata": {"annotations": {resources.ACTIVE_TRACK: track}}}
        name = self._spec.name
        resource = resources.APPLICATIONS if self._spec.port is None else resources.SERVICES
        self._kube.patch(resource, name, body, self._namespace)

    def _autoscale(self, effect: Autoscale) -> None:
        target = render.deployment_name(self._spec.name, effect.track)
        manifest = render.autoscaler(self._spec, target, self._api)
        if manifest is None:
            return
        if effect.held is not None:
            manifest["spec"].update(minReplicas=effect.held, maxReplicas=effect.held)
        apply.ensure(self._kube, manifest, uid=self._spec.uid)

    def _check_owner(self, live: Optional[Mapping[str, Any]]) -> None:
        if live is None:
            return
        uid = self._application["metadata"]["uid"]
        owners = live["metadata"].get("ownerReferences") or ()
        if not any(owner.get("uid") == uid for owner in owners):
            name = live["metadata"]["name"]
            raise PermanentError(
                f"Deployment {name} exists and does not belong to this Application; rename the "
                "Application, or remove "
                f"the Deployment.",
                service="Kubernetes",
            )
