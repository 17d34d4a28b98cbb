"""StackStorm's own client against a running engine: each command prints what it prints against
StackStorm.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from stormcell.api.identity import USERS_FILE, Users
from stormcell.rbac import FOLDER, Roles

from tests.integration.api.stock_client import Printed, StockClient, Unavailable, install
from tests.integration.engine.serving import PACKS, Served, eventually


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data = tmp_path_factory.mktemp("stock") / "data"
    served = Served(data, PACKS / "client_demo", PACKS / "engine_demo", PACKS / "engine_steps")
    yield served
    assert served.stop() == 0


@pytest.fixture(scope="module")
def st2(engine: Served, tmp_path_factory: pytest.TempPathFactory) -> StockClient:
    try:
        python = install()
    except Unavailable as error:
        pytest.skip(f"st2client cannot be installed here: {error}")
    return StockClient(python, engine.url, engine.key, tmp_path_factory.mktemp("home"))


def _fine(*printed: Printed) -> None:
    for one in printed:
        assert one.code == 0, f"{one.command}: {one}"


def test_actions_are_run(st2: StockClient) -> None:
    """run waits and shows the result, -a says how to get it; secrets are masked, wrong parameters
    named.
    """
    waited, as_json, asked, wrong, executed = st2(
        "run engine_demo.greet name=Bob password=hush-hush",
        "run -j client_demo.speak text=hello times=3 names=a,b",
        "run -a core.noop",
        "run engine_demo.greet nam=Bob",
        "action execute -a core.noop",
    )
    _fine(waited, as_json, asked, executed)
    assert "text: Hello, Bob" in waited
    assert "hush-hush" not in waited
    assert "password: '********'" in waited
    document = as_json.json()
    assert (document["status"], document["action"]["ref"]) == ("succeeded", "client_demo.speak")
    assert document["result"]["stdout"] == "hello 3 a+b"
    assert "st2 execution get " in asked
    assert "st2 execution tail " in asked
    assert wrong.code != 0


def test_executions_are_shown_and_run_again(st2: StockClient, engine: Served) -> None:
    """list, get, get --json, tail and re-run of one execution, and of one with children."""
    done = engine.run("client_demo.speak", text="once")["id"]
    chain = engine.run("engine_demo.greet_twice", name="Ann")["id"]
    listed, shown, as_json, key, tailed, again, merged, tree, absent = st2(
        "execution list -n 1 --action client_demo.speak",
        f"execution get {done}",
        f"execution get -j {done}",
        f"execution get {done} -k stdout",
        f"execution tail {done}",
        f"execution re-run {done}",
        f"execution re-run -j {done} text=twice",
        f"execution get {chain}",
        "execution get 000000000000000000000000",
    )
    _fine(listed, shown, as_json, key, tailed, again, merged, tree)
    heading, row = listed.rows()[:2]
    assert heading == [
        "id",
        "action.ref",
        "context.user",
        "status",
        "start_timestamp",
        "end_timestamp",
    ]
    assert row[:3] == [done, "client_demo.speak", "st2admin"]
    assert row[3].startswith("succeeded (")
    assert f"id: {done}" in shown
    assert "stdout: once 1" in shown
    assert as_json.json()["parameters"] == {"text": "once"}
    assert key.strip() == "once 1"
    assert "once 1" in tailed
    assert f"Execution {done} has completed (status=succeeded)." in tailed
    assert "stdout: once 1" in again
    assert merged.json()["result"]["stdout"] == "twice 1"
    assert [row[2:4] for row in tree.rows()[1:]] == [
        ["first", "engine_demo.greet"],
        ["second", "engine_demo.greet"],
    ]
    assert (absent.code, "not found" in absent) == (1, True)


def test_a_workflow_is_paused_resumed_and_canceled(
    st2: StockClient, engine: Served, tmp_path: Path
) -> None:
    """pause, resume and cancel answer with the new status; what has ended is said to have."""
    parameters = {"label": "x", "file": str(tmp_path / "marks"), "seconds": 60}
    asked = engine.http.post(
        "/v1/executions", json={"action": "engine_steps.walk", "parameters": parameters}
    ).json()
    eventually(lambda: engine.get(f"/v1/executions/{asked['id']}/children"))
    paused, resumed, canceled = st2(
        f"execution pause {asked['id']}",
        f"execution resume {asked['id']}",
        f"execution cancel {asked['id']}",
    )
    _fine(paused, resumed, canceled)
    assert "status: paus" in paused
    assert "status: r" in resumed
    assert f"execution with id {asked['id']} canceled." in canceled
    assert engine.ended(asked["id"])["status"] == "canceled"
    (again,) = st2(f"execution cancel {asked['id']}")
    assert again.strip() == "Action is already in completed state."


ACTION = {
    "name": "by_hand",
    "pack": "client_demo",
    "description": "Made by hand.",
    "runner_type": "local-shell-cmd",
    "enabled": True,
    "parameters": {"cmd": {"default": "echo by hand", "immutable": True}},
}


def test_actions_are_made_and_switched(st2: StockClient, tmp_path: Path) -> None:
    """list, get, create, update, disable, enable and delete of an action."""
    first, second = tmp_path / "first.yaml", tmp_path / "second.json"
    first.write_text(yaml.safe_dump(ACTION))
    second.write_text(json.dumps({**ACTION, "description": "Changed by hand."}))
    listed, got, created, ran, updated, disabled, refused, enabled, deleted, gone = st2(
        "action list -p client_demo",
        "action get client_demo.speak",
        f"action create {first}",
        "run -j client_demo.by_hand",
        f"action update client_demo.by_hand {second}",
        "action disable client_demo.by_hand",
        "run client_demo.by_hand",
        "action enable client_demo.by_hand",
        "action delete client_demo.by_hand",
        "action get client_demo.by_hand",
        answers="n\n",
    )
    _fine(listed, got, created, ran, updated, disabled, enabled, deleted)
    assert listed.rows() == [
        ["ref", "pack", "description"],
        ["client_demo.asks", "client_demo", "Asks for a word and goes on with it."],
        ["client_demo.speak", "client_demo", "Says something, several times."],
    ]
    assert got.properties()["runner_type"] == "local-shell-cmd"
    assert created.properties()["ref"] == "client_demo.by_hand"
    assert ran.json()["result"]["stdout"] == "by hand"
    assert updated.properties()["description"] == "Changed by hand."
    assert disabled.properties()["enabled"] == "False"
    assert "is disabled" in refused
    assert enabled.properties()["enabled"] == "True"
    assert (gone.code, "is not found" in gone) == (1, True)


RULE = {
    "name": "by_hand",
    "pack": "client_demo",
    "description": "Made by hand.",
    "enabled": True,
    "trigger": {"type": "engine_demo.happened"},
    "criteria": {"trigger.name": {"type": "eq", "pattern": "Rule"}},
    "action": {"ref": "core.noop", "parameters": {}},
}


def test_rules_are_made_and_lead_to_executions(
    st2: StockClient, engine: Served, tmp_path: Path
) -> None:
    """Rules made by file; an event they take, its enforcement, its trace, and the event sent once
    more.
    """
    first, second = tmp_path / "rule.yaml", tmp_path / "rule.json"
    first.write_text(yaml.safe_dump(RULE))
    second.write_text(json.dumps({**RULE, "description": "Changed by hand."}))
    created, updated, disabled, enabled, listed, got = st2(
        f"rule create {first}",
        f"rule update client_demo.by_hand {second}",
        "rule disable client_demo.by_hand",
        "rule enable client_demo.by_hand",
        "rule list -p client_demo",
        "rule get -j client_demo.by_hand",
    )
    _fine(created, updated, disabled, enabled, listed, got)
    assert created.properties()["ref"] == "client_demo.by_hand"
    assert updated.properties()["description"] == "Changed by hand."
    assert (disabled.properties()["enabled"], enabled.properties()["enabled"]) == ("False", "True")
    assert listed.rows()[1] == ["client_demo.by_hand", "client_demo", "Changed by hand.", "True"]
    assert got.json()["criteria"] == RULE["criteria"]

    event = {"trigger": "engine_demo.happened", "payload": {"name": "Rule", "number": 1}}
    response = engine.http.post(
        "/v1/webhooks/st2", json=event, headers={"St2-Trace-Tag": "by-hand"}
    )
    instance = response.headers["X-Trigger-Instance-Id"]
    (run,) = engine.get("/v1/executions", trigger_instance=instance)
    instances, one, enforcements, traces, again = st2(
        "trigger-instance list --trigger engine_demo.happened",
        f"trigger-instance get -j {instance}",
        f"rule-enforcement list --trigger-instance {instance}",
        "trace list -j -c by-hand",
        f"trigger-instance re-emit {instance}",
    )
    _fine(instances, one, enforcements, traces, again)
    assert instances.rows()[1][:2] == [instance, "engine_demo.happened"]
    assert one.json()["payload"] == event["payload"]
    heading, row = enforcements.rows()
    assert heading == ["id", "rule.ref", "trigger_instance_id", "execution_id", "enforced_at"]
    assert row[1:4] == ["client_demo.by_hand", instance, run["id"]]
    trace = traces.json()
    assert [item["object_id"] for item in trace["trigger_instances"]] == [instance]
    assert [item["ref"] for item in trace["rules"]] == ["client_demo.by_hand"]
    assert [item["object_id"] for item in trace["action_executions"]] == [run["id"]]
    assert again.strip() == f"Trigger instance {instance} successfully re-sent."
    enforced, traced, deleted, gone = st2(
        f"rule-enforcement get -j {row[0]}",
        f"trace get {trace['id']}",
        "rule delete client_demo.by_hand",
        "rule get client_demo.by_hand",
    )
    _fine(enforced, traced, deleted)
    assert enforced.json()["execution_id"] == run["id"]
    # The event that was sent once more has the tag of the first, and so belongs to the same trace.
    assert sorted({line[1] for line in traced.rows()[1:]}) == [
        "execution",
        "rule",
        "trigger-instance",
    ]
    assert len(traced.rows()[1:]) == 6
    assert 'Resource with id "client_demo.by_hand" has been successfully deleted.' in deleted
    assert (gone.code, "is not found" in gone) == (1, True)


def test_what_is_installed_is_shown(st2: StockClient) -> None:
    """Packs, triggers, sensors, policies, webhooks and runners; a sensor is switched off and on."""
    (
        packs,
        pack,
        registered,
        absent,
        triggers,
        trigger,
        sensors,
        sensor,
        off,
        on,
        runners,
        runner,
    ) = st2(
        "pack list",
        "pack get client_demo",
        "pack register client_demo",
        "pack register nowhere",
        "trigger list -p engine_demo",
        "trigger get core.st2.webhook",
        "sensor list",
        "sensor get engine_demo.Counter",
        "sensor disable engine_demo.Counter",
        "sensor enable engine_demo.Counter",
        "runner list",
        "runner get orquesta",
    )
    _fine(packs, pack, registered, triggers, trigger, sensors, sensor, off, on, runners, runner)
    assert packs.rows()[0] == ["ref", "name", "description", "version", "author"]
    assert [row[0] for row in packs.rows()[1:]] == [
        "chatops",
        "client_demo",
        "core",
        "engine_demo",
        "engine_steps",
    ]
    assert pack.properties()["version"] == "1.2.3"
    counts = registered.properties()
    assert [counts[kind] for kind in ("actions", "rules", "aliases", "policies", "sensors")] == [
        "2",
        "1",
        "1",
        "1",
        "0",
    ]
    assert (absent.code, 'Pack "nowhere" not found on disk' in absent) == (2, True)
    assert [row[0] for row in triggers.rows()[1:]] == [
        "engine_demo.counted",
        "engine_demo.happened",
    ]
    assert trigger.properties()["ref"] == "core.st2.webhook"
    assert [row[0] for row in sensors.rows()[1:]] == ["engine_demo.Counter"]
    assert sensor.properties()["trigger_types"] == "["
    assert (off.properties()["enabled"], on.properties()["enabled"]) == ("False", "True")
    assert "orquesta" in [row[1] for row in runners.rows()]
    assert runner.properties()["name"] == "orquesta"


def test_policies_and_webhooks_are_shown(st2: StockClient, engine: Served) -> None:
    """policy list and get, webhook list and get; what is posted to the webhook reaches its rule."""
    policies, policy, webhooks, webhook = st2(
        "policy list --resource-ref client_demo.speak",
        "policy get client_demo.speak.concurrency",
        "webhook list -j",
        "webhook get client/posted",
    )
    _fine(policies, policy, webhooks, webhook)
    assert policies.rows()[1] == [
        "client_demo.speak.concurrency",
        "client_demo.speak",
        "action.concurrency",
        "True",
    ]
    assert policy.properties()["policy_type"] == "action.concurrency"
    assert [item["url"] for item in webhooks.json()] == ["client/posted"]
    assert "core.st2.webhook" in webhook
    posted = engine.http.post("/v1/webhooks/client/posted", json={"text": "over the wire"})
    assert posted.status_code == 202
    (run,) = engine.get("/v1/executions", trigger_instance=posted.headers["X-Trigger-Instance-Id"])
    assert engine.ended(run["id"])["result"]["stdout"] == "over the wire 1"


def test_aliases_are_matched_and_run(st2: StockClient, engine: Served) -> None:
    """action-alias list, get, match and execute; the acknowledgment is rendered, help lists the
    lines.
    """
    listed, got, matched, executed, unmatched = st2(
        "action-alias list",
        "action-alias get client_demo.speak",
        "action-alias match 'whisper to me'",
        "action-alias execute 'say \"out loud\" 4 times names=a,b pin=4711'",
        "action-alias match 'sing to me'",
    )
    _fine(listed, got, matched, executed)
    assert listed.rows()[1] == ["client_demo.speak", "client_demo", "Say something.", "True"]
    assert got.properties()["action_ref"] == "client_demo.speak"
    assert matched.rows() == [["name", "description"], ["speak", "Say something."]]
    assert "Matching Action-alias: 'client_demo.speak'" in executed
    run = engine.ended(executed.split()[-1])
    assert run["parameters"] == {
        "text": "out loud",
        "times": 4,
        "names": ["a", "b"],
        "pin": "********",
    }
    assert run["result"]["stdout"] == "out loud 4 a+b"
    assert (unmatched.code != 0, "matched no patterns" in unmatched) == (True, True)
    body = {
        "command": "say hi times",
        "user": "ann",
        "source_channel": "room",
        "notification_route": "errbot",
    }
    answered = engine.http.post("/v1/aliasexecution/match_and_execute", json=body)
    (result,) = answered.json()["results"]
    assert (answered.status_code, result["message"], result["extra"]) == (
        201,
        "Saying hi as client_demo.speak.",
        {"color": "#2"},
    )
    help_lines = [
        line["display"]
        for line in engine.get("/v1/actionalias/help", filter="whisper")["helpstrings"]
    ]
    assert help_lines == ["whisper <text>"]


def test_keys_are_kept(st2: StockClient, tmp_path: Path) -> None:
    """set, get, list, load, delete and delete_by_prefix, secret and with a time to live."""
    loaded = tmp_path / "keys.yaml"
    loaded.write_text(
        yaml.safe_dump([{"name": "kit.a", "value": "1"}, {"name": "kit.b", "value": "2"}])
    )
    put, got, secret, hidden, shown, mine, load, listed, prefix, deleted, gone = st2(
        "key set stock.a first -l 3600",
        "key get stock.a",
        "key set -e stock.pin 4711-4711",
        "key get stock.pin",
        "key get -d stock.pin",
        "key set -s user stock.mine yes",
        f"key load {loaded}",
        "key list -j",
        "key delete_by_prefix -p kit.",
        "key delete stock.a",
        "key get stock.a",
    )
    _fine(put, got, secret, hidden, shown, mine, load, listed, prefix, deleted)
    assert put.properties()["value"] == "first"
    assert put.properties()["expire_timestamp"]
    assert got.properties()["secret"] == "False"
    assert "4711-4711" not in secret + hidden + listed
    assert shown.properties()["value"] == "4711-4711"
    assert mine.properties()["scope"] == "st2kv.user"
    values = {entry["name"]: entry["value"] for entry in listed.json()}
    assert (
        values.items()
        >= {"stock.a": "first", "stock.pin": "********", "stock.mine": "yes", "kit.a": "1"}.items()
    )
    assert "Deleted 2 keys" in prefix
    assert 'Resource with id "stock.a" has been successfully deleted.' in deleted
    assert (gone.code, "is not found" in gone) == (1, True)


def test_a_pack_is_configured(engine: Served) -> None:
    """The calls of pack config (whose dialogue needs an older prompt_toolkit than the client asks
    for): the schema is shown, settings are checked, written, and shown with secrets masked."""
    assert engine.get("/v1/config_schemas/client_demo")["attributes"]["password"]["secret"] is True
    put = engine.http.put(
        "/v1/configs/client_demo", json={"region": "south", "password": "swordfish-1"}
    )
    expected = {"region": "south", "password": "********"}
    assert (put.status_code, put.json()["values"]) == (200, expected)
    assert engine.get("/v1/configs/client_demo")["values"] == expected
    refused = engine.http.put("/v1/configs/client_demo", json={"region": 3})
    assert (refused.status_code, "region" in refused.json()["faultstring"]) == (400, True)
    assert engine.get("/v1/configs/client_demo")["values"] == expected
    assert (engine.data / "configs" / "client_demo.yaml").stat().st_mode & 0o777 == 0o600


def test_an_inquiry_is_answered(st2: StockClient, engine: Served) -> None:
    """inquiry list and get show what is asked; respond refuses a wrong answer and takes a right
    one.
    """
    asked = engine.http.post("/v1/executions", json={"action": "client_demo.asks"}).json()["id"]
    eventually(lambda: engine.get("/v1/inquiries"))
    (listed,) = st2("inquiry list")
    inquiry = listed.rows()[1][0]
    got, wrong, right, again = st2(
        f"inquiry get -j {inquiry}",
        f"""inquiry respond -r '{{"other": 1}}' {inquiry}""",
        f"""inquiry respond -r '{{"word": "plume"}}' {inquiry}""",
        f"""inquiry respond -r '{{"word": "again"}}' {inquiry}""",
    )
    _fine(listed, got, right)
    assert listed.rows()[0] == ["id", "roles", "users", "route", "ttl"]
    assert (got.json()["route"], got.json()["schema"]["properties"]["word"]["type"]) == (
        "developers",
        "string",
    )
    assert (wrong.code != 0, "did not pass schema validation" in wrong) == (True, True)
    assert f"Response accepted for inquiry {inquiry}." in right
    assert again.code != 0
    assert engine.ended(asked)["result"]["output"] == {"word": "plume"}


def test_people_log_in_and_keys_are_made(st2: StockClient, engine: Served) -> None:
    """auth, login and whoami with a password, and API keys that are made, disabled and deleted."""
    Users(engine.data / USERS_FILE).put("ann", None)
    Roles(engine.data / FOLDER).assign("ann", ["observer"])
    wrong, token, login, made = st2(
        "auth st2admin -p wrong",
        f"auth st2admin -p {engine.key} -t",
        f"login st2admin -p {engine.key}",
        "apikey create -k -u ann",
    )
    _fine(token, login, made)
    assert (wrong.code != 0, "Invalid or missing credentials" in wrong) == (True, True)
    assert login.startswith("Logged in as st2admin")
    by_token, by_key = (
        st2("whoami", env={"ST2_API_KEY": "", "ST2_AUTH_TOKEN": token.strip()})[0],
        st2("whoami", "action list -p core", env={"ST2_API_KEY": made.strip()})[0],
    )
    assert 'Currently logged in as "st2admin".' in by_token
    assert "Authentication method: authentication token" in by_token
    assert "Authentication token expire time: 2" in by_token
    assert 'Currently logged in as "ann".' in by_key
    assert "Authentication method: api key" in by_key
    (listed,) = st2("apikey list -j -u ann")
    (key,) = listed.json()
    disabled, got, deleted = st2(
        f"apikey disable {key['id']}", f"apikey get -j {key['id']}", f"apikey delete {key['id']}"
    )
    _fine(listed, disabled, got, deleted)
    assert (got.json()["enabled"], got.json()["key_hash"]) == (False, "********")
    assert engine.http.get("/v1/user", headers={"St2-Api-Key": made.strip()}).status_code == 401
