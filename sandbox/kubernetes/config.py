"""The kubeconfig by which clients find a server."""

from __future__ import annotations

import base64
from typing import Any

import yaml

from sandbox.serving import Server

Json = dict[str, Any]


def kubeconfig(
    server: Server, token: str, *, namespace: str = "default", name: str = "sandbox"
) -> Json:
    """A kubeconfig with one cluster, one user and one context, as a dict
    (`kubernetes.config.load_kube_config_from_dict`).
    """
    cluster: Json = {"server": server.url}
    if server.certificate:
        cluster["certificate-authority-data"] = base64.b64encode(
            server.certificate.ca.encode()
        ).decode()
    context = {"cluster": name, "user": name, "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": context}],
    }


def kubeconfig_text(
    server: Server, token: str, *, namespace: str = "default", name: str = "sandbox"
) -> str:
    """The same as the text of a file. It holds the token: write it with mode 0600."""
    return yaml.safe_dump(
        kubeconfig(server, token, namespace=namespace, name=name), sort_keys=False
    )
