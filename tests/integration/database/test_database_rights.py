"""The journey of a Database under an account that has what `kubestorm-rbac` prints for it."""

from __future__ import annotations

import datetime as dt

from kubestorm.clients.lease import collect
from kubestorm.entrypoints.rbac import Wish
from kubestorm.kinds.database import commands
from kubestorm.people.chat.why import why

from tests.kube_fixtures import eventually
from tests.rights import restricted, sensing

PARTS = {"parts": ["databases", "announcements"], "chat": {"ask": "#platform"}}


def test_a_database_needs_what_its_part_grants_and_no_more(
    world, act, kube, tmp_path, monkeypatch
) -> None:
    """Created by an action, resized, shown, explained and destroyed, while the sensor watches; all
    of it in one namespace.
    """
    world.config.update(PARTS, announcements={"channel": "#databases"})
    world.config["kubernetes"]["namespaces"] = [world.namespace]
    wish = Wish(extra=["database-requests"])
    told = []
    with (
        restricted(kube, world.http, world.config, tmp_path, monkeypatch, wish) as account,
        sensing(world.config, lambda *event: told.append(event)),
    ):
        assert act("database_create", engine="postgres", size="small")[0]
        world.until_ready()
        assert act("database_resize", size="medium")[0]
        world.until_ready()
        services = world.services()
        commands.list_databases(services, "")
        commands.show_database(services, world.namespace, "orders")
        assert why(services, world.namespace, "orders")["message"]
        eventually(lambda: any(one[0] == "kubestorm.news" for one in told), "news is told")
        world.apply(size="medium", deletionPolicy="Delete")
        world.until_ready()
        world.annotate(**{"kubestorm.io/confirm-delete": "orders"})
        assert act("database_delete", confirm="orders")[0]
        world.until_gone()
        collect(services.kube, services.now() + dt.timedelta(days=2))
    account.check()
