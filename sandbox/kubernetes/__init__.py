"""A small and faithful Kubernetes API server, for tests and demonstrations on one machine.

    app = KubernetesApi()
    with Server(app, certificate=make_certificate()) as server:
        Path("kubeconfig").write_text(kubeconfig_text(server, app.token))

The official Python client, kubectl and raw HTTP watches drive it unchanged: discovery, OpenAPI,
CustomResourceDefinitions, the core kinds, versions and generations, lists in pages, watches that
resume, every patch type, server-side apply, finalizers, garbage collection by owner, namespace
deletion, dry runs, tables, bearer tokens, RBAC.

Kept in memory only. Left out: protobuf bodies, admission webhooks and other admission plugins
(quotas and limit ranges are stored, not enforced), CEL rules in schemas, conversion webhooks,
aggregated API servers, client certificates, impersonation, exec/attach/port-forward, priority and
fairness, audit, and the checks of most fields of the core kinds (defaults and checks exist for what
controllers and kubectl rely on; other fields are stored as given), and their OpenAPI schemas
(`kubectl explain` knows the fields of CustomResourceDefinitions alone). A pod's log is an
annotation (`sandbox.kubestorm.io/log`). No controller of workloads runs in here; those are clients
of the API.
"""

from __future__ import annotations

from sandbox.kubernetes.app import KubernetesApi
from sandbox.kubernetes.auth import User
from sandbox.kubernetes.config import kubeconfig, kubeconfig_text

__all__ = ["KubernetesApi", "User", "kubeconfig", "kubeconfig_text"]
