"""The world around Applications: a Kubernetes API with the CRDs, Vault and Consul."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import yaml

from tests.kube_fixtures import eventually

ROOT = Path(__file__).resolve().parents[3]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "/apis/kubestorm.io/v1alpha1"


@pytest.fixture
def applications(http: httpx.Client, namespace: str) -> str:
    """The kinds are served; the path of this namespace's Applications."""
    for plural in ("applications", "databases"):
        crd = yaml.safe_load((ROOT / "crds" / f"{plural}.kubestorm.io.yaml").read_text())
        assert http.post(CRDS, json=crd).status_code in (httpx.codes.CREATED, httpx.codes.CONFLICT)
        eventually(lambda plural=plural: http.get(f"{GROUP}/{plural}").is_success, f"{plural} are served")
    return f"{GROUP}/namespaces/{namespace}/applications"
