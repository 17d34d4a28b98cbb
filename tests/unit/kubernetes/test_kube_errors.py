"""What a refusal of the API server means, as a sentence."""

from __future__ import annotations

import json

from kubestorm.clients.kube_errors import Request, from_response


def test_an_apply_that_may_not_make_its_object_names_the_verb_create() -> None:
    """The API server gives no reason for it, and what was asked is a patch."""
    asked = Request("patch", "apps", "deployments", "shop", "cart")
    body = {"kind": "Status", "message": 'deployments.apps "cart" is forbidden: '}
    error = from_response(403, {}, json.dumps(body).encode(), asked)
    assert str(error) == (
        "Kubernetes forbids create deployments.apps cart in namespace shop; grant this account a "
        'Role in namespace "shop" with the rule {apiGroups: ["apps"], resources: ["deployments"], '
        'verbs: ["create"]}; kubestorm-rbac prints all that the configuration needs'
    )
