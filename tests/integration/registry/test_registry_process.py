"""The registry of the sandbox: a real docker-registry that takes pushes, asks who it is and tells
webhooks.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.pretend_registry import PretendRegistry
from sandbox.registry import MANIFEST_TYPE, RegistryProcess, Webhook, is_installed, push_image
from sandbox.serving import Server, make_certificate

NEEDS_REGISTRY = pytest.mark.skipif(not is_installed(), reason="docker-registry is not installed")
USERS = {"robot": "a-password-of-the-test"}


class Heard:
    """What a webhook was told: (headers, body) each."""

    def __init__(self) -> None:
        self.calls: queue.Queue[tuple[dict[str, str], dict[str, Any]]] = queue.Queue()
        self.app = Starlette(routes=[Route("/push", self._hear, methods=["POST"])])

    async def _hear(self, request: Request) -> Response:
        self.calls.put((dict(request.headers), await request.json()))
        return Response(status_code=204)


@pytest.fixture
def heard() -> Iterator[tuple[Heard, str]]:
    listener = Heard()
    with Server(listener.app) as server:
        yield listener, f"{server.url}/push"


Registry = RegistryProcess | PretendRegistry


@pytest.fixture(params=[pytest.param("real", marks=NEEDS_REGISTRY), "pretend"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[list[Webhook]], Registry]:
    """Makes the real registry, and the one that stands in for it: both are held to the same."""
    if request.param == "real":
        return lambda webhooks: RegistryProcess(tmp_path, webhooks=webhooks)
    return lambda webhooks: PretendRegistry(webhooks=webhooks)


def test_a_push_can_be_read_back_by_tag_and_by_digest(
    make: Callable[[list[Webhook]], Registry],
) -> None:
    """What was pushed under a tag has the digest that push_image returned."""
    with make([]) as registry, registry.client() as client:
        digest = push_image(client, "team/cart", "1.0.0")
        for reference in ("1.0.0", digest):
            answer = client.get(
                f"/v2/team/cart/manifests/{reference}", headers={"Accept": MANIFEST_TYPE}
            )
            assert answer.headers["Docker-Content-Digest"] == digest
        assert client.get("/v2/team/cart/tags/list").json()["tags"] == ["1.0.0"]


def test_what_is_not_there(make: Callable[[list[Webhook]], Registry]) -> None:
    """The errors carry the specification's codes."""
    with make([]) as registry, registry.client() as client:
        answers = [
            client.get(f"/v2/cart/{what}")
            for what in ("manifests/1", "tags/list", f"blobs/sha256:{'0' * 64}")
        ]
        assert [answer.status_code for answer in answers] == [404, 404, 404]
        codes = [answer.json()["errors"][0]["code"] for answer in answers]
        assert codes == ["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN"]


def test_what_has_not_changed_is_not_sent_again(make: Callable[[list[Webhook]], Registry]) -> None:
    """A manifest that the caller knows is answered 304."""
    with make([]) as registry, registry.client() as client:
        push_image(client, "cart", "1")
        first = client.get("/v2/cart/manifests/1", headers={"Accept": MANIFEST_TYPE})
        known = {"Accept": MANIFEST_TYPE, "If-None-Match": first.headers["ETag"]}
        assert (
            client.get("/v2/cart/manifests/1", headers=known).status_code
            == httpx.codes.NOT_MODIFIED
        )


def test_the_same_content_is_the_same_image(make: Callable[[list[Webhook]], Registry]) -> None:
    """A digest follows from the content alone."""
    with make([]) as registry, registry.client() as client:
        first = push_image(client, "team/cart", "a", content="x")
        assert push_image(client, "team/cart", "b", content="x") == first
        assert push_image(client, "team/cart", "c", content="y") != first


@NEEDS_REGISTRY
def test_who_is_not_known_is_refused(tmp_path: Path) -> None:
    """With users, an anonymous call is answered 401 and a user's is let in."""
    with RegistryProcess(tmp_path, users=USERS) as registry, registry.client() as client:
        assert httpx.get(f"{registry.url}/v2/").status_code == httpx.codes.UNAUTHORIZED
        assert client.get("/v2/").status_code == httpx.codes.OK


def test_a_webhook_is_told_of_a_push_with_its_headers(
    make: Callable[[list[Webhook]], Registry], heard: tuple[Heard, str]
) -> None:
    """One of the reported events is the manifest's, under its tag; the header that proves the
    origin comes along.
    """
    listener, url = heard
    hook = Webhook(url=url, headers={"Authorization": "Bearer of-the-test"})
    with make([hook]) as registry, registry.client() as client:
        digest = push_image(client, "team/cart", "1.0.0")
        while True:
            headers, body = listener.calls.get(timeout=120)
            assert headers["authorization"] == "Bearer of-the-test"
            tagged = [event["target"] for event in body["events"] if event["target"].get("tag")]
            if tagged:
                break
        assert [(target["repository"], target["tag"], target["digest"]) for target in tagged] == [
            ("team/cart", "1.0.0", digest)
        ]


@NEEDS_REGISTRY
def test_images_and_port_survive_a_restart_over_tls(tmp_path: Path) -> None:
    """After a restart the same reference still names the same image."""
    registry = RegistryProcess(tmp_path, certificate=make_certificate("registry"))
    with registry, registry.client() as client:
        digest = push_image(client, "cart", "1")
        url = registry.url
    with registry, registry.client() as client:
        assert registry.url == url
        answer = client.head("/v2/cart/manifests/1", headers={"Accept": MANIFEST_TYPE})
        assert answer.headers["Docker-Content-Digest"] == digest
