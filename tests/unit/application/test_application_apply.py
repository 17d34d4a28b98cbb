"""The decisions around server-side apply: what is compared, what is left out, what is never given
away.
"""

from __future__ import annotations

import pytest
from kubestorm.clients.kube_errors import FieldConflict
from kubestorm.kinds.application import apply, render
from kubestorm.kinds.application.observe import Image, current_image, good_image
from kubestorm.kinds.application.plan import url_of
from kubestorm.kinds.application.status import deployment_condition, refused

SAME = {
    "equal": ({"a": 1}, {"a": 1}, True),
    "more is there": ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}, True),
    "less is there": ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, False),
    "another value": ({"a": 1}, {"a": 2}, False),
    "plain list": ({"a": [1, 2]}, {"a": [1, 2, 3]}, False),
    "named list": (
        {"a": [{"name": "x", "v": 1}]},
        {"a": [{"name": "y"}, {"name": "x", "v": 1, "w": 2}]},
        True,
    ),
    "named list without it": ({"a": [{"name": "x"}]}, {"a": [{"name": "y"}]}, False),
    "nothing there": ({"a": [1]}, {}, False),
    "false and absent": ({"a": False}, {}, False),
}


@pytest.mark.parametrize("wanted, live, same", SAME.values(), ids=SAME)
def test_what_is_there_is_compared_with_what_is_wished(wanted, live, same):
    """What others added is no difference."""
    assert apply.is_same(wanted, live) is same


MANIFEST = {
    "metadata": {"labels": {"kubestorm.io/application": "cart", "a.b/c.d": "x"}},
    "spec": {
        "replicas": 2,
        "ports": [
            {"port": 80, "protocol": "TCP", "targetPort": 1},
            {"port": 81, "protocol": "TCP", "targetPort": 2},
        ],
        "template": {
            "spec": {
                "containers": [{"name": "app", "env": [{"name": "A", "value": "1"}], "image": "i"}]
            }
        },
    },
}
LEFT_OUT = {
    ".spec.replicas": lambda m: "replicas" not in m["spec"],
    ".metadata.labels.a.b/c.d": lambda m: (
        list(m["metadata"]["labels"]) == ["kubestorm.io/application"]
    ),
    '.spec.ports[port=80,protocol="TCP"].targetPort': lambda m: (
        m["spec"]["ports"][0] == {"port": 80, "protocol": "TCP"}
    ),
    '.spec.ports[port=81,protocol="TCP"]': lambda m: len(m["spec"]["ports"]) == 1,
    '.spec.template.spec.containers[name="app"].env[name="A"].value': lambda m: (
        m["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "A"}]
    ),
    ".spec.unknown": lambda m: m == MANIFEST,
}


@pytest.mark.parametrize("field, check", LEFT_OUT.items(), ids=LEFT_OUT)
def test_a_field_is_left_out_by_its_path(field, check):
    """As the API server writes paths: keys may hold dots, elements are named by their keys."""
    before = repr(MANIFEST)
    assert check(apply.without(MANIFEST, [field]))
    assert repr(MANIFEST) == before


OURS = {
    '.spec.template.spec.containers[name="app"].image': True,
    ".spec.selector": True,
    ".metadata.labels.kubestorm.io/application": True,
    ".metadata.labels.app.kubernetes.io/managed-by": True,
    ".spec.template.metadata.annotations.kubestorm.io/config-hash": True,
    ".data.PASSWORD": True,
    ".spec.replicas": False,
    '.spec.template.spec.containers[name="log"].image': False,
    '.spec.template.spec.containers[name="app"].resources.limits.cpu': False,
    ".metadata.annotations.other.io/x": False,
    ".spec.minReplicas": False,
}


@pytest.mark.parametrize("field, ours", OURS.items(), ids=OURS)
def test_what_the_pack_alone_decides(field, ours):
    """Everything else is left to whoever owns it."""
    assert apply.is_ours(field) is ours


def test_a_secrets_hash_says_nothing_of_its_values():
    """The same keys give the same hash."""
    one, two, three = (
        render.stamped({"kind": "Secret", "metadata": {"name": "s"}, "data": data})["metadata"][
            "annotations"
        ]
        for data in ({"A": "eA=="}, {"A": "eQ=="}, {"B": "eA=="})
    )
    assert one == two != three


def test_only_a_number_of_pods_is_nothing_serious():
    """A person may set it."""
    replicas, ports = (
        FieldConflict(".spec.replicas", "kubectl"),
        FieldConflict(".spec.ports", "mesh"),
    )
    assert not apply.is_serious([apply.Outcome("Deployment", "cart", apply.CHANGED, (replicas,))])
    assert apply.is_serious([apply.Outcome("Service", "cart", apply.CHANGED, (replicas, ports))])


def deployment(wanted: int = 2, generation: int = 1, **status) -> dict:
    return {"metadata": {"generation": generation}, "spec": {"replicas": wanted}, "status": status}


STALLED = {
    "type": "Progressing",
    "status": "False",
    "reason": "ProgressDeadlineExceeded",
    "message": "timed out",
}
QUOTA = {
    "type": "ReplicaFailure",
    "status": "True",
    "reason": "FailedCreate",
    "message": "exceeded quota",
}
JUDGED = {
    "new": (deployment(), "False", "RollingOut"),
    "not observed": (
        deployment(
            generation=2, observedGeneration=1, replicas=2, updatedReplicas=2, availableReplicas=2
        ),
        "False",
        "RollingOut",
    ),
    "under way": (
        deployment(observedGeneration=1, replicas=3, updatedReplicas=1, availableReplicas=2),
        "False",
        "RollingOut",
    ),
    "old pods left": (
        deployment(observedGeneration=1, replicas=3, updatedReplicas=2, availableReplicas=2),
        "False",
        "RollingOut",
    ),
    "done": (
        deployment(observedGeneration=1, replicas=2, updatedReplicas=2, availableReplicas=2),
        "True",
        "RolledOut",
    ),
    "none wanted": (deployment(wanted=0, observedGeneration=1), "True", "RolledOut"),
    "stalled": (
        deployment(observedGeneration=1, conditions=[STALLED]),
        "False",
        "ProgressDeadlineExceeded",
    ),
    "quota": (
        deployment(observedGeneration=1, conditions=[STALLED, QUOTA]),
        "False",
        "FailedCreate",
    ),
}


@pytest.mark.parametrize("live, status, reason", JUDGED.values(), ids=JUDGED)
def test_a_deployment_is_judged_by_its_own_word(live, status, reason):
    """For its present generation, with every old pod gone."""
    found = deployment_condition(live)
    assert (found.status, found.reason) == (status, reason)


DUE = {"active": "", "good": "", "good_tag": "", "reason": "", "message": ""}


def test_a_failed_rollouts_own_words_stay():
    """Until another image is wished for, or this one asked for again."""
    failed = {
        "type": "RolledOut",
        "status": "False",
        "reason": "ImagePullFailed",
        "message": "1.3 failed: no such image",
    }
    due = {**DUE, "reason": "DigestRefused", "message": "1.3 is not tried again."}
    status = {"conditions": [failed], "rollout": {"phase": "Failed"}}
    assert refused(due, status)[2:] == ("ImagePullFailed", "1.3 failed: no such image")
    assert refused(due, {})[2:] == ("DigestRefused", "1.3 is not tried again.")


def test_the_image_is_the_last_good_one():
    """Of the history first, of the Deployment where there is none."""
    assert good_image({**DUE, "good": "sha256:aa", "good_tag": "1"}) == Image("sha256:aa", "1")
    assert good_image(DUE) is None
    container = {"name": "app", "image": "r/x@sha256:bb"}
    live = {
        "metadata": {"annotations": {"kubestorm.io/image-tag": "2"}},
        "spec": {
            "template": {
                "spec": {"containers": [{"name": "log", "image": "l@sha256:cc"}, container]}
            }
        },
    }
    assert current_image(live) == Image("sha256:bb", "2")
    assert current_image(None) is None


ADDRESSES = {
    "inside": ({}, (), "http://cart.shop.svc/"),
    "another port": ({"expose": {"port": 8000}}, (), "http://cart.shop.svc:8000/"),
    "host": (
        {"expose": {"type": "ingress", "hosts": ["a.example.com"]}},
        ("a.example.com",),
        "https://a.example.com/",
    ),
    "plain host": (
        {"expose": {"type": "ingress", "hosts": ["a.example.com"], "tls": False, "path": "/cart"}},
        ("a.example.com",),
        "http://a.example.com/cart",
    ),
    "another's host": (
        {"expose": {"type": "ingress", "hosts": ["a.example.com"]}},
        (),
        "http://cart.shop.svc/",
    ),
    "balancer": ({"expose": {"type": "loadBalancer", "port": 8000}}, (), "http://192.0.2.1:8000/"),
    "no port": ({"port": None, "health": {"command": ["true"]}}, (), None),
}


@pytest.mark.parametrize("spec, granted, url", ADDRESSES.values(), ids=ADDRESSES)
def test_where_it_is_reached(parsed, spec, granted, url):
    """As far out as it is exposed."""
    service = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    assert url_of(parsed(**spec), granted, service) == url
