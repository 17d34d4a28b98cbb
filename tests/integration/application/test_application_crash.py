"""A run that dies anywhere, or is repeated in any order, ends like one that does not."""

from __future__ import annotations

import itertools

import pytest
from kubestorm.core.naming import identity_of
from kubestorm.kinds.application.act import ApplicationRun

from tests.integration.application.conftest import STEPS
from tests.kube_shapes import stable

KINDS = ("deployments", "services", "ingresses", "horizontalpodautoscalers", "poddisruptionbudgets")


def run_steps(world, names) -> None:
    """Steps by themselves, as a run does them that another has overtaken, or a person repairing."""
    resource = world.get()
    services = world.services()
    run = ApplicationRun(services, identity_of("test", "applications", resource), "one-run")
    for name in names:
        run.handle.while_leased(lambda name=name: STEPS[name](run))
    services.close()


def wished(found):
    """What the pack says of an object; not what controllers say."""
    if found is None:
        return None
    spec = {key: value for key, value in stable(found).items() if key != "status"}
    spec["metadata"] = {
        key: value
        for key, value in spec["metadata"].items()
        if key not in ("ownerReferences", "generation")
    }
    for key in ("deployment.kubernetes.io/revision", "autoscaling.alpha.kubernetes.io/conditions"):
        spec["metadata"].get("annotations", {}).pop(key, None)
    return spec


@pytest.mark.parametrize("died_after", [None, *STEPS])
def test_a_run_that_died_is_finished_by_the_next(world, died_after):
    """After any step, with what it has made there already."""
    host = f"crash.{world.namespace}.example.com"
    spec = {"replicas": {"min": 2, "max": 3}, "expose": {"type": "ingress", "hosts": [host]}}
    world.apply(**spec)
    world.want_image()
    names = list(STEPS)
    if died_after:
        run_steps(world, names[: names.index(died_after) + 1])
    world.reconcile()
    made = {plural: wished(world.get(plural)) for plural in KINDS}
    assert all(made.values())
    assert made["deployments"]["spec"]["replicas"] == 2
    assert [world.condition(kind)[0] for kind in ("SpecValid", "HostClaimed", "Applied")] == [
        "True"
    ] * 3


def test_steps_in_any_order_come_to_the_same(world, kube):
    """Each reads the object again and takes nothing from another but whether to act."""
    if kube.is_real:
        pytest.skip("the order of our own steps has nothing to do with whose API it is")
    world.apply(replicas={"min": 2})
    world.want_image()
    world.reconcile()
    expected = {plural: wished(world.get(plural)) for plural in KINDS}
    for order in itertools.permutations(STEPS):
        run_steps(world, order)
        assert {plural: wished(world.get(plural)) for plural in KINDS} == expected
