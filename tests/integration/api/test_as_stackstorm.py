"""Where stormcell answered otherwise than StackStorm 3.9; each test names the file it follows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.engine.serving import PACKS, Served, eventually

SECRET = "tr0ub4dor-and-3"
CHAIN = """\
name: %s
runner_type: action-chain
entry_point: chains/%s.yaml
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("as-stackstorm")
    pack = folder / "chained"
    (pack / "actions" / "chains").mkdir(parents=True)
    (pack / "pack.yaml").write_text(
        "ref: chained\nname: chained\ndescription: x\nversion: 1.0.0\nauthor: a\n"
        "email: a@example.com\n"
    )
    for name, chain in {
        "empty": "chain: []\n",
        "uncast": "chain:\n- {name: a, ref: chained.count, parameters: {number: many},"
        " on-failure: b}\n- {name: b, ref: core.noop}\n",
        "outer": "chain:\n- {name: a, ref: chained.inner}\n",
        "inner": "chain:\n- {name: b, ref: core.noop, on-success: c}\n"
        "- {name: c, ref: core.noop}\n",
    }.items():
        (pack / "actions" / f"{name}.yaml").write_text(CHAIN % (name, name))
        (pack / "actions" / "chains" / f"{name}.yaml").write_text(chain)
    (pack / "actions" / "count.yaml").write_text(
        "name: count\nrunner_type: noop\nparameters: {number: {type: integer}}\n"
    )
    served = Served(folder / "data", pack, PACKS / "engine_demo")
    yield served
    assert served.stop() == 0


def _below(served: Served, execution_id: str, **query: int) -> list[str]:
    found = served.get(f"/v1/executions/{execution_id}/children", **query)
    return [one["action"]["ref"] for one in found]


def test_children_are_all_that_is_below(served: Served) -> None:
    """get_descendants in st2common/services/executions.py: depth first, all by default."""
    done = served.run("chained.outer")
    every = ["chained.inner", "core.noop", "core.noop"]
    assert _below(served, done["id"]) == every
    assert _below(served, done["id"], depth=-1) == every
    assert _below(served, done["id"], depth=0) == every
    assert _below(served, done["id"], depth=1) == ["chained.inner"]
    assert _below(served, done["id"], depth=2) == every


def test_administrators_may_ask_for_secrets(served: Served) -> None:
    """_get_mask_secrets in st2api/controllers/base.py: from anybody else `show_secrets` counts for
    nothing.
    """
    done = served.run("engine_demo.greet", name="x", password=SECRET)
    path = f"/v1/executions/{done['id']}"
    assert done["parameters"]["password"] == "********"
    assert served.get(path, show_secrets="true")["parameters"]["password"] == SECRET
    with served.client_of("ruth", "admin") as ruth, served.client_of("otto", "operator") as otto:
        assert SECRET in ruth.get(path, params={"show_secrets": "true"}).text
        for each in (path, "/v1/executions"):
            assert SECRET not in otto.get(each, params={"show_secrets": "true"}).text
        narrow = ruth.post("/v1/apikeys", json={"metadata": {"scopes": ["execute"]}}).json()["key"]
        shown = ruth.get(path, params={"show_secrets": "true"}, headers={"St2-Api-Key": narrow})
        assert (shown.status_code, SECRET in shown.text) == (200, False)


def test_an_uncast_parameter_fails_the_chain(served: Served) -> None:
    """_build_liveaction_object of action_chain_runner.py: outside of what on-failure answers."""
    done = served.run("chained.uncast")
    assert done["status"] == "failed"
    assert done["result"]["tasks"] == []
    assert "number" in done["result"]["error"]
    assert _below(served, done["id"]) == []


def test_an_empty_chain_fails(served: Served) -> None:
    """ChainHolder of action_chain_runner.py: there is no default node."""
    done = served.run("chained.empty")
    assert done["status"] == "failed"
    assert done["result"]["error"] == "Failed to find default node in the chain."


def test_a_user_implies_the_scope_of_users(served: Served) -> None:
    """get_one and get_all of st2api/controllers/v1/keyvalue.py."""
    for scope, value in (("user", "own"), ("system", "everybody's")):
        body = {"value": value, "scope": scope}
        assert served.http.put("/v1/keys/color", json=body).status_code == 200
    assert served.get("/v1/keys/color")["value"] == "everybody's"
    assert served.get("/v1/keys/color", user="st2admin")["value"] == "own"
    assert [key["value"] for key in served.get("/v1/keys", user="st2admin")] == ["own"]


@pytest.mark.parametrize(
    "sent, tag", [({}, r"webhook-x/y-[0-9a-f]{32}"), ({"St2-Trace-Tag": "mine"}, "mine")]
)
def test_each_webhook_has_a_trace_tag(served: Served, sent: dict[str, str], tag: str) -> None:
    """_create_trace_context of st2api/controllers/v1/webhooks.py."""
    rule = {
        "name": "hooked",
        "pack": "chained",
        "enabled": True,
        "trigger": {"type": "core.st2.webhook", "parameters": {"url": "x/y"}},
        "action": {"ref": "core.noop"},
    }
    served.http.post("/v1/rules", json=rule)
    called = served.http.post("/v1/webhooks/x/y", json={}, headers=sent)
    instance = called.headers["X-Trigger-Instance-Id"]
    (run,) = eventually(lambda: served.get("/v1/executions", trigger_instance=instance))
    assert re.fullmatch(tag, run["context"]["trace_context"]["trace_tag"])


@pytest.mark.parametrize(
    "number, kept",
    [("{{ trigger.nobody }}", []), (None, [{"cmd": "{{ trigger.nobody }}"}])],
    ids=["does-not-fit", "fits"],
)
def test_parameters_of_a_rule_that_fail_to_render(
    served: Served, number: str | None, kept: list[dict[str, str]]
) -> None:
    """_invoke_action of st2reactor/rules/enforcer.py: a failed enforcement, and a failed execution
    where the parameters as written fit the action.
    """
    action = {"ref": "core.local", "parameters": {"cmd": "{{ trigger.nobody }}"}}
    if number is not None:
        action = {"ref": "chained.count", "parameters": {"number": number}}
    rule = {
        "name": f"unrendered-{len(kept)}",
        "pack": "chained",
        "enabled": True,
        "trigger": {"type": "engine_demo.happened"},
        "action": action,
    }
    assert served.http.post("/v1/rules", json=rule).status_code == 201
    emitted = served.http.post(
        "/v1/webhooks/st2", json={"trigger": "engine_demo.happened", "payload": {"name": "x"}}
    )
    instance = emitted.headers["X-Trigger-Instance-Id"]
    ref = f"chained.{rule['name']}"
    (enforced,) = served.get("/v1/ruleenforcements", trigger_instance=instance, rule_ref=ref)
    assert (enforced["status"], "execution_id" in enforced) == ("failed", bool(kept))
    assert "nobody" in enforced["failure_reason"]
    runs = served.get("/v1/executions", trigger_instance=instance, rule=ref)
    assert [run["parameters"] for run in runs] == kept
    assert {run["status"] for run in runs} <= {"failed"}
    assert all("nobody" in run["result"]["error"] for run in runs)
