"""What an operator tries in order to do more than operators may."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from stormcell.api.identity import USERS_FILE, Users
from stormcell.rbac import FOLDER, Roles

from tests.integration.engine.serving import PACKS, Served, eventually

RELAYED = {
    "name": "starts",
    "pack": "engine_demo",
    "runner_type": "local-shell-cmd",
    "parameters": {"cmd": {"immutable": True, "default": ""}},
}
START = (
    "import json, os, urllib.request as u; "
    "c = u.Request(os.environ['ST2_ACTION_API_URL'] + '/executions', method='POST', "
    "data=json.dumps({body!r}).encode(), headers={headers!r} | "
    "dict([('X-Auth-Token', os.environ['ST2_ACTION_AUTH_TOKEN']), "
    "('Content-Type', 'application/json')])); "
    "print(u.urlopen(c).read().decode())"
)


def _starter(body: dict[str, Any], *, name: str, **headers: str) -> dict[str, Any]:
    """An action that starts another by the API, with its own token."""
    code = START.format(body=body, headers=headers).encode().hex()
    default = f"python3 -c \"exec(bytes.fromhex('{code}'))\""
    return {**RELAYED, "name": name, "parameters": {"cmd": {"immutable": True, "default": default}}}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data: Path = tmp_path_factory.mktemp("escalation") / "data"
    served = Served(data, PACKS / "engine_demo", PACKS / "engine_chat", PACKS / "engine_told")
    # What its sensor starts by itself has ended, so that the newest is what a test has run.
    eventually(
        lambda: any("end_timestamp" in each for each in served.get("/v1/executions", limit=-1))
    )
    yield served
    assert served.stop() == 0


def _run(client: httpx.Client, action: str, **body: Any) -> httpx.Response:
    return client.post("/v1/executions", json={"action": action, "parameters": {}, **body})


def test_the_newest_execution_is_judged_by_its_action(served: Served) -> None:
    """An operator neither runs an administrator's command again nor changes it."""
    done = served.run("core.local", cmd="echo ours")
    with served.client_of("otto", "operator") as otto:
        again = otto.post("/v1/executions/last/re_run", json={"parameters": {"cmd": "echo stolen"}})
        assert again.status_code == 403
        assert otto.delete("/v1/executions/last").status_code == 403
        assert otto.get("/v1/executions/last").json()["id"] == done["id"]


def test_a_pair_at_the_end_of_a_command_is_no_parameter_of_the_runner(served: Served) -> None:
    """`env={...}` would have the action run what the caller likes."""
    with served.client_of("otto", "operator") as otto:
        typed = {"command": 'say hi env={"PATH":"/tmp"}', "source_channel": "ops"}
        said = otto.post("/v1/aliasexecution/match_and_execute", json=typed)
        assert said.status_code == 403
        assert "engine_chat.say does not offer env" in said.json()["faultstring"]
        plain = otto.post("/v1/aliasexecution/match_and_execute", json={"command": "say hi"})
        assert plain.status_code == 201


def test_a_rule_gives_no_parameter_of_the_runner(served: Served) -> None:
    """Whoever may make rules for an action has it run as it was written."""
    file = served.data / "rbac" / "roles" / "ruler.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "name: ruler\npermission_grants:\n"
        "  - {resource_uid: 'pack:engine_demo', permission_types: [rule_all, action_execute]}\n"
    )
    rule = {
        "name": "of_the_ruler",
        "pack": "engine_demo",
        "trigger": {"type": "engine_demo.happened"},
        "action": {"ref": "engine_demo.greet", "parameters": {"name": "x"}},
    }
    with served.client_of("rita", "ruler") as rita:
        assert rita.post("/v1/rules", json=rule).status_code == 201
        action = {"ref": "engine_demo.greet", "parameters": {"name": "x", "env": {"A": "b"}}}
        changed = rita.put("/v1/rules/engine_demo.of_the_ruler", json={**rule, "action": action})
        assert changed.status_code == 403
        made = rita.post("/v1/rules", json={**rule, "name": "another", "action": action})
        assert made.status_code == 403
    file.unlink()


@pytest.mark.parametrize(
    "context",
    [
        {"notify": "ops"},
        {"notify": {"on-complete": ["ops"]}},
        {"policies": "none"},
        {"policies": {"retry": {"retry_count": -1000000}}},
        {"trace_context": "x"},
        {"trace_context": {"trace_tag": ["x"]}},
        {"action_alias_ref": "x"},
    ],
    ids=str,
)
def test_a_context_does_not_break_the_end_of_an_execution(
    served: Served, context: dict[str, Any]
) -> None:
    """What the engine itself keeps there is not taken from callers."""
    with served.client_of("otto", "operator") as otto:
        ran = _run(otto, "engine_demo.greet", parameters={"name": "Nobody"}, context=context)
        assert ran.status_code == 201, ran.text
        assert not {"notify", "policies", "action_alias_ref"} & set(ran.json()["context"])
        assert served.ended(ran.json()["id"])["status"] == "failed"


@pytest.mark.parametrize(
    "path, body",
    [
        ("", {"delay": 10**400}),
        ("", {"delay": 10**18}),
        ("/last/re_run", {"tasks": [{"a": 1}], "reset": [{"a": 1}]}),
    ],
    ids=["a delay that is no float", "a delay of ages", "tasks that are no names"],
)
def test_what_does_not_fit_is_refused(served: Served, path: str, body: dict[str, Any]) -> None:
    """With a sentence, and no error of the server."""
    served.run("engine_demo.greet", name="x")
    call = {"action": "engine_demo.greet", "parameters": {"name": "x"}} if not path else {}
    assert served.http.post(f"/v1/executions{path}", json={**call, **body}).status_code == 400


def test_what_a_bot_runs_speaks_for_who_typed_it(served: Served) -> None:
    """An action that a service account runs starts others for the account of a chat; one that a
    person runs does not."""
    made = served.http.post(
        "/v1/actions",
        json=_starter(
            {"action": "engine_demo.greet", "parameters": {"name": "x"}},
            name="for_ann",
            **{"st2-context": '{"api_user": "ann"}'},
        ),
    )
    assert made.status_code == 201, made.text
    Users(served.data / USERS_FILE).put("robot", None)
    key = served.http.post("/v1/apikeys", json={"user": "robot"}).json()["key"]
    Roles(served.data / FOLDER).assign("robot", ["operator"])
    headers = {"St2-Api-Key": key}
    with httpx.Client(base_url=served.url, headers=headers, timeout=120, trust_env=False) as robot:
        started = served.ended(_run(robot, "engine_demo.for_ann").json()["id"])
        assert started["status"] == "succeeded", started["result"]
        assert started["result"]["stdout"]["context"]["api_user"] == "ann"
    with served.client_of("otto", "operator") as otto:
        started = served.ended(_run(otto, "engine_demo.for_ann").json()["id"])
        assert "api_user" not in started["result"]["stdout"]["context"]


def test_a_removed_user_has_no_role_left(served: Served) -> None:
    """What still runs for one starts nothing; for somebody whom chat named it does."""
    made = served.http.post(
        "/v1/actions",
        json=_starter(
            {"action": "engine_demo.greet", "parameters": {"name": "x"}}, name="starts_greet"
        ),
    )
    assert made.status_code == 201, made.text
    users = Users(served.data / USERS_FILE)
    with served.client_of("rex", "operator") as rex:
        late = _run(rex, "engine_demo.starts_greet", delay=3000).json()["id"]
        users.remove("rex")
        Roles(served.data / FOLDER).forget("rex")
    assert "403" in served.ended(late)["result"]["stderr"]
    named = _run(served.http, "engine_demo.starts_greet", user="only-in-chat").json()["id"]
    assert served.ended(named)["result"]["stdout"]["context"]["user"] == "only-in-chat"


def test_an_expensive_filter_of_help_is_stopped(served: Served) -> None:
    """Compiling an expression takes time, too."""
    ranges = "[\x00-\uffff]" * 1000
    with served.client_of("otto", "operator") as otto:
        helped = otto.get("/v1/actionalias/help", params={"filter": ranges})
        assert helped.status_code == 400
        assert "more than 2 s of processor time" in helped.json()["faultstring"]
