"""The sensor as a process of stormcell's: a real registry's notifications, signed posts, queues
without a listener.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

from sandbox.aws import AwsServer
from sandbox.environment import AWS_ENVIRONMENT
from sandbox.registry import RegistryProcess, Webhook, push_image
from sandbox.serving import Server
from tests.integration.engine.serving import eventually
from tests.integration.registry.conftest import needs_registry
from tests.integration.registry.sensing import Engine, check_payload, free_port

SENSOR = "kubestorm.ListenersSensor"
SAMPLES = Path(__file__).parents[2] / "fixtures" / "registry_events"


async def post(url: str, name: str, *, times: int = 1, **headers: str) -> list[int]:
    """Post a sample, and again while nobody listens yet; the statuses."""
    body = (SAMPLES / f"{name}.json").read_bytes()
    named = {
        "Content-Type": "application/json",
        **{key.replace("_", "-"): value for key, value in headers.items()},
    }
    async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
        statuses: list[int] = []
        while len(statuses) < times:
            try:
                statuses.append((await client.post(url, content=body, headers=named)).status_code)
            except httpx.ConnectError:
                await asyncio.sleep(0.05)
        return statuses


@needs_registry
def test_pushes_to_a_real_registry_become_triggers(tmp_path):
    """By docker-registry's own notifications, once each, also while the sensor was dead."""
    port, secret = free_port(), tmp_path / "token"
    secret.write_text("s3cret-token")
    url = f"http://127.0.0.1:{port}"
    source = {"name": "ci", "type": "distribution", "auth": {"secret_file": str(secret)}}
    config = {"registries": {"listener": {"port": port}, "sources": [source]}}
    hook = Webhook(url=f"{url}/registry/ci", headers={"Authorization": "Bearer s3cret-token"})

    def push(process: RegistryProcess, tag: str) -> str:
        with process.client() as client:
            return push_image(client, "team/cart", tag)

    def accepted() -> int:
        health = httpx.get(f"{url}/healthz", timeout=120, trust_env=False).json()
        return int(health["received"].get("ci", {}).get("accepted", 0))

    async def scenario(process: RegistryProcess) -> None:
        engine = Engine()
        sensors = engine.supervise(SENSOR, config)
        await sensors.start()
        try:
            digest = await asyncio.to_thread(push, process, "1.0.0")
            await engine.wait(lambda: len(engine.dispatched) >= 1)
            (payload,) = engine.dispatched
            check_payload(payload)
            assert (payload["registry"], payload["digest"]) == (process.host, digest)
            assert engine.told == [("ci", "team/cart", "1.0.0")]
            # Counted after it was handed on and remembered: until then, it may be told again.
            await asyncio.to_thread(eventually, lambda: accepted() == 1)
            pid = sensors.status()[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(push, process, "1.1.0")
            await engine.wait(lambda: len(engine.dispatched) >= 2)
            assert engine.told[1:] == [("ci", "team/cart", "1.1.0")]
            # The answer is counted after the event has been handed on.
            await asyncio.to_thread(eventually, lambda: accepted() == 1)
        finally:
            await sensors.stop()

    with RegistryProcess(tmp_path / "registry", webhooks=[hook]) as process:
        asyncio.run(scenario(process))


def test_every_source_is_checked_and_told_once(tmp_path):
    """Signed, with a token, by basic authentication, unsigned where that is said; a secret is
    changed while it runs.
    """
    port, secret = free_port(), tmp_path / "secret"
    secret.write_text("one")
    base = f"http://127.0.0.1:{port}/registry"
    sources = [
        {"name": "github", "type": "ghcr", "auth": {"method": "hmac", "secret_file": str(secret)}},
        {"name": "harbor", "type": "harbor", "auth": {"secret_file": str(secret)}},
        {
            "name": "acr",
            "type": "acr",
            "auth": {"method": "basic", "username": "acr", "secret_file": str(secret)},
        },
        {"name": "lan", "type": "gitlab", "unsigned": True},
    ]
    config = {"registries": {"listener": {"port": port}, "sources": sources}}

    def signature(key: str) -> str:
        body = (SAMPLES / "github-package-published.json").read_bytes()
        return "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()

    def basic(password: str) -> str:
        return "Basic " + base64.b64encode(f"acr:{password}".encode()).decode()

    async def scenario() -> None:
        engine = Engine()
        sensors = engine.supervise(SENSOR, config)
        await sensors.start()
        try:
            name = "github-package-published"
            assert await post(f"{base}/github", name, X_Hub_Signature_256=signature("two")) == [403]
            assert await post(f"{base}/github", name) == [401]
            assert await post(
                f"{base}/github", name, X_Hub_Signature_256=signature("one"), times=2
            ) == [200, 200]
            assert await post(
                f"{base}/harbor", "harbor-push-artifact", Authorization="Bearer two"
            ) == [403]
            assert await post(
                f"{base}/harbor", "harbor-push-artifact", Authorization="Bearer one"
            ) == [200]
            secret.write_text("two")
            assert await post(f"{base}/acr", "acr-push", Authorization=basic("one")) == [401]
            assert await post(f"{base}/acr", "acr-push", Authorization=basic("two")) == [200]
            assert await post(f"{base}/lan", "gitlab-registry-push") == [200]
            assert await post(f"{base}/lan", "distribution-blob-push") == [200]
            assert await post(f"{base}/none", "acr-push") == [404]
            assert await post(f"{base}/lan", "acr-push") == [400]
        finally:
            await sensors.stop()
        assert sorted(engine.told) == [
            ("acr", "shop/cart", "1.4.2"),
            ("github", "acme/cart", "1.4.2"),
            ("harbor", "shop/cart", "1.4.2"),
            ("lan", "acme/shop/cart", "1.4.2"),
        ]

    asyncio.run(scenario())


def test_events_in_a_queue_need_no_listener(monkeypatch):
    """ECR's from SQS: told and deleted; what cannot be read stays, and a repetition is deleted
    without being told.
    """
    for key, value in AWS_ENVIRONMENT.items():
        monkeypatch.setenv(key, value)
    with AwsServer() as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL", aws.url)
        import boto3

        sqs = boto3.client("sqs", region_name="eu-west-1", endpoint_url=aws.url)
        queue = sqs.create_queue(QueueName="pushes", Attributes={"VisibilityTimeout": "600"})[
            "QueueUrl"
        ]
        event = (SAMPLES / "ecr-eventbridge-push.json").read_text()
        for body in (event, "no JSON", json.dumps({"Type": "Notification", "Message": event})):
            sqs.send_message(QueueUrl=queue, MessageBody=body)
        source = {
            "name": "aws",
            "type": "ecr",
            "sqs": {"queue_url": queue, "region": "eu-west-1", "wait_seconds": 1},
        }
        config = {"aws": {"endpoint_url": aws.url}, "registries": {"sources": [source]}}

        def left() -> int:
            names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
            return sum(int(number) for number in found.values())

        async def scenario() -> None:
            engine = Engine()
            sensors = engine.supervise(SENSOR, config)
            await sensors.start()
            try:
                await engine.wait(lambda: len(engine.dispatched) >= 1)
                async with asyncio.timeout(40):
                    while await asyncio.to_thread(left) != 1:
                        await asyncio.sleep(0.05)
            finally:
                await sensors.stop()
            assert engine.told == [("aws", "shop/cart", "1.4.2")]
            check_payload(engine.dispatched[0])

        asyncio.run(scenario())


def test_artifact_registrys_messages_are_pulled():
    """By Pub/Sub's JSON API: acknowledged after they were told, delivered again until then."""
    message = json.loads((SAMPLES / "gar-pubsub-push.json").read_text())["message"]
    waiting: dict[str, Any] = {"a1": message}
    acknowledged: list[str] = []
    asked: list[str | None] = []

    async def serve(request: Request) -> JSONResponse:
        asked.append(request.headers.get("authorization"))
        document = await request.json()
        if request.url.path.endswith(":acknowledge"):
            acknowledged.extend(document["ackIds"])
            for each in document["ackIds"]:
                waiting.pop(each, None)
            return JSONResponse({})
        if len(asked) == 1:
            return JSONResponse({"error": {"code": 503}}, 503)
        received = [{"ackId": each, "message": body} for each, body in waiting.items()]
        if not received:
            await asyncio.sleep(0.1)  # as Google, which holds the request open
        return JSONResponse({"receivedMessages": received} if received else {})

    app = Starlette()
    app.add_route("/v1/projects/acme/subscriptions/{name:path}", serve, methods=["POST"])
    with Server(app) as server:
        pubsub = {"subscription": "projects/acme/subscriptions/st2", "url": server.url}
        config = {
            "registries": {
                "sources": [{"name": "gcp", "type": "artifact_registry", "pubsub": pubsub}]
            }
        }

        async def scenario() -> None:
            engine = Engine()
            sensors = engine.supervise(SENSOR, config)
            await sensors.start()
            try:
                await engine.wait(lambda: len(engine.dispatched) >= 1)
                async with asyncio.timeout(40):
                    while acknowledged != ["a1"]:
                        await asyncio.sleep(0.05)
            finally:
                await sensors.stop()
            assert engine.told == [("gcp", "acme/shop/cart", "1.4.2")]

        asyncio.run(scenario())
    assert set(asked) == {None}
