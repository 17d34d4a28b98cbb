"""What the calls answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.engine.serving import Served, eventually


def test_an_execution_shows_what_stackstorm_shows(served: Served) -> None:
    """Action, runner, liveaction, log, times and result; what is empty is left out."""
    done = served.run("engine_demo.greet", name="Bob")
    assert done["status"] == "succeeded"
    assert done["result"]["result"] == {"text": "Hello, Bob", "echo": None}
    assert (done["action"]["ref"], done["runner"]["name"]) == ("engine_demo.greet", "python-script")
    assert done["liveaction"]["action"] == "engine_demo.greet"
    assert served.get(f"/v1/executions/{done['id']}/result") == done["result"]
    assert done["context"] == {"user": "st2admin", "pack": "engine_demo"}
    assert [entry["status"] for entry in done["log"]] == [
        "requested",
        "scheduled",
        "running",
        "succeeded",
    ]
    assert "parent" not in done
    assert "children" not in done


def test_lists_are_filtered_paged_and_shaped(served: Served) -> None:
    """limit, offset, filters, X-Total-Count and include_attributes; slash and /api are the same."""
    for name in ("one", "two", "three"):
        served.run("core.echo", message=name)
    query = {"action": "core.echo", "limit": 2, "include_attributes": "status,action.ref"}
    response = served.http.get("/api/v1/executions/", params=query)
    assert response.headers["X-Total-Count"] == "3"
    assert [sorted(item) for item in response.json()] == [["action", "id", "status"]] * 2
    assert response.json()[0]["action"] == {"ref": "core.echo"}
    rest = served.get("/v1/executions", action="core.echo", limit=2, offset=2)
    assert len(rest) == 1
    assert "result" not in served.get("/v1/executions", limit=1, exclude_attributes="result")[0]


def test_an_event_shows_what_it_led_to(served: Served) -> None:
    """The trigger instance, its enforcements and its executions name each other."""
    body = {"trigger": "engine_demo.happened", "payload": {"name": "Wanda", "number": 7}}
    response = served.http.post("/v1/webhooks/st2", json=body)
    assert (response.status_code, response.json()) == (202, body)
    instance_id = response.headers["X-Trigger-Instance-Id"]
    (run,) = served.get("/v1/executions", trigger_instance=instance_id, parent="null")
    served.ended(run["id"])
    assert served.get(f"/v1/triggerinstances/{instance_id}")["payload"] == body["payload"]
    (enforcement,) = served.get("/v1/ruleenforcements", trigger_instance=instance_id)
    assert enforcement["execution_id"] == run["id"]
    assert enforcement["rule"]["ref"] == "engine_demo.happened_greet"
    assert run["rule"]["ref"] == "engine_demo.happened_greet"
    assert run["trigger_instance"]["id"] == instance_id


def test_why_names_the_criterion_that_failed(served: Served) -> None:
    """Pattern and value of what did not hold, and the tree of what ran."""
    body = {"trigger": "engine_demo.happened", "payload": {"name": "Zoe", "number": 7}}
    instance_id = served.http.post("/v1/webhooks/st2", json=body).headers["X-Trigger-Instance-Id"]
    told = {attempt["rule"]: attempt for attempt in served.get(f"/v1/why/{instance_id}")["rules"]}
    (criterion,) = told["engine_demo.happened_greet"]["criteria"]
    assert (criterion["pattern"], criterion["value"], criterion["passed"]) == ("W", "Zoe", False)
    assert told["engine_demo.happened_never"]["matched"] is False


def test_a_run_can_be_canceled_and_paused(served: Served) -> None:
    """DELETE cancels a workflow and what runs below it; PUT pauses and resumes."""
    parameters = {"label": "x", "file": "/dev/null", "seconds": 30}
    body = {"action": "engine_steps.walk", "parameters": parameters}
    asked = served.http.post("/v1/executions", json=body).json()
    eventually(lambda: served.get(f"/v1/executions/{asked['id']}/children"))
    paused = served.http.put(f"/v1/executions/{asked['id']}", json={"status": "pausing"})
    assert paused.json()["status"] == "pausing"
    assert (
        served.http.put(f"/v1/executions/{asked['id']}", json={"status": "resuming"}).json()[
            "status"
        ]
        == "running"
    )
    assert served.http.delete(f"/v1/executions/{asked['id']}").json()["status"] == "canceling"
    assert served.ended(asked["id"])["status"] == "canceled"
    (child,) = served.get(f"/v1/executions/{asked['id']}/children")
    assert child["status"] == "canceled"
    again = served.http.delete(f"/v1/executions/{asked['id']}")
    assert (again.status_code, again.json()) == (
        200,
        {"faultstring": "Action is already in completed state."},
    )


def test_a_rerun_keeps_and_changes_parameters(served: Served) -> None:
    """re_run merges what is given into what was; secrets are passed on and stay masked."""
    first = served.run("engine_demo.greet", name="Bob", password="sesame-street")
    response = served.http.post(
        f"/v1/executions/{first['id']}/re_run", json={"parameters": {"name": "Eve"}}
    )
    again = served.ended(response.json()["id"])
    assert again["parameters"] == {"name": "Eve", "password": "********"}
    assert again["result"]["result"] == {"text": "Hello, Eve", "echo": "********"}
    assert again["context"]["re-run"] == {"ref": first["id"]}


def test_a_rerun_evaluates_nothing_that_came_from_outside(served: Served) -> None:
    """What an event brought stays as it was, whatever it looks like; what the caller gives now may
    be a template.
    """
    body = {"trigger": "engine_demo.happened", "payload": {"name": "W{{ 6 * 7 }}", "number": 1}}
    instance = served.http.post("/v1/webhooks/st2", json=body).headers["X-Trigger-Instance-Id"]
    (enforced,) = served.get(
        "/v1/ruleenforcements", trigger_instance=instance, rule_ref="engine_demo.happened_greet"
    )
    first = served.ended(enforced["execution_id"])
    assert first["parameters"]["name"] == "W{{ 6 * 7 }}"
    again = served.http.post(f"/v1/executions/{first['id']}/re_run", json={}).json()
    assert served.ended(again["id"])["parameters"]["name"] == "W{{ 6 * 7 }}"
    changed = served.http.post(
        f"/v1/executions/{first['id']}/re_run", json={"parameters": {"name": "X{{ 6 * 7 }}"}}
    )
    assert served.ended(changed.json()["id"])["parameters"]["name"] == "X42"


@pytest.mark.parametrize(
    "body, said",
    [
        ({"tasks": ["first"]}, "only supported for Orquesta"),
        ({"tasks": ["first"], "parameters": {"name": "x"}}, "not supported when re-running"),
        ({"reset": ["first"]}, "does not match the tasks"),
        ({"parameters": {"nam": "x"}}, "'nam' was unexpected"),
        ({"delay": "soon"}, "delay"),
    ],
    ids=[
        "tasks of a chain",
        "tasks and parameters",
        "reset alone",
        "unknown parameter",
        "wrong delay",
    ],
)
def test_a_rerun_that_cannot_be_is_refused(served: Served, body: dict[str, Any], said: str) -> None:
    """400 in StackStorm's words."""
    done = served.run("engine_demo.greet_twice", name="Bob")
    refused = served.http.post(f"/v1/executions/{done['id']}/re_run", json=body)
    assert (refused.status_code, said in refused.json()["faultstring"]) == (400, True), refused.text


def test_keys_are_kept_listed_and_masked(served: Served) -> None:
    """A secret value is shown only with decrypt."""
    served.http.put("/v1/keys/team.name", json={"value": "storm"})
    served.http.put("/v1/keys/team.pin", json={"value": "4711", "secret": True})
    values = {item["name"]: item["value"] for item in served.get("/v1/keys", prefix="team.")}
    assert values == {"team.name": "storm", "team.pin": "********"}
    assert served.get("/v1/keys/team.pin", decrypt="true")["value"] == "4711"
    assert served.http.delete("/v1/keys/team.name").status_code == 204
    assert served.http.get("/v1/keys/team.name").status_code == 404


def test_a_key_lives_as_long_as_was_said(served: Served) -> None:
    """With `ttl` the answer tells when it ends; after that the key is found neither alone nor in
    the list.
    """
    kept = served.http.put("/v1/keys/brief.key", json={"value": "storm", "ttl": 1}).json()
    life = datetime.fromisoformat(kept["expire_timestamp"]) - datetime.now(UTC)
    assert life < timedelta(seconds=2)
    assert eventually(lambda: served.http.get("/v1/keys/brief.key").status_code == 404)
    assert served.get("/v1/keys", prefix="brief.") == []
    assert (
        served.http.put("/v1/keys/brief.key", json={"value": "again"})
        .json()
        .get("expire_timestamp")
        is None
    )
    assert served.get("/v1/keys/brief.key")["value"] == "again"


def test_keys_of_users_are_apart(served: Served) -> None:
    """A key of the caller's own does not hide the system's; the list shows one scope, or all."""
    served.http.put("/v1/keys/scoped.key", json={"value": "everybody's"})
    served.http.put("/v1/keys/scoped.key", json={"value": "mine", "scope": "user"})
    assert served.get("/v1/keys/scoped.key")["value"] == "everybody's"
    assert served.get("/v1/keys/scoped.key", scope="st2kv.user")["value"] == "mine"
    listed = {
        scope: [item["value"] for item in served.get("/v1/keys", prefix="scoped.", scope=scope)]
        for scope in ("system", "user", "all")
    }
    assert listed == {"system": ["everybody's"], "user": ["mine"], "all": ["everybody's", "mine"]}


def test_the_stream_tells_each_step_of_a_run(served: Served) -> None:
    """By StackStorm's names for the execution and for its liveaction, with secrets masked."""
    told: list[tuple[str, str]] = []
    name = ""
    with served.http.stream(
        "GET", "/v1/stream", params={"action_refs": "engine_demo.greet"}
    ) as response:
        for line in response.iter_lines():
            if not told and not name:
                body = {
                    "action": "engine_demo.greet",
                    "parameters": {"name": "Sue", "password": "sesame-street"},
                }
                assert served.http.post("/v1/executions", json=body).status_code == 201
                name = "asked"
            elif line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                assert "sesame-street" not in line
                document = json.loads(line.removeprefix("data: "))
                told.append((name, document["status"]))
                if told[-1] == ("st2.liveaction__update", "succeeded"):
                    break
    assert document["action"] == "engine_demo.greet"
    assert document["result"]["result"] == {"text": "Hello, Sue", "echo": "********"}
    assert told == [
        (f"st2.{kind}__{event}", status)
        for event, status in (
            ("create", "requested"),
            ("update", "running"),
            ("update", "succeeded"),
        )
        for kind in ("execution", "liveaction")
    ]


def test_metrics_count_what_ended(served: Served) -> None:
    """Executions by runner and status, in Prometheus' format."""
    line = 'stormcell_executions_total{runner="local-shell-cmd",status="failed"}'

    def count() -> float:
        lines = served.http.get("/metrics").text.splitlines()
        return sum(float(found.split()[-1]) for found in lines if found.startswith(line))

    before = count()
    assert served.run("core.local", cmd="exit 3")["status"] == "failed"
    assert count() == before + 1


def test_output_is_followed_to_the_end(served: Served) -> None:
    """The stream of an execution's output has what it wrote, then EOF."""
    done = served.run("core.local", cmd="echo first; echo second")
    text = served.http.get(f"/v1/executions/{done['id']}/output").text
    assert text.index("first") < text.index("second") < text.index("event: EOF")


def test_a_workflow_fans_out(served: Served) -> None:
    """An Orquesta workflow with items, delay and a chain below it runs through the same driver."""
    done = served.run("engine_demo.fan_out", names=["a", "b"])
    assert done["status"] == "succeeded", done
    assert done["result"]["output"] == {"all": ["Hello, a", "Hello, b"], "last": "Hello, Hello, 2!"}


@pytest.mark.parametrize(
    "kind", ["actions", "rules", "triggertypes", "triggers", "sensortypes", "packs", "runnertypes"]
)
def test_content_is_listed_and_found_by_ref_and_id(served: Served, kind: str) -> None:
    """Each thing of a list is found under its id and its ref."""
    for item in served.get(f"/v1/{kind}", limit=5):
        assert served.get(f"/v1/{kind}/{item['id']}") == item
        assert served.get(f"/v1/{kind}/{item.get('ref') or item['name']}") == item
