"""How the pretend node pulls images: a registry on loopback is really asked, all other images are
taken as there.

The registry's own answer then decides what becomes of the pod: an image that is not there or not
allowed gives ErrImagePull with the registry's words, and the labels of one that is there say how
its program behaves:

| label of the image | what it says |
|---|---|
| `sandbox.kubestorm.io/fate` | a word of `sandbox.kubernetes.podlife`: crash, unready, fail |
| `sandbox.kubestorm.io/log` | the program's output |

Credentials are those of the pod's pull secrets, as a kubelet uses them: a key is a host, or a
host with the beginning of a repository, and the longest that fits counts.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, NamedTuple

import httpx

from sandbox.kubernetes.client.api import SECRETS, Api, ApiError, Manifest
from sandbox.kubernetes.podlife import FATE_ANNOTATION, PULL_ERROR_ANNOTATION, Fate
from sandbox.kubernetes.subresources import LOG_ANNOTATION

LOOPBACK_IMAGE = re.compile(
    r"(?P<host>127\.0\.0\.1:\d+)/(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>.+))?$"
)
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
TIMEOUT_SECONDS = 10.0

Annotations = dict[str, str]


class PullError(Exception):
    """The registry's reason why an image cannot be had."""


class Reference(NamedTuple):
    """An image of a registry on loopback."""

    host: str
    repository: str
    version: str
    """A tag or a digest."""


def parse(image: str) -> Reference | None:
    """Read an image's name; None for one that no registry on loopback has."""
    found = LOOPBACK_IMAGE.match(image)
    if not found:
        return None
    return Reference(
        found["host"], found["repository"], found["digest"] or found["tag"] or "latest"
    )


class Puller:
    """Asks registries on loopback what a pod's images are, as annotations that `podlife`
    understands.
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    async def look(self, pod: Manifest) -> Annotations:
        """The annotations that the pod's images decree; empty where none of them is a real one, or
        all are fine.
        """
        decreed: Annotations = {}
        for container in pod["spec"]["containers"]:
            reference = parse(container["image"])
            if reference is None:
                continue
            try:
                labels = await self._labels(reference, await self._credentials(pod, reference))
            except (PullError, httpx.HTTPError, KeyError, ValueError) as error:
                return {
                    FATE_ANNOTATION: Fate.BROKEN.value,
                    PULL_ERROR_ANNOTATION: str(error) or type(error).__name__,
                }
            decreed |= {
                key: labels[key] for key in (FATE_ANNOTATION, LOG_ANNOTATION) if key in labels
            }
        return decreed

    async def _credentials(self, pod: Manifest, reference: Reference) -> tuple[str, str] | None:
        image = f"{reference.host}/{reference.repository}"
        for named in pod["spec"].get("imagePullSecrets") or ():
            try:
                secret = await self._api.get(
                    SECRETS.path(pod["metadata"]["namespace"], named["name"])
                )
            except ApiError:
                continue  # a kubelet goes on without a secret that is not there
            document = json.loads(
                base64.b64decode((secret.get("data") or {}).get(".dockerconfigjson", "e30="))
            )
            auths = document.get("auths") or {}
            entry = auths.get(max(filter(image.startswith, auths), key=len, default="")) or {}
            if "auth" in entry:
                user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
                return user, password
            if "username" in entry:
                return str(entry["username"]), str(entry["password"])
        return None

    async def _labels(self, reference: Reference, auth: tuple[str, str] | None) -> dict[str, str]:
        base = f"http://{reference.host}/v2/{reference.repository}"
        async with httpx.AsyncClient(auth=auth, timeout=TIMEOUT_SECONDS, trust_env=False) as http:
            manifest = await _manifest(http, base, reference.version)
            if manifest.get("mediaType") in INDEX_TYPES:
                manifest = await _manifest(http, base, manifest["manifests"][0]["digest"])
            config = _answered(await http.get(f"{base}/blobs/{manifest['config']['digest']}"))
            return (json.loads(config.content).get("config") or {}).get("Labels") or {}


async def _manifest(http: httpx.AsyncClient, base: str, version: str) -> dict[str, Any]:
    accept = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))
    answer = _answered(await http.get(f"{base}/manifests/{version}", headers={"Accept": accept}))
    manifest: dict[str, Any] = json.loads(answer.content)
    return manifest


def _answered(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        said = "; ".join(
            f"{error['code']}: {error['message']}" for error in answer.json()["errors"]
        )
    except (ValueError, KeyError, TypeError):
        said = answer.reason_phrase
    raise PullError(f"{answer.status_code} {said}")
