"""The main job from end to end: real clients, real processes, the pack's narrow credentials."""

from __future__ import annotations

import pytest

from tests.e2e import journey, leaks


def test_a_database_comes_changes_and_goes(world):
    """Applied it becomes Ready, resized it follows, deleted with Snapshot it leaves a snapshot and
    nothing else.
    """
    journey.play(world)


INVALID = {
    "size": ({"size": "gigantic"}, "spec.size"),
    "version": ({"version": "3.23"}, "spec.version"),
    "iops": ({"storage": {"sizeGiB": 20, "type": "gp2", "iops": 3000}}, "spec.storage.iops"),
}


@pytest.mark.parametrize("spec, field", INVALID.values(), ids=INVALID.keys())
def test_an_invalid_resource_gets_a_sentence_and_touches_nothing(world, spec, field):
    """What the schema cannot refuse becomes SpecValid=False with the field; AWS, Vault and Consul
    are not called.
    """
    world.apply_example(**spec)
    status, reason, message = world.wait_until(
        lambda: world.condition("SpecValid")[0] == "False" and world.condition("SpecValid"),
        "SpecValid=False",
    )
    assert (status, reason) == ("False", "InvalidSpec")
    assert field in message
    world.wait_until(
        lambda: world.condition("Ready")[:2] == ("False", "InvalidSpec"), "Ready=False"
    )
    assert world.instances() == []
    assert world.published() == {}
    assert world.vault_paths() == []


def test_what_the_schema_can_refuse_never_gets_in(world):
    """An unknown engine and storage below the minimum are refused when they are applied, naming the
    field.
    """
    for spec, field in (
        ({"engine": "oracle"}, "spec.engine"),
        ({"storage": {"sizeGiB": 5}}, "spec.storage.sizeGiB"),
    ):
        refusal = world.environment.refusal(lambda spec=spec: world.apply_example(**spec))
        assert field in refusal


def test_the_password_is_nowhere_in_what_the_engine_wrote(world):
    """Database file, logs and API answers hold no form of the password, and the same search finds a
    planted one.
    """
    planted = "pl4nted+canary/secret=Zz"
    world.apply_example()
    world.wait_until(world.is_ready, "Ready")
    password = world.password()
    world.engine.client.put(
        "/v1/keys/canary", json={"name": "canary", "value": planted}
    ).raise_for_status()
    answers = [
        (path, world.engine.client.get(f"/v1/{path}", params={"limit": 1000}).content)
        for path in (
            "executions",
            "triggerinstances",
            "ruleenforcements",
            "rules",
            "actions",
            "keys",
            "packs",
        )
    ]
    answers += [
        (
            f"executions/{execution['id']}",
            world.engine.client.get(f"/v1/executions/{execution['id']}").content,
        )
        for execution in world.engine.get("executions", limit=1000)
    ]
    status = [("status", repr(world.database()).encode())]
    world.engine.stop()
    written = [
        *leaks.files_below(world.engine.data),
        ("log", world.engine.log_path.read_bytes()),
        *answers,
        *status,
    ]
    assert {name for name, _form in leaks.find(planted, written)} >= {"keys"}
    assert any(".db" in name or "sqlite" in name for name, _form in leaks.find(planted, written))
    assert list(leaks.find(password, written)) == []
