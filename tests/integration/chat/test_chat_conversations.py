"""Conversations as a bot passes them on by the API: match, execute, announcements; people, places,
bad input.
"""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.building.git_servers import Repository
from tests.integration.chat.conftest import ChatWorld, answer_of, eventually
from tests.integration.engine.serving import login

CART: dict[str, Any] = {
    "apiVersion": "kubestorm.io/v1alpha1",
    "kind": "Application",
    "metadata": {"name": "cart", "namespace": "shop-prod"},
    "spec": {
        "image": {"repository": "shop/cart"},
        "follow": {"tag": "1.4.1"},
        "port": 8080,
        "health": {"http": {"path": "/healthz"}},
        "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi"},
            "limits": {"cpu": "200m", "memory": "128Mi"},
        },
    },
}


def _ready(resource: dict[str, Any] | None) -> bool:
    conditions = ((resource or {}).get("status") or {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def test_a_day_by_the_api(world: ChatWorld) -> None:
    """From help to the end of a database, by one who may; each answer begins with a sentence."""
    say = world.say
    assert say("kubestorm help").startswith("What you may ask for, ana:")
    assert say("create database day-orders postgres 16 size small in prod") == (
        "Database shop-prod/day-orders is ready.\n"
        "Address: "
        + world.environment.rds().describe_db_instances()["DBInstances"][-1]["Endpoint"]["Address"]
    )
    assert "day-orders" in say("list databases in prod")
    shown = say("show database day-orders")
    assert shown.startswith(
        "Database shop-prod/day-orders is ready.\nEngine: postgres 16\nSize: small"
    )
    assert say("why is day-orders not ready").startswith(
        "Database shop-prod/day-orders is ready; nothing is wrong"
    )
    assert say("rotate the password of day-orders").startswith("New credentials requested")
    assert "requested" in say("snapshot database day-orders as before-sale")
    assert "checked" in say("drift in prod")
    assert say("delete database day-orders in prod").startswith("day-orders is being deleted")


def test_a_day_of_an_application(world: ChatWorld) -> None:
    """Deployed, deployed again, looked at, rolled back, frozen, scaled: by a deployer of these
    namespaces, in words.
    """
    environment = world.environment
    for tag in ("1.4.1", "1.4.2"):
        environment.push_image("shop/cart", tag)
    environment.apply(CART)
    eventually(
        lambda: _ready(
            environment.read("kubestorm.io/v1alpha1", "Application", "cart", "shop-prod")
        )
    )

    def say(text: str) -> str:
        return world.say(text, "ben", "shop")

    assert say("tags shop/cart").splitlines()[1:3] == ["1.4.2", "1.4.1"]
    assert "cart  " in say("list apps in prod")
    deployed = say("deploy cart 1.4.2 to prod")
    assert deployed.startswith("shop-prod/cart runs 1.4.2.")
    assert "Asked by: ben" in deployed
    assert say("deploy cart 1.4.2") == "shop-prod/cart runs 1.4.2; there was nothing to do."
    assert say("status cart").startswith("shop-prod/cart runs 1.4.2, 1 of 1 pods available")
    assert say("history cart").startswith(
        "The last rollout of shop-prod/cart: 1.4.2, Complete, asked by ben."
    )
    assert say("roll back cart").startswith("shop-prod/cart runs 1.4.1.")
    assert say("freeze cart because sale weekend").endswith("ben: sale weekend")
    assert say("who froze cart?").startswith("ben froze shop-prod/cart: sale weekend")
    assert say("deploy cart 1.4.2").startswith("The Application is frozen by ben: sale weekend")
    assert "because it is frozen" in say("why is cart frozen?")
    assert say("unfreeze cart because it is over").startswith(
        "shop-prod/cart may be rolled out again."
    )
    assert say("scale cart to 2") == "Scaled shop-prod/cart to 2."
    assert say("abort cart").startswith("shop-prod/cart has no rollout under way.")
    assert say("promote cart").startswith("shop-prod/cart has no rollout under way.")
    assert "shop-prod/cart" in say("logs cart last 5 lines")
    assert "has no such image" in say("deploy cart 9.9.9")
    events = environment.read_all("v1", "Event", "shop-prod")
    assert any(event["message"] == "Unfrozen by ben: it is over" for event in events)


@pytest.mark.skipif(not shutil.which("buildah"), reason="buildah is not installed")
def test_a_day_of_a_build(world: ChatWorld, tmp_path: Path) -> None:
    """Asked for, looked at, delivered, and broken, in words; the object's Event says who asked."""
    repository = Repository(tmp_path / "site.git")
    repository.commit({"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    image = {"name": "site", "repository": "shop-prod/site"}
    world.environment.apply(
        {
            "apiVersion": "kubestorm.io/v1alpha1",
            "kind": "ImageBuild",
            "metadata": {"name": "site", "namespace": "shop-prod"},
            "spec": {
                "source": {"url": repository.url, "branch": "main"},
                "images": [image],
                "suspend": True,
            },
        }
    )

    def say(text: str) -> str:
        return world.say(text, "ben", "shop")

    assert say("build site").startswith("Build 1 of shop-prod/site is done.")
    assert "Pushed" in say("show build site")
    assert "STEP 1/" in say("build logs site")
    assert say("cancel build site").startswith("No build is running.")
    assert say("deliver site").startswith("The delivery of shop-prod/site is done.")
    repository.commit({"Dockerfile": "FROM scratch\nCOPY gone /\n"})
    assert say("deliver site in prod").startswith(
        "The delivery of shop-prod/site failed at build: site: "
    )
    assert say("deliver nowhere").startswith("There is no build nowhere")
    events = world.environment.read_all("v1", "Event", "shop-prod")
    assert any(event["message"] == "A build was requested by ben." for event in events)


def test_a_registry_that_nobody_named_is_not_called(world: ChatWorld) -> None:
    """A person's word is no address for the pack to call."""
    assert "is not configured" in world.say("tags 169.254.169.254/latest")


def test_the_second_key_is_asked_for(world: ChatWorld) -> None:
    """A deletion that destroys data says which words it takes, and takes them."""
    manifest = {
        "apiVersion": "kubestorm.io/v1alpha1",
        "kind": "Database",
        "metadata": {"name": "to-destroy", "namespace": "shop-prod"},
        "spec": {
            "engine": "postgres",
            "version": "16",
            "size": "small",
            "deletionPolicy": "Delete",
        },
    }
    world.environment.apply(manifest)
    refused = answer_of(world.run("delete database to-destroy in prod"))
    assert (refused["outcome"], "confirm" in refused["text"]) == ("failed", True)
    assert (
        world.environment.read("kubestorm.io/v1alpha1", "Database", "to-destroy", "shop-prod")
        is not None
    )
    assert (
        answer_of(world.run("delete database to-destroy in prod confirm orders"))["outcome"]
        == "failed"
    )
    assert (
        answer_of(world.run("delete database to-destroy in prod confirm to-destroy"))["outcome"]
        == "good"
    )


@pytest.mark.parametrize(
    "command, user, channel, answer",
    [
        (
            "list databases",
            "eve",
            "general",
            "I do not know eve, and `database_list` needs the role viewer. Ask #platform",
        ),
        (
            "create database x postgres in prod",
            "ben",
            "general",
            "You are missing the role dba, which",
        ),
        (
            "list databases in pay-prod",
            "ana",
            "shop",
            "#shop is for shop-*, default; pay-prod is not among them.",
        ),
        ("list databases in shop-stage", "ana", "#shop", "There is no database in shop-stage."),
        ("scale nothing to 3", "ben", "shop", "There is no application nothing in shop-prod."),
        ("kubestorm help", "eve", "general", "Only `help` is available to you."),
        (
            "who am i",
            "ben",
            "general",
            "You are ben.\nRoles: deployer in shop-*, developer in shop-*, viewer",
        ),
        (
            "depoly cart 1.4.2",
            "ben",
            "general",
            "I didn't understand that.\nDid you mean `deploy cart 1.4.2`?",
        ),
    ],
    ids=[
        "stranger",
        "role",
        "channel",
        "in the channel",
        "default namespace",
        "help",
        "roles",
        "near miss",
    ],
)
def test_who_and_where_decide(
    world: ChatWorld, command: str, user: str, channel: str, answer: str
) -> None:
    """The account, the role, the channel's namespaces: refusals say what is missing and whom to
    ask.
    """
    assert world.say(command, user, channel).startswith(answer)


@pytest.mark.parametrize("pair", ["user=ana", "speaker=ana", "channel=shop", "user='ana'"])
def test_nobody_becomes_somebody_else_by_typing(world: ChatWorld, pair: str) -> None:
    """Who asks and where are immutable: an attempt to give them is refused before anything runs."""
    before = len(world.executions("kubestorm.chat_run"))
    answered = world.post(f"delete database orders {pair}", "eve")
    assert answered.status_code == 400
    assert "immutable" in answered.json()["faultstring"]
    assert len(world.executions("kubestorm.chat_run")) == before


def test_without_a_chat_account_whoever_is_logged_in_asks(world: ChatWorld) -> None:
    """`st2 action-alias execute` without -u: the authenticated user, also where a workflow follows;
    each simple command is one execution.
    """
    key = login(world.engine.url, world.engine.data, "ana", "operator")

    def execute(command: str) -> str:
        body = {"command": command, "user": "", "source_channel": "cli"}
        answered = world.http.post("/v1/aliasexecution/match_and_execute", json=body, headers=key)
        return str(answered.raise_for_status().json()["results"][0]["execution"]["id"])

    def children(execution_id: str) -> list[dict[str, Any]]:
        return list(world.http.get(f"/v1/executions/{execution_id}/children").json())

    asked = world.ended(execute("who am i"))
    assert asked["result"]["result"]["text"].startswith("You are ana.")
    assert children(asked["id"]) == []
    followed = execute("create database by-ana postgres in prod")
    (answer, *_looks) = eventually(lambda: children(followed))
    assert world.ended(answer["id"])["result"]["result"]["person"] == "ana"


def test_text_as_a_pair_changes_nothing(world: ChatWorld) -> None:
    """The alias says which command it is; a text that is typed as a pair beside it is not read."""
    assert world.say("who am i text='delete database orders'", "ben").startswith("You are ben.")


@pytest.mark.parametrize(
    "command",
    [
        "show database {{ st2kv.system.token }}",
        "show database x namespace={{st2kv.system.token}}",
        "freeze cart because {{ st2kv.system.token | decrypt_kv }}",
        "freeze cart reason='{{ st2kv.system.token }}'",
        "{{ st2kv.system.token }}",
        "<% st2kv('system.token') %>",
        "{% for x in range(9) %}x{% endfor %}",
        "list databases\x1b[2J\u202e\x07",
        "show database a'; drop table executions; --",
        "deploy " * 500,
    ],
)
@pytest.mark.parametrize(
    "user", ["ana", "{{ st2kv.system.token }}"], ids=["known", "a name that is a template"]
)
def test_nothing_typed_is_evaluated(world: ChatWorld, command: str, user: str) -> None:
    """Neither text, nor pairs, nor a name reach a template, a shell or a query; an answer comes all
    the same.
    """
    world.http.put(
        "/v1/keys/token", json={"name": "token", "value": "swordfish"}
    ).raise_for_status()
    execution = world.run(command, user)
    children = world.http.get(f"/v1/executions/{execution['id']}/children").json()
    assert "swordfish" not in json.dumps([execution, children])
    assert answer_of(execution)["text"]


def test_a_message_of_100_kb_is_refused_at_once(world: ChatWorld) -> None:
    """The engine reads no command of that length, and goes on answering."""
    answered = world.post("deploy " * 15_000)
    assert (answered.status_code, "longer than" in answered.json()["faultstring"]) == (400, True)
    assert (
        world.say("who am i") == "You are ana.\nRoles: " + world.say("who am i").split("Roles: ")[1]
    )


def test_the_outcome_is_announced_where_it_was_asked(world: ChatWorld) -> None:
    """One acknowledgment in the answer, one announcement at the end: its channel, its thread, the
    outcome's colour.
    """
    heard: list[dict[str, Any]] = []
    listening = threading.Event()

    def listen() -> None:
        headers = {"St2-Api-Key": world.engine.key}
        with httpx.stream(
            "GET", f"{world.engine.url}/v1/stream", headers=headers, timeout=120, trust_env=False
        ) as told:
            name = ""
            for line in told.iter_lines():
                listening.set()
                name = line[len("event: ") :] if line.startswith("event: ") else name
                if line.startswith("data: ") and name == "st2.announcement__chatops":
                    heard.append(json.loads(line[len("data: ") :])["payload"])
                    if heard[-1]["context"] == {"id": "m1", "thread": "17.4"}:
                        return

    thread = threading.Thread(target=listen)
    thread.start()
    assert listening.wait(30)
    context = {"id": "m1", "thread": "17.4"}
    found = world.http.post(
        "/v1/actionalias/match", json={"command": "create database told postgres in prod"}
    ).json()
    answered = world.http.post(
        "/v1/aliasexecution",
        json={
            "name": found["actionalias"]["name"],
            "format": found["representation"],
            "command": "create database told postgres in prod",
            "user": "ana",
            "source_channel": "shop",
            "source_context": context,
            "notification_route": "hubot",
        },
    )
    assert answered.json()["message"] == "Working on it; the outcome follows here."
    thread.join(120)
    told = heard[-1]
    assert (told["channel"], told["user"], told["context"]) == ("shop", "ana", context)
    assert told["message"].startswith("Database shop-prod/told is ready.")
    assert told["extra"]["slack"] == {"color": "#2eb886", "thread_response": True}


def test_who_asked_is_on_the_object(world: ChatWorld) -> None:
    """The resource, its Event and the execution say who."""
    execution = world.run("create database who-asked postgres in prod")
    found = world.environment.read("kubestorm.io/v1alpha1", "Database", "who-asked", "shop-prod")
    assert found is not None
    assert "ana" in json.dumps(found["metadata"]["annotations"])
    events = world.environment.read_all("v1", "Event", "shop-prod")
    assert any(
        "ana" in event["message"] and event["involvedObject"]["name"] == "who-asked"
        for event in events
    )
    (answer, *_looks) = world.http.get(f"/v1/executions/{execution['id']}/children").json()
    assert answer["result"]["result"]["person"] == "ana"
    assert execution["context"]["api_user"] == "ana"
