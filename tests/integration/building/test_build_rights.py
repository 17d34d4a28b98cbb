"""The journeys of ImageBuilds under an account that has what `kubestorm-rbac` prints for them."""

from __future__ import annotations

import datetime as dt
import json

from kubestorm.clients.lease import collect
from kubestorm.entrypoints.rbac import Wish
from kubestorm.kinds.build import commands
from kubestorm.kinds.build.base_images.rebuild_check import check
from kubestorm.kinds.build.branch_tracking import note_push
from kubestorm.kinds.build.descriptor.act import apply
from kubestorm.kinds.build.pull_secret import ensure_pull_secret
from kubestorm.people.chat.why import why
from kubestorm.people.notifications.delivery import channel_for
from kubestorm.people.notifications.settings import AnnounceSettings

from sandbox.vault.server import VaultServer
from tests.integration.building.conftest import USER, World, install_crd, store
from tests.integration.building.test_build_in_cluster import (
    BUILDS,
    DIGEST,
    begin,
    cluster,
    finish,
    jobs,
)
from tests.rights import restricted, sensing

__all__ = ["cluster"]
DESCRIPTOR = {
    "application": {"name": "web", "type": "tiny"},
    "services": [{"name": "web", "instances": {"min": 1, "max": 1}}],
    "build_command": "true",
    "artifacts": ["made.txt"],
}


def test_builds_need_what_their_part_grants_and_no_more(
    cluster: World,
    kube,
    vault: VaultServer,
    tmp_path,
    monkeypatch,
) -> None:
    """A build in the cluster and one that fails, a descriptor, a pull secret, and the end."""
    install_crd(cluster.http, "applications")
    types = {"tiny": {"base_image": "registry.test:5000/base/tiny:1"}}
    cluster.config.update(
        parts=["builds", "announcements"],
        descriptor={"types": types},
        chat={"ask": "#platform"},
    )
    cluster.config["kubernetes"]["namespaces"] = [cluster.namespace]
    (registry, *_) = cluster.config["registries"]["hosts"]
    registry["access"][0]["pull_vault_path"] = "registries/main-pull"
    wish = Wish(extra=["pull-secrets"])
    told: list[object] = []
    with (
        restricted(kube, cluster.http, cluster.config, tmp_path, monkeypatch, wish) as account,
        sensing(cluster.config, lambda *event: told.append(event)),
    ):
        services = cluster.services()
        cluster.apply()
        begin(cluster)
        (job,) = jobs(cluster)
        assert job["metadata"]["namespace"] == BUILDS
        cluster.reconcile()
        finish(cluster, job, kind="Complete", said=DIGEST)
        cluster.reconcile()
        assert cluster.condition("Ready")[0] == "True"
        check(services, None)
        assert why(services, cluster.namespace, "shop", "imagebuilds")["message"]
        channel_for(services, cluster.namespace, AnnounceSettings.from_config(cluster.config))

        commit = cluster.repository.commit(
            {"default.json": json.dumps({"namespace": cluster.namespace, **DESCRIPTOR})}
        )
        apply(services, cluster.namespace, cluster.repository.url, branch="main")
        note_push(services, [cluster.repository.url], "main", commit)

        for password in ("first", "second"):
            store(vault, "registries/main-pull", {"username": USER, "password": password})
            ensure_pull_secret(services, cluster.namespace, service_account="default")

        collect(services.kube, services.now() + dt.timedelta(days=2))
        commands.start(services, cluster.namespace, "shop")
        begin(cluster)
        failing = next(
            one for one in jobs(cluster) if one["metadata"]["name"] != job["metadata"]["name"]
        )
        finish(cluster, failing, kind="Failed", reason="BackoffLimitExceeded", said="", code=1)
        cluster.reconcile()

        cluster.http.delete(
            f"/apis/kubestorm.io/v1alpha1/namespaces/{cluster.namespace}/imagebuilds/shop"
        )
        cluster.reconcile()
        assert not cluster.exists()
    account.check()
