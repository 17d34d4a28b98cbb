"""The pack under an account that may do what `kubestorm-rbac` grants and no more, and what of that
it uses.

On the sandbox's API the authorizer tells each of its decisions, so a test can say both that nothing
was refused and that nothing was granted in vain; a real API server refuses, and tells nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml
from kubestorm.clients import kube_errors
from kubestorm.clients.kube import KubeSettings, connect
from kubestorm.entrypoints.rbac import Account, Granted, Wish, grant
from kubestorm.entrypoints.sensors.observers import observers
from kubestorm.kinds.build.settings import BuildSettings
from kubestorm.sources.watching.settings import WatchSettings
from kubestorm.sources.watching.watch_manager import WatchManager

from sandbox.kubernetes.auth import User
from sandbox.kubernetes.rbac import Attributes
from tests.kube_fixtures import Kube, eventually
from tests.kube_shapes import apply_patch

ROOT = Path(__file__).resolve().parents[1]
RULES = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "rules").glob("*.yaml"))]
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ResourceQuota": "/api/v1/namespaces/{}/resourcequotas",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
}


class Right(NamedTuple):
    """One verb on one resource, as RBAC counts."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{'.' + self.group if self.group else ''}"


UNPLAYED = {
    Right("kubestorm.io", "applications/finalizers", "update"): (
        "asked only by the admission plugin OwnerReferencesPermissionEnforcement, which the "
        "sandbox has not"
    ),
}
"""What is granted for a case that no test plays -> why it is needed all the same."""


def rights_of(rules: Iterable[Mapping[str, Any]]) -> set[Right]:
    """What rules allow, each right by itself."""
    return {
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


class Restricted:
    """The account, what it was granted, and what it asked for (on the sandbox's API)."""

    def __init__(self, kube: Kube, granted: Granted, account: Account) -> None:
        self.kube, self.granted = kube, granted
        self.used: set[Right] = set()
        self.refused: set[str] = set()
        self._user = f"system:serviceaccount:{account.namespace}:{account.name}"

    @property
    def rights(self) -> set[Right]:
        """All that was granted."""
        roles = [one for one in self.granted.manifests if one["kind"] == "ClusterRole"]
        return rights_of(rule for role in roles for rule in role["rules"])

    def hear(self, user: User, asked: Attributes, allowed: bool) -> None:
        """One decision of the authorizer."""
        if user.name != self._user or asked.path:
            return
        kind = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        right = Right(asked.group, kind, asked.verb)
        if allowed:
            self.used.add(right)
        else:
            self.refused.add(f"{right} {asked.name} in {asked.namespace or 'the cluster'}")

    def check(self) -> None:
        """Nothing was refused, and each right that was granted was needed."""
        assert not self.refused, f"not granted: {'; '.join(sorted(self.refused))}"
        if not self.kube.is_real:
            vain = sorted(map(str, self.rights - self.used - set(UNPLAYED)))
            assert vain == [], f"granted, and no journey used it: {', '.join(vain)}"


@contextlib.contextmanager
def restricted(
    kube: Kube,
    http: httpx.Client,
    config: dict[str, Any],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    wish: Wish | None = None,
) -> Iterator[Restricted]:
    """What `kubestorm-rbac` prints for the configuration is applied, and the configuration's
    kubeconfig becomes that of the account.
    """
    own = KubeSettings.from_config(config).namespace
    account = Account(own, "kubestorm")
    granted = grant(config, (wish or Wish())._replace(account=account))
    install(http, granted)
    token = http.post(
        f"/api/v1/namespaces/{own}/serviceaccounts/kubestorm/token",
        json={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
    )
    document = yaml.safe_load(kube.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token.raise_for_status().json()["status"]["token"]}
    path = folder / "restricted-kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(document))
    config["kubernetes"]["kubeconfig"] = str(path)
    found = Restricted(kube, granted, account)

    class Heard(kube_errors.ForbiddenError):
        """What a real API server refuses is heard where the pack reads its answer."""

        def __init__(self, message: str, *, request: kube_errors.Request) -> None:
            super().__init__(message, request=request)
            found.refused.add(message)

    monkeypatch.setattr(kube_errors, "ForbiddenError", Heard)
    if kube.authorizer is not None:
        kube.authorizer.told = found.hear
    try:
        yield found
    finally:
        if kube.authorizer is not None:
            kube.authorizer.told = lambda *_: None


def install(http: httpx.Client, granted: Granted) -> None:
    """As `kubectl apply` does."""
    for manifest in granted.manifests:
        path = PATHS[manifest["kind"]].format(manifest["metadata"].get("namespace"))
        name = manifest["metadata"]["name"]
        answer = apply_patch(http, f"{path}/{name}", manifest, "operator", force="true")
        assert answer.is_success, answer.text


@contextlib.contextmanager
def sensing(config: Mapping[str, Any], told: Callable[..., object]) -> Iterator[list[str]]:
    """The watches that the pack's rules ask for, with who is told of every object, as the sensor
    has them. `told` is called with what is dispatched. Gives the lines of the log.
    """
    lines: list[str] = []
    log = logging.Logger("sensor")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    values: dict[str, str] = {}

    class Store:
        """The datastore."""

        get_value = staticmethod(values.get)
        set_value = staticmethod(values.__setitem__)
        delete_value = staticmethod(lambda name: values.pop(name, None))

    client = connect(KubeSettings.from_config(config))
    hub = WatchManager(Store(), told, log=log)
    for rule in RULES:
        if rule["trigger"]["type"] == "kubestorm.resource_event":
            hub.add({**rule["trigger"], "ref": rule["name"]})
    hub.start(
        WatchSettings.from_config(
            config, build_namespace=BuildSettings.from_config(config).job_namespace
        ),
        client,
        observers=observers(config, client, told, log),
    )
    try:
        watches = len(hub.watches()) + len(hub._owned)
        eventually(
            lambda: len([one for one in lines if one.startswith("watch.listed")]) >= watches,
            f"{watches} watches have listed: {lines}",
        )
        yield lines
    finally:
        hub.stop()
        client.close()
