"""A kind whose CRD has no status subresource (`status: object`): the same journey, written into the
object itself.
"""

from __future__ import annotations

import copy
import functools

import pytest
import yaml
from kubestorm.core.naming import identity_of
from kubestorm.kinds.database import act as steps
from kubestorm.kinds.database.act_deletion import tear_down
from kubestorm.kinds.database.run import DatabaseRun
from kubestorm.people.approval import gate

from tests.integration.database.conftest import ROOT
from tests.kube_fixtures import eventually

GROUP = "plain.example.com"


@pytest.fixture
def plain(world):
    """The kind of 2016 without a subresource, one object of it, and one run of the journey as a
    function.
    """
    crd = yaml.safe_load((ROOT / "examples" / "mysqldb" / "mysqldbs.yaml").read_text())
    crd = copy.deepcopy(crd)
    crd["metadata"]["name"] = f"mysqldbs.{GROUP}"
    crd["spec"]["group"] = GROUP
    del crd["spec"]["versions"][0]["subresources"]
    world.http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=crd)
    url = f"/apis/{GROUP}/v1/namespaces/{world.namespace}/mysqldbs"
    eventually(lambda: world.http.get(url).is_success, "the kind is served")
    ours = yaml.safe_load((ROOT / "examples" / "mysqldb" / "config.yaml").read_text())["database"]
    ours["kinds"][0].update(group=GROUP, status="object")
    world.config["database"].update(ours)
    manifest = yaml.safe_load((ROOT / "examples" / "mysqldb" / "mysqldb.yaml").read_text())
    manifest.update(apiVersion=f"{GROUP}/v1", on_delete="Snapshot")
    manifest["metadata"]["namespace"] = world.namespace
    world.http.post(url, json=manifest).raise_for_status()
    return Plain(world, f"{url}/legacy")


class Plain:
    """One object and its runs."""

    def __init__(self, world, url):
        self.world, self.url = world, url

    def get(self):
        answer = self.world.http.get(self.url)
        return answer.json() if answer.is_success else None

    def reconcile(self):
        identity = identity_of("test", "mysqldbs", self.get())
        run = DatabaseRun(self.world.services(), identity, "run")
        if self.get()["metadata"].get("deletionTimestamp"):
            return run.handle.while_leased(lambda: tear_down(run, gate.deletion))
        result = {}
        for step in (steps.ensure_credentials, steps.ensure_instance, steps.publish):
            found = run.handle.while_leased(functools.partial(step, run))
            result = found if "decisions" in found else result
        return result

    def condition(self, kind):
        found = ((self.get() or {}).get("status") or {}).get("conditions") or []
        return next(((one["status"], one["reason"]) for one in found if one["type"] == kind), None)

    def until_ready(self):
        for _ in range(8):
            self.reconcile()
            if self.condition("Ready") == ("True", "Ready"):
                return
            self.world.let_aws_finish()
        raise AssertionError(self.get())


def test_it_becomes_ready_and_a_second_look_writes_nothing(plain):
    """The API counts a generation for each write of status too, so it is not looked at."""
    plain.until_ready()
    before = plain.get()
    assert before["metadata"]["generation"] > 1
    plain.reconcile()
    assert plain.get() == before


def test_a_change_is_carried_out_and_the_fields_beside_status_stay(plain):
    """Status is merged into the object, never written over it."""
    plain.until_ready()
    headers = {"content-type": "application/merge-patch+json"}
    plain.world.http.patch(
        plain.url, json={"instance_size": "small"}, headers=headers
    ).raise_for_status()
    assert plain.reconcile()["decisions"] == ["Modify"]
    assert plain.condition("Ready") == ("False", "Modifying")
    plain.until_ready()
    found = plain.get()
    assert (found["instance_size"], found["engine_version"], found["on_delete"]) == (
        "small",
        "5.6.23",
        "Snapshot",
    )
    observed = plain.world.services().rds.describe(found["status"]["instanceIdentifier"])
    assert observed.instance_class == "db.t3.small"


def test_what_is_wrong_is_told_in_its_own_words_and_it_ends_like_any_other(plain):
    """instance_size, and not spec.size; and the deletion goes to its snapshots."""
    plain.until_ready()
    headers = {"content-type": "application/merge-patch+json"}
    plain.world.http.patch(
        plain.url, json={"instance_size": "gigantic"}, headers=headers
    ).raise_for_status()
    plain.reconcile()
    messages = [
        one["message"] for one in plain.get()["status"]["conditions"] if one["type"] == "Ready"
    ]
    assert messages[0].startswith("instance_size: 'gigantic' is not offered")
    plain.world.http.delete(plain.url).raise_for_status()
    for _ in range(12):
        if plain.get() is None:
            break
        plain.reconcile()
        plain.world.let_aws_finish()
    assert plain.get() is None
