"""Who may do what, by role, by role file, by key and by scope; and who speaks in whose name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from stormcell.api.identity import USERS_FILE, Users
from stormcell.api.permissions import NEEDS
from stormcell.rbac import FOLDER, Roles

from tests.integration.engine.serving import PACKS, Served, eventually

SECRET = "tr0ub4dor-and-3"
HOOKED = {
    "name": "hooked",
    "pack": "engine_demo",
    "enabled": True,
    "trigger": {"type": "core.st2.webhook", "parameters": {"url": "ci/built"}},
    "action": {"ref": "engine_demo.greet", "parameters": {"name": "ci"}},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data: Path = tmp_path_factory.mktemp("roles") / "data"
    served = Served(data, PACKS / "engine_demo", PACKS / "engine_chat")
    served.http.put("/v1/keys/db.password", json={"value": SECRET, "secret": True})
    served.http.put("/v1/keys/mine", json={"value": SECRET, "secret": True, "scope": "user"})
    assert served.http.post("/v1/rules", json=HOOKED).status_code == 201
    yield served
    assert served.stop() == 0


def _user(served: Served, *words: str, password: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stormcell", "user", *words, "--data", str(served.data)]
    return subprocess.run(
        command, input=password, capture_output=True, text=True, timeout=60, check=False
    )


def _run(client: httpx.Client, action: str, **body: Any) -> httpx.Response:
    return client.post("/v1/executions", json={"action": action, "parameters": {}, **body})


def _statuses(client: httpx.Client) -> dict[str, int]:
    """What a role makes of one call of each kind."""
    greet = {"parameters": {"name": "x"}}
    calls = {
        "list": client.get("/v1/executions"),
        "execute": _run(client, "engine_demo.greet", **greet),
        "execute core": _run(client, "core.local", parameters={"cmd": "id"}),
        "send a webhook": client.post("/v1/webhooks/ci/built", json={}),
        "send any event": client.post(
            "/v1/webhooks/st2", json={"trigger": "engine_demo.happened", "payload": {"name": "x"}}
        ),
        "switch a rule": client.put("/v1/rules/engine_demo.hooked", json={"enabled": True}),
        "register": client.post("/v1/packs/register", json={}),
        "prune": client.post("/v1/prune", json={"before": "2000-01-01T00:00:00Z"}),
        "configure": client.put("/v1/configs/engine_demo", json={}),
        "set a key": client.put("/v1/keys/some", json={"value": "1"}),
        "own key": client.put("/v1/keys/own", json={"value": "1", "scope": "user"}),
        "see a secret": client.get("/v1/keys/db.password", params={"decrypt": "true"}),
    }
    return {name: answered.status_code for name, answered in calls.items()}


ALLOWED = {
    "observer": {"list", "own key"},
    "operator": {"list", "own key", "execute", "send a webhook"},
    "nothing": {"own key"},
}


@pytest.mark.parametrize("role", ["admin", *ALLOWED])
def test_a_role_allows_what_it_says_and_no_more(served: Served, role: str) -> None:
    """Everything else is a 403 in StackStorm's words."""
    roles = [] if role == "nothing" else [role]
    with served.client_of(f"a-{role}", *roles) as client:
        statuses = _statuses(client)
        assert {name for name, status in statuses.items() if status < 300} == ALLOWED.get(
            role, set(statuses)
        )
        assert {status for status in statuses.values() if status >= 300} <= {403}
        rbac = client.get("/v1/user").json()["rbac"]
        assert rbac == {"enabled": True, "roles": roles, "is_admin": role == "admin"}


def test_a_role_file_grants_by_pack_and_by_pattern(served: Served) -> None:
    """The files of StackStorm's RBAC; a changed one counts at once, a wrong one grants nothing."""
    file = served.data / FOLDER / "roles" / "greeter.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "name: greeter\npermission_grants:\n"
        "  - {resource_uid: 'action:engine_demo:greet', permission_types: [action_execute]}\n"
        "  - {resource_uid: 'webhook:ci/*', permission_types: [webhook_send]}\n"
    )
    with served.client_of("greta", "greeter") as client:
        ran = _run(client, "engine_demo.greet", parameters={"name": "x"})
        assert ran.status_code == 201
        assert client.get(f"/v1/executions/{ran.json()['id']}").status_code == 200
        assert _run(client, "engine_demo.greet_twice").status_code == 403
        assert client.get("/v1/executions").status_code == 403
        assert client.post("/v1/webhooks/ci/built", json={}).status_code == 202
        file.write_text(
            "name: greeter\npermission_grants:\n"
            "  - {resource_uid: 'pack:engine_demo', permission_types: [action_execute]}\n"
        )
        twice = _run(client, "engine_demo.greet_twice", parameters={"name": "x"})
        assert twice.status_code != 403
        assert client.post("/v1/webhooks/ci/built", json={}).status_code == 403
        file.write_text("name: greeter\npermission_grants: [{permission_types: [action_execute]}]")
        assert _run(client, "engine_demo.greet").status_code == 403
    health = {"status": "degraded", "wrong_roles": ["roles/greeter.yaml"]}
    assert served.get("/healthz") == health
    listed = _user(served, "list")
    assert "greta  greeter\n" in listed.stdout
    assert listed.stderr == (
        "roles/greeter.yaml grants nothing: "
        'Invalid permission type "action_execute" without a resource_uid.\n'
    )
    file.unlink()


def test_nobody_makes_a_key_for_somebody_else(served: Served) -> None:
    """One person cannot answer as two: not by keys, not by naming a user, as an administrator
    neither.
    """
    inquiry = _run(served.http, "core.ask", parameters={"users": ["ada", "grace"]}).json()["id"]
    eventually(lambda: served.get(f"/v1/executions/{inquiry}")["status"] == "pending")
    answer = {"id": inquiry, "response": {"continue": True}}
    with served.client_of("grace", "observer"), served.client_of("mallory", "admin") as mallory:
        for body in ({"user": "grace"}, {"user": "nobody-yet"}, {"user": "st2admin"}):
            assert mallory.post("/v1/apikeys", json=body).status_code == 403
        # Not the owner of the data folder either: grace has a password, and makes her own.
        assert served.http.post("/v1/apikeys", json={"user": "grace"}).status_code == 403
        keys = [mallory.post("/v1/apikeys", json={}).json() for _ in range(2)]
        assert {key["user"] for key in keys} == {"mallory"}
        changed = mallory.put(f"/v1/apikeys/{keys[0]['id']}", json={"user": "grace"})
        assert changed.status_code == 400
        for key in keys:
            refused = mallory.put(
                f"/v1/inquiries/{inquiry}", json=answer, headers={"St2-Api-Key": key["key"]}
            )
            assert refused.status_code == 403
        named = _run(mallory, "engine_demo.greet", parameters={"name": "x"}, user="grace")
        assert named.status_code == 403
        typed = {"command": "say hi", "user": "grace", "source_channel": "ops"}
        said = mallory.post("/v1/aliasexecution/match_and_execute", json=typed)
        assert said.status_code == 403
        forged = _run(
            mallory,
            "core.noop",
            context={"api_user": "grace", "inquiry": {"answered_by": "grace"}},
        )
        assert set(forged.json()["context"]) == {"user", "pack"}


def test_keys_end_with_their_user(served: Served) -> None:
    """Also where the name is given to somebody else later; a token for the key ends, too."""
    with served.client_of("ken", "observer") as client:
        made = client.post("/v1/apikeys", json={}).json()
    key = {"St2-Api-Key": made["key"]}
    login = httpx.post(f"{served.url}/auth/v1/tokens", auth=("ken", made["key"]), trust_env=False)
    token = {"X-Auth-Token": login.json()["token"]}

    def known() -> list[int]:
        return [
            httpx.get(f"{served.url}/v1/user", headers=headers, trust_env=False).status_code
            for headers in (key, token)
        ]

    assert known() == [200, 200]
    assert _user(served, "add", "ken", password="another-one\n").returncode == 0
    assert known() == [200, 200], "a changed password leaves the keys"
    assert _user(served, "remove", "ken").returncode == 0
    assert known() == [401, 401]
    assert _user(served, "add", "ken", password="another-ken\n").returncode == 0
    assert known() == [401, 401]


def test_others_keys_are_unseen(served: Served) -> None:
    """A list has one's own keys; another's is not found, and an administrator sees all of them."""
    with served.client_of("olga", "operator") as olga, served.client_of("adam", "admin") as adam:
        own = olga.post("/v1/apikeys", json={}).json()["id"]
        foreign = adam.post("/v1/apikeys", json={}).json()["id"]
        listed = olga.get("/v1/apikeys").json()
        assert {key["user"] for key in listed} == {"olga"}
        assert own in [key["id"] for key in listed]
        assert olga.get(f"/v1/apikeys/{foreign}").status_code == 404
        assert olga.delete(f"/v1/apikeys/{foreign}").status_code == 404
        assert {own, foreign} <= {key["id"] for key in adam.get("/v1/apikeys").json()}
        assert adam.delete(f"/v1/apikeys/{own}").status_code == 204


SCOPED = [
    (["webhook:ci/*"], {"send a webhook"}),
    (["execute"], {"list", "execute", "execute core"}),
    (["execute", "webhook:other"], {"list", "execute", "execute core"}),
]


@pytest.mark.parametrize("scopes, allowed", SCOPED, ids=lambda value: "+".join(sorted(value)))
def test_a_scope_narrows_a_key(served: Served, scopes: list[str], allowed: set[str]) -> None:
    """Also an administrator's; it makes no other key, and `admin` narrows nothing."""
    with served.client_of("scott", "admin") as client:
        made = client.post("/v1/apikeys", json={"metadata": {"scopes": scopes}}).json()
        client.headers = httpx.Headers({"St2-Api-Key": made["key"]})
        assert {name for name, status in _statuses(client).items() if status < 300} == allowed
        assert client.post("/v1/apikeys", json={}).status_code == 403
        assert client.put(f"/v1/apikeys/{made['id']}", json={"metadata": {}}).status_code == 403
        # A token for the key is as narrow as the key.
        login = httpx.post(
            f"{served.url}/auth/v1/tokens", auth=("scott", made["key"]), trust_env=False
        )
        client.headers = httpx.Headers({"X-Auth-Token": login.json()["token"]})
        assert {name for name, status in _statuses(client).items() if status < 300} == allowed


@pytest.mark.parametrize("scopes", [[], "execute", ["write"], ["webhook:"], ["webhook"], [1]])
def test_an_unknown_scope_makes_no_key(served: Served, scopes: Any) -> None:
    """A typing error must not make a key for everything."""
    made = served.http.post("/v1/apikeys", json={"metadata": {"scopes": scopes}})
    assert made.status_code == 400
    assert "scopes must be a list of" in made.json()["faultstring"]


def test_secrets_of_others_are_unseen(served: Served) -> None:
    """Not by a user's name, not by a template in a parameter, not by a parameter of the runner."""
    with served.client_of("oscar", "operator", "observer") as oscar:
        for query in (
            {"scope": "user", "user": "st2admin", "decrypt": "true"},
            {"scope": "all", "decrypt": "true"},
            {"decrypt": "true"},
        ):
            answers = [
                oscar.get(path, params=query)
                for path in ("/v1/keys", "/v1/keys/mine", "/v1/keys/db.password")
            ]
            assert not any(SECRET in answered.text for answered in answers)
            assert answers[0].status_code == 403
        template = "{{ st2kv.system['db.password'] | decrypt_kv }}"
        ran = _run(oscar, "engine_demo.greet", parameters={"name": template})
        assert ran.status_code == 201
        done = served.ended(ran.json()["id"])
        assert SECRET not in str(done)
        assert done["parameters"] == {"name": template}
        again = oscar.post(f"/v1/executions/{done['id']}/re_run", json={"parameters": {}})
        assert SECRET not in str(served.ended(again.json()["id"]))
        env = _run(
            oscar, "engine_demo.greet", parameters={"name": "x", "env": {"PYTHONPATH": "/tmp"}}
        )
        assert env.status_code == 403
        assert oscar.put("/v1/keys/mine", json={"value": "1", "scope": "user"}).status_code == 200
        own = oscar.get("/v1/keys/mine", params={"scope": "user", "decrypt": "true"})
        assert own.json()["value"] == "1"


def test_a_service_account_has_keys_alone(served: Served) -> None:
    """It has no password, its key is printed once, and it may say who typed a command."""
    assert _user(served, "add", "hubot", "--service", "--role", "operator").returncode == 0
    assert _user(served, "role", "hubot", "--role", "no-such").returncode == 1
    printed = _user(served, "key", "hubot")
    assert printed.returncode == 0, printed.stderr
    key = {"St2-Api-Key": printed.stdout.strip()}
    with httpx.Client(base_url=served.url, headers=key, trust_env=False) as hubot:
        assert hubot.get("/v1/user").json()["username"] == "hubot"
        assert hubot.post("/v1/apikeys", json={"user": "hubot-2"}).status_code == 403
        typed = {"command": "relay hi", "user": "ann", "source_channel": "#ops"}
        said = hubot.post("/v1/aliasexecution/match_and_execute", json=typed)
        assert said.json()["results"][0]["execution"]["context"]["api_user"] == "ann"
    login = httpx.post(f"{served.url}/auth/v1/tokens", auth=("hubot", "!"), trust_env=False)
    assert login.status_code == 401


def test_each_route_names_its_permission() -> None:
    """A route without an entry stops the start; what needs none is a short list."""
    free = {path for (_, path), need in NEEDS.items() if need.permission is None}
    assert free == {
        *("/healthz", "/v1", "/v1/user", "/v1/tokens", "/v1/tokens/validate"),
        *("/v1/apikeys", "/v1/apikeys/{id}", "/v1/keys", "/v1/keys/{name:path}"),
        *("/v1/executions", "/v1/aliasexecution", "/v1/aliasexecution/match_and_execute"),
        *("/v1/rules", "/v1/actions"),
        *("/v1/rbac/roles", "/v1/rbac/roles/{id}", "/v1/rbac/permission_types"),
        *("/v1/rbac/role_assignments", "/v1/rbac/role_assignments/{id}"),
    }


def test_administrators_see_roles_and_assignments(served: Served) -> None:
    """What `st2 role list` and `st2 role-assignment list` ask for."""
    file = served.data / FOLDER / "roles" / "seen.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "name: seen\ndescription: Greets.\npermission_grants:\n"
        "  - {resource_uid: 'action:engine_demo:greet', permission_types: [action_execute]}\n"
    )
    with (
        served.client_of("sam", "seen", "observer") as sam,
        served.client_of("ada", "admin") as ada,
    ):
        for path in ("roles", "roles/seen", "role_assignments", "permission_types"):
            assert sam.get(f"/v1/rbac/{path}").status_code == 403
            assert ada.get(f"/v1/rbac/{path}").status_code == 200
        built_in = ada.get("/v1/rbac/roles", params={"system": "true"}).json()
        assert [each["name"] for each in built_in] == [
            "system_admin",
            "admin",
            "operator",
            "observer",
        ]
        found = ada.get("/v1/rbac/roles/seen").json()
        assert found == ada.get(f"/v1/rbac/roles/{found['id']}").json()
        assert found["description"] == "Greets."
        assert found["permission_grants"] == [
            {
                "resource_uid": "action:engine_demo:greet",
                "resource_type": "action",
                "permission_types": ["action_execute"],
            }
        ]
        given = ada.get("/v1/rbac/role_assignments", params={"user": "sam"}).json()
        assert [each["role"] for each in given] == ["observer", "seen"]
        assert given[0]["source"] == "assignments/sam.yaml"
        assert ada.get(f"/v1/rbac/role_assignments/{given[0]['id']}").json() == given[0]
        assert ada.get("/v1/rbac/roles/nothing").status_code == 404
    file.unlink()


def test_a_user_of_an_older_version_has_no_role(served: Served) -> None:
    """A line without an id still logs in, and may do nothing until it is given a role."""
    users = Users(served.data / USERS_FILE)
    users.put("old", "correct horse")
    file = served.data / USERS_FILE
    lines = [
        line.rsplit(":", 1)[0] if line.startswith("old:") else line
        for line in file.read_text().splitlines()
    ]
    file.write_text("\n".join(lines) + "\n")
    with served.client_of("old") as old:
        assert old.get("/v1/executions").status_code == 403
        Roles(served.data / FOLDER).assign("old", ["observer"])
        assert old.get("/v1/executions").status_code == 200
