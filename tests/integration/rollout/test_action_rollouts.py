"""The actions of rollouts as an engine calls them: parameters in, one wish on the object, a result
out.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import stormcell
from kubestorm.clients.lease import LeaseLock
from kubestorm.kinds.common.resource import ResourceHandle

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", autouse=True)
def _st2() -> Any:
    path = str(Path(stormcell.__file__).parent / "shims" / "st2")
    sys.path.append(path)
    yield
    sys.path.remove(path)


def run(action: str, config: dict[str, Any], /, **parameters: Any) -> tuple[bool, Any]:
    """Load an action's file, and run its one class."""
    spec = importlib.util.spec_from_file_location(
        f"pack_action_{action}", ROOT / "actions" / f"{action}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (kind,) = (
        one
        for one in vars(module).values()
        if isinstance(one, type) and one.__module__ == spec.name
    )
    return kind(config=config).run(**parameters)


def test_the_wishes_of_people(world):
    """Each is written down, with who asked, and says what will happen; nonsense is refused in
    a sentence.
    """
    world.apply()
    here = {"namespace": world.namespace, "name": world.name}
    done, said = run("application_abort", world.config, **here, requested_by="bob")
    assert (done, said["reason"]) == (False, "PackNotFound")
    assert "no rollout under way" in said["message"]
    done, said = run("application_freeze", world.config, **here, owner="carol", reason="audit")
    assert done, said
    frozen = world.get("applications")["status"]["requests"]["freeze"]
    assert (frozen["by"], frozen["owner"], frozen["reason"]) == ("carol", "carol", "audit")
    done, said = run(
        "application_rollout", world.config, **here, image="sha256:" + "a" * 64, requested_by="bob"
    )
    assert not done
    assert "frozen by carol" in said["message"]
    assert run("application_unfreeze", world.config, **here)[0]
    done, said = run(
        "application_rollout", world.config, **here, image="sha256:" + "a" * 64, requested_by="bob"
    )
    assert done, said
    assert (
        '"actor": "bob"'
        in world.get("applications")["metadata"]["annotations"]["kubestorm.io/wanted-image"]
    )
    done, said = run("application_rollback", world.config, **here, to="1.0")
    assert not done
    assert "its history holds: none" in said["message"]
    assert run("application_scale", world.config, **here, replicas=2)[0]
    assert world.get("applications")["spec"]["replicas"] == {"min": 2}
    done, said = run("application_history", world.config, **here)
    assert (done, said["rollouts"]) == (True, [])
    assert said["requests"]["image"]["actor"] == "bob"
    done, said = run("application_logs", world.config, **here)
    assert (done, said["pods"]) == (True, {})
    done, said = run("application_promote", world.config, **here)
    assert not done


def test_a_push_is_routed(world):
    """Parameters as the rule passes them."""
    world.apply()
    done, said = run(
        "image_route",
        world.config,
        registry="registry.test",
        repository="team/cart",
        digest="sha256:" + "a" * 64,
        tag="1.0.0",
        pushed_at="2026-01-01T00:00:00Z",
        actor="ann",
        event_id="e1",
    )
    assert done, said
    assert f"{world.namespace}/cart" in said["updated"]
    assert (
        run("image_route", world.config, registry="r", repository="x", digest="latest")[0] is False
    )


def test_two_runs_of_one_application_never_meet(world, monkeypatch):
    """The second finds the Lease of the Application taken, ends well, and the Rollout is looked at
    again.
    """
    world.apply()
    world.push("1.0.0")
    world.run_application()
    metadata = world.newest()["metadata"]
    identity = {
        "cluster": "test",
        "namespace": world.namespace,
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    monkeypatch.setitem(ResourceHandle.while_leased.__kwdefaults__, "wait_seconds", 0.0)
    services = world.services()
    uid = world.get("applications")["metadata"]["uid"]
    lease = LeaseLock(services.kube, uid, holder="another-run")
    with lease:
        done, said = run("rollout_advance", world.config, **identity)
        assert (done, said["skipped"]) == (True, True)
        assert "another-run" in said["message"]
        assert world.status()["requeueAt"]
        assert "phase" not in world.status()
    done, said = run("rollout_advance", world.config, **identity)
    assert (done, said["phase"], said["requested_by"]) == (True, "Progressing", "ann")
