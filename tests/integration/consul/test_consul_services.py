"""Services, checks, catalog, events and access control, through the unchanged py-consul."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import consul
import httpx
import pytest

from sandbox.clock import ManualClock
from sandbox.consul import ConsulServer


def test_a_service_is_healthy_while_its_ttl_check_is_renewed(
    client: consul.Consul, clock: ManualClock
) -> None:
    """It is critical at first, passing once reported, and critical again after the TTL."""
    client.agent.service.register(
        "web", service_id="web-1", port=80, tags=["v1"], check=consul.Check.ttl("10s")
    )
    assert client.health.service("web", passing=True)[1] == []
    client.agent.check.ttl_pass("service:web-1")
    found = client.health.service("web", passing=True, tag="v1")[1]
    assert [entry["Service"]["ID"] for entry in found] == ["web-1"]
    assert {check["CheckID"] for check in found[0]["Checks"]} == {"serfHealth", "service:web-1"}
    clock.advance(10)
    assert client.health.service("web", passing=True)[1] == []
    assert client.health.state("critical")[1][0]["Output"] == "TTL expired"


def test_a_service_is_found_in_agent_and_catalog_until_deregistered(client: consul.Consul) -> None:
    """Both show it with address, port, tags and meta."""
    client.agent.service.register(
        "db", service_id="db-1", address="10.0.0.1", port=5432, tags=["b", "a"], meta={"k": "v"}
    )
    entry = client.catalog.service("db")[1][0]
    assert (entry["ServiceAddress"], entry["ServicePort"], entry["ServiceMeta"]) == (
        "10.0.0.1",
        5432,
        {"k": "v"},
    )
    assert client.catalog.services()[1] == {"consul": [], "db": ["a", "b"]}
    assert client.agent.services()["db-1"]["Service"] == "db"
    client.agent.service.deregister("db-1")
    assert client.catalog.service("db")[1] == []


def test_nodes_from_outside_are_registered_and_go_with_their_services(
    client: consul.Consul, raw: Callable[..., httpx.Response]
) -> None:
    """catalog/register and deregister handle a node that has no agent."""
    node = {"Node": "rds", "Address": "10.0.0.9", "NodeMeta": {"kind": "external"}}
    raw("PUT", "catalog/register", json={**node, "Service": {"Service": "db", "Port": 5432}})
    assert [node["Node"] for node in client.catalog.nodes(node_meta={"kind": "external"})[1]] == [
        "rds"
    ]
    assert client.catalog.node("rds")[1]["Services"]["db"]["Port"] == 5432
    client.catalog.deregister("rds")
    assert client.catalog.service("db")[1] == []


def test_events_are_fired_and_listed_by_name(client: consul.Consul) -> None:
    """An event keeps its payload."""
    client.event.fire("deploy", b"v2")
    client.event.fire("other")
    assert [event["Payload"] for event in client.event.list("deploy")[1]] == [b"v2"]


# -- access control


@pytest.fixture
def guarded(clock: ManualClock) -> Iterator[ConsulServer]:
    with ConsulServer(clock=clock, default_policy="deny", management_token="management") as running:
        yield running


RULES = """
key_prefix "kubestorm/" { policy = "write" }
key_prefix "kubestorm/locked/" { policy = "read" }
key "kubestorm/locked/but-this" { policy = "write" }
key_prefix "kubestorm/hidden/" { policy = "deny" }
service_prefix "app-" { policy = "write" }
session_prefix "" { policy = "write" }
"""


@pytest.mark.parametrize(
    "key, readable, writable",
    [
        ("kubestorm/a", True, True),
        ("kubestorm/locked/a", True, False),
        ("kubestorm/locked/but-this", True, True),
        ("kubestorm/hidden/a", False, False),
        ("other", False, False),
    ],
)
def test_the_narrowest_rule_decides(
    guarded: ConsulServer,
    connect: Callable[..., consul.Consul],
    key: str,
    readable: bool,
    writable: bool,
) -> None:
    """An exact rule beats prefixes, a longer prefix a shorter one, and the default the rest."""
    narrow = connect(guarded.add_token(RULES), guarded.port)
    connect("management", guarded.port).kv.put(key, "1")
    if readable:
        assert narrow.kv.get(key)[1]["Value"] == b"1"
    else:
        with pytest.raises(
            consul.ACLPermissionDenied, match=f"lacks permission 'key:read' on \"{key}\""
        ):
            narrow.kv.get(key)
    if writable:
        assert narrow.kv.put(key, "2") is True
    else:
        with pytest.raises(
            consul.ACLPermissionDenied, match=f"lacks permission 'key:write' on \"{key}\""
        ):
            narrow.kv.put(key, "2")


def test_lists_show_what_may_be_read(
    guarded: ConsulServer, connect: Callable[..., consul.Consul]
) -> None:
    """A recursive read leaves out what is denied, and a recursive deletion over it is refused
    whole.
    """
    management = connect("management", guarded.port)
    for key in ("kubestorm/a", "kubestorm/hidden/b"):
        management.kv.put(key, "1")
    narrow = connect(guarded.add_token(RULES), guarded.port)
    assert narrow.kv.get("kubestorm/", keys=True)[1] == ["kubestorm/a"]
    with pytest.raises(consul.ACLPermissionDenied):
        narrow.kv.delete("kubestorm/", recurse=True)


@pytest.mark.parametrize(
    "token, message",
    [
        (None, "Permission denied: anonymous token lacks permission 'key:read'"),
        ("unknown", "ACL not found"),
    ],
    ids=["none", "unknown"],
)
def test_without_a_known_token_all_is_denied(
    guarded: ConsulServer, connect: Callable[..., consul.Consul], token: str | None, message: str
) -> None:
    """Consul's two sentences for no token and for one that it does not know."""
    with pytest.raises(consul.ACLPermissionDenied, match=message):
        connect(token, guarded.port).kv.get("a")


def test_policies_and_tokens_are_made_through_the_api(
    guarded: ConsulServer, connect: Callable[..., consul.Consul]
) -> None:
    """The management token makes a policy and a token, which sees itself and works until it is
    deleted.
    """
    management = connect("management", guarded.port)
    management.acl.policy.create(
        name="app", rules={"key_prefix": {"kubestorm/": {"policy": "write"}}}
    )
    made = management.acl.token.create(policies_name=["app"])
    narrow = connect(made["SecretID"], guarded.port)
    assert narrow.acl.token.read_self()["AccessorID"] == made["AccessorID"]
    assert narrow.kv.put("kubestorm/a", "1") is True
    with pytest.raises(consul.ACLPermissionDenied):
        narrow.acl.policy.list()
    management.acl.token.delete(made["AccessorID"])
    with pytest.raises(consul.ACLPermissionDenied, match="ACL not found"):
        narrow.kv.get("kubestorm/a")


def test_without_access_control_the_acl_api_says_so(client: consul.Consul) -> None:
    """401 is what py-consul shows as ACLDisabled."""
    with pytest.raises(consul.ACLDisabled, match="ACL support disabled"):
        client.acl.token.list()
