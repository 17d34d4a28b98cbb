"""An instance that was there and is gone is a loss, which is told and never painted over with an
empty one.
"""

from __future__ import annotations

import pytest
from kubestorm.kinds.database.plan import Create, has_vanished, plan_instance
from kubestorm.kinds.database.plan_changes import Refuse

SERVED = {"endpoint": {"host": "orders.example.com", "port": 5432}}
TOLD = {
    "conditions": [
        {"type": "InstanceAvailable", "reason": "InstanceVanished", "observedGeneration": 3}
    ]
}
REFUSED = {
    "conditions": [
        {"type": "InstanceAvailable", "reason": "RestoreRefused", "observedGeneration": 3}
    ]
}
RESTORE = {"restoreFrom": {"snapshot": "s-1"}}


def database(status, *, generation=3, spec=None, **annotations):
    metadata = {"name": "orders", "generation": generation, "annotations": annotations}
    return {"metadata": metadata, "spec": spec or {}, "status": status}


CASES = {
    "new": (database({}), False),
    "still being created": (
        database({"instanceIdentifier": "ks-orders", "instanceStatus": "creating"}),
        False,
    ),
    "served": (database(SERVED), True),
    "served, restored at first": (database(SERVED, spec=RESTORE), True),
    "told, spec unchanged": (database({**SERVED, **TOLD}, spec=RESTORE), True),
    "told, another field changed": (database({**SERVED, **TOLD}, generation=4), True),
    "told, then restoreFrom": (database({**SERVED, **TOLD}, generation=4, spec=RESTORE), False),
    "refused, the same source": (database({**SERVED, **REFUSED}, spec=RESTORE), False),
    "refused, another source": (
        database({**SERVED, **REFUSED}, generation=4, spec=RESTORE),
        False,
    ),
    "refused, then no source": (database({**SERVED, **REFUSED}, generation=4), True),
    "annotated with its name": (database(SERVED, **{"kubestorm.io/recreate": "orders"}), False),
    "annotated with another word": (database(SERVED, **{"kubestorm.io/recreate": "true"}), True),
}


@pytest.mark.parametrize("resource, lost", CASES.values(), ids=CASES.keys())
def test_a_loss_needs_an_answer_given_after_it(resource, lost):
    """Only its own name in the annotation, or restoreFrom in a spec changed since the loss was
    told, are answers.
    """
    assert has_vanished(resource, resource["metadata"]["generation"]) is lost


@pytest.mark.parametrize(
    "vanished, kind", [(True, Refuse), (False, Create)], ids=["lost", "never there"]
)
def test_a_lost_instance_is_not_created(parsed, vanished, kind):
    """What is absent is created, unless it is absent because it was lost."""
    (decision,) = plan_instance(
        parsed(), None, uid="u", identifier="ks-orders", tags={}, vanished=vanished
    )
    assert isinstance(decision, kind)
