"""One trigger for each push, whatever the registry sends and however often."""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
from typing import Any

import pytest
from kubestorm.core.errors import DefinitionError, NotFoundError, PermanentError, TemporaryError
from kubestorm.core.image_names import ImageName
from kubestorm.sources.dedup_store import DedupStore
from kubestorm.sources.listener import Request
from kubestorm.sources.registry.receiving import PushReceiver
from kubestorm.sources.registry.settings import SourceSettings

from tests.unit.registry.test_registry_parts import Datastore
from tests.unit.registry.test_registry_sources import DIGEST, sample

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.timezone.utc)
OTHER = "sha256:" + "b2" * 32
CART = ImageName("docker.io", "acme/cart")


class Registry:
    """Answers from a table; an exception in it is raised."""

    def __init__(self, **tags: Any) -> None:
        self.tags = tags
        self.asked: list[tuple[ImageName, str]] = []

    def resolve(self, image: ImageName, reference: str) -> str:
        self.asked.append((image, reference))
        found = self.tags.get(reference, NotFoundError("no such tag"))
        if isinstance(found, Exception):
            raise found
        return found


class World:
    """A receiver, what it dispatched, and its datastore; `restart` forgets all but that."""

    def __init__(self, registry: Registry | None = None) -> None:
        self.store, self.registry = Datastore(), registry or Registry()
        self.dispatched: list[dict[str, Any]] = []
        self.fail: Exception | None = None
        self.restart()

    def restart(self) -> None:
        self.receiver = PushReceiver(
            DedupStore(self.store, "pushes"),
            self._dispatch,
            self.registry,
            logging.getLogger("test"),
            lambda: NOON,
        )

    def _dispatch(self, trigger: str, payload: Any) -> None:
        assert trigger == "kubestorm.image_pushed"
        if self.fail:
            raise self.fail
        self.dispatched.append(dict(payload))

    def take(self, kind: str, body: Any, **settings: Any) -> str:
        source = SourceSettings(name="test", type=kind, **settings)
        return self.receiver.take(source, {}, body).outcome

    def places(self) -> list[tuple[str, str, str]]:
        return [(each["repository"], each["tag"], each["digest"]) for each in self.dispatched]


def test_a_push_is_told_with_all_that_is_known():
    """The payload is the one that rules and actions rely on."""
    world = World()
    assert world.take("distribution", sample("distribution-push")) == "accepted"
    assert world.dispatched == [
        {
            "registry": "registry.example.test",
            "repository": "shop/cart",
            "tag": "1.4.2",
            "digest": DIGEST,
            "media_type": "application/vnd.oci.image.manifest.v1+json",
            "pushed_at": "2026-03-01T10:00:00.123456Z",
            "actor": "ci-bot",
            "source": "test",
            "event_id": "6f0c1f3e-1111-4a2b-9c3d-000000000001",
        }
    ]


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize(
    "kind, name",
    [
        ("distribution", "distribution-push"),
        ("harbor", "harbor-push-artifact"),
        ("dockerhub", "dockerhub-push"),
        ("quay", "quay-repo-push"),
        ("ghcr", "github-package-published"),
        ("acr", "acr-push"),
        ("ecr", "ecr-eventbridge-push"),
        ("ecr", "ecr-eventbridge-replication"),
        ("artifact_registry", "gar-message"),
    ],
)
def test_the_same_event_again_triggers_nothing(kind, name, restarted):
    """Of every kind of registry, also after the sensor was restarted."""
    tags = {"1.4.2": DIGEST, "latest": DIGEST}
    world = World(Registry(**tags))
    assert world.take(kind, sample(name)) == "accepted"
    told = len(world.dispatched)
    if restarted:
        world.restart()
    assert world.take(kind, sample(name)) == "repeated"
    assert len(world.dispatched) == told


def test_a_tag_without_a_digest_is_resolved():
    """Docker Hub and Quay name no digest: the registry is asked for it, once for each push."""
    world = World(Registry(**{"1.4.2": DIGEST}))
    world.take("dockerhub", sample("dockerhub-push"))
    world.take("dockerhub", sample("dockerhub-push"))
    assert world.registry.asked == [(CART, "1.4.2")]
    assert world.places() == [("acme/cart", "1.4.2", DIGEST)]


def test_without_an_id_a_tag_that_moves_there_and_back_is_told_each_time():
    """Quay names neither id nor time: what the tag held last decides what is a repetition."""
    world = World(Registry(latest=DIGEST))
    body = {**sample("quay-repo-push"), "updated_tags": ["latest"]}
    outcomes = []
    for digest in (DIGEST, DIGEST, OTHER, DIGEST):
        world.registry.tags["latest"] = digest
        outcomes.append(world.take("quay", body))
    assert outcomes == ["accepted", "repeated", "accepted", "accepted"]
    assert [digest for _, _, digest in world.places()] == [DIGEST, OTHER, DIGEST]


@pytest.mark.parametrize(
    "error",
    [TemporaryError("down"), PermanentError("no login"), DefinitionError("no such file")],
    ids=repr,
)
def test_a_registry_that_cannot_be_asked_makes_the_sender_try_again(error):
    """Nothing is told and nothing remembered; the next delivery succeeds."""
    world = World(Registry(**{"1.4.2": error}))
    with pytest.raises((TemporaryError, PermanentError)):
        world.take("dockerhub", sample("dockerhub-push"))
    world.registry.tags["1.4.2"] = DIGEST
    assert world.take("dockerhub", sample("dockerhub-push")) == "accepted"


def test_a_tag_that_is_gone_is_nobodys_concern():
    """It was deleted after the push: the sender need not try again."""
    assert World().take("dockerhub", sample("dockerhub-push")) == "gone"


def test_what_could_not_be_handed_over_is_taken_again():
    """Any error of a message bus is temporary, and what was told of the same event is not told
    again.
    """
    world = World(Registry(**{"1.4.2": DIGEST, "latest": DIGEST}))
    body = sample("quay-repo-push")
    world.fail = ConnectionError("bus")
    with pytest.raises(TemporaryError):
        world.take("quay", body)
    world.fail = None
    world.registry.tags["latest"] = TemporaryError("down")
    with pytest.raises(TemporaryError):
        world.take("quay", body)
    assert [tag for _, tag, _ in world.places()] == ["1.4.2"]
    world.registry.tags["latest"] = DIGEST
    assert world.take("quay", body) == "accepted"
    assert [tag for _, tag, _ in world.places()] == ["1.4.2", "latest"]


def test_only_repositories_that_are_wanted_are_told():
    """The source's patterns; the rest is good and ignored."""
    world = World()
    assert (
        world.take("distribution", sample("distribution-push"), repositories=("team/*",))
        == "ignored"
    )
    assert (
        world.take("distribution", sample("distribution-push"), repositories=("team/*", "shop/*"))
        == "accepted"
    )


def test_a_signature_is_no_pushed_image():
    """It is a manifest under a tag, and nothing that could run."""
    body = sample("distribution-push")
    body["events"][0]["target"]["tag"] = f"sha256-{'ab' * 32}.sig"
    assert World().take("distribution", body) == "ignored"


def test_an_event_with_one_bad_image_tells_nothing():
    """A body is right as a whole or refused."""
    world = World()
    body = sample("distribution-push")
    body["events"].append(
        {"action": "push", "target": {"mediaType": "", "repository": "../x", "tag": "a"}}
    )
    with pytest.raises(DefinitionError):
        world.take("distribution", body)
    assert world.dispatched == []


def test_deliveries_at_once_of_one_push_are_told_once():
    """A registry that sends again while the first delivery is under way hears that it was taken."""
    entered, gate = threading.Semaphore(0), threading.Event()
    world = World()
    dispatch = world._dispatch

    def slow(trigger: str, payload: Any) -> None:
        entered.release()
        assert gate.wait(20)
        dispatch(trigger, payload)

    world.receiver._dispatch = slow
    outcomes: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: outcomes.append(world.take("distribution", sample("distribution-push")))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    assert entered.acquire(timeout=120)
    gate.set()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["accepted", "repeated", "repeated", "repeated"]
    assert len(world.dispatched) == 1


def test_event_grid_may_send_cloud_events():
    """It asks by OPTIONS, and hears its own name."""
    headers = {"webhook-request-origin": "eventgrid.azure.net"}
    world = World()
    answer = world.receiver.answer(
        SourceSettings(name="acr", type="acr"), Request("OPTIONS", "/a", "", headers, b"")
    )
    assert (answer.status, answer.headers) == (
        200,
        {"WebHook-Allowed-Origin": "eventgrid.azure.net"},
    )
    assert world.dispatched == []


def test_event_grid_hears_its_code():
    """The handshake is answered and triggers nothing."""
    body = [
        {
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "data": {"validationCode": "512d"},
        }
    ]
    request = Request("POST", "/registry/acr", "", {}, json.dumps(body).encode())
    world = World()
    answer = world.receiver.answer(SourceSettings(name="acr", type="acr"), request)
    assert (answer.status, json.loads(answer.body)) == (200, {"validationResponse": "512d"})
    assert world.dispatched == []
