"""Events without a listener: ECR's from SQS, Artifact Registry's from a Pub/Sub subscription.

A message is deleted (acknowledged) after its trigger was dispatched, so that a crash in between
delivers it again. What cannot be read stays: a dead-letter queue is the place to look at it, and a
wrong queue is not emptied by mistake.
"""

from __future__ import annotations

import json
import logging
import random
import re
import threading
from typing import Any, Callable, Iterable, List, NamedTuple, Protocol, Tuple

from kubestorm.clients import aws as aws_clients
from kubestorm.clients.registry.credentials import google_token
from kubestorm.core.errors import DefinitionError, Error, PermanentError, TemporaryError
from kubestorm.core.settings import AwsSettings
from kubestorm.sources.listener.messages import parse_json
from kubestorm.sources.registry.settings import PubSubSettings, SourceSettings, SqsSettings

BATCH = 10
"""The most that SQS gives at once."""
BACKOFF_SECONDS = (1.0, 60.0)
STOP_SECONDS = 3.0
_REGION_OF_QUEUE = re.compile(
    r"https://(?:sqs\.([a-z0-9-]+)\.|([a-z0-9-]+)\.queue\.)amazonaws\.com"
)


class Message(NamedTuple):
    """`body` as it was sent; `receipt` is what takes it off the queue."""

    body: bytes
    receipt: str


class Queue(Protocol):
    """Raises the pack's errors."""

    def receive(self) -> List[Message]:
        """Wait a while for messages; none is no error."""
        ...

    def delete(self, receipts: List[str]) -> None:
        """Take messages off the queue by their receipts."""
        ...


class SqsQueue:
    """Amazon's Simple Queue Service through boto3."""

    def __init__(self, settings: SqsSettings, aws: AwsSettings) -> None:
        self._settings, self._aws = settings, aws
        self._client: Any = None

    def receive(self) -> List[Message]:
        answer = self._call(
            "receive_message",
            QueueUrl=self._settings.queue_url,
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=int(self._settings.wait_seconds),
        )
        return [
            Message(each["Body"].encode(), each["ReceiptHandle"])
            for each in answer.get("Messages") or ()
        ]

    def delete(self, receipts: List[str]) -> None:
        entries = [
            {"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)
        ]
        answer = self._call(
            "delete_message_batch", QueueUrl=self._settings.queue_url, Entries=entries
        )
        if answer.get("Failed"):
            raise TemporaryError(
                "SQS did not delete all messages; they come again.", service="AWS SQS"
            )

    def _call(self, operation: str, **parameters: Any) -> Any:
        from botocore import exceptions

        try:
            if self._client is None:
                match = _REGION_OF_QUEUE.match(self._settings.queue_url)
                self._client = aws_clients.open_client(
                    self._aws,
                    "sqs",
                    region=self._settings.region or (match and (match[1] or match[2])) or None,
                    endpoint_url=self._settings.endpoint_url,
                    read_timeout_seconds=self._settings.wait_seconds + self._aws.timeout_seconds,
                )
            return getattr(self._client, operation)(**parameters)
        except exceptions.ClientError as error:
            code = str((error.response.get("Error") or {}).get("Code", ""))
            self._client = None  # the keys of an assumed role end after an hour
            raise TemporaryError(
                f"AWS SQS refused {operation} ({code}).", service="AWS SQS"
            ) from error
        except exceptions.BotoCoreError as error:
            raise TemporaryError(
                f"AWS SQS cannot be used for {operation}: {error}", service="AWS SQS"
            ) from error


class PubSubQueue:
    """A Pub/Sub subscription by its JSON API. Source: Google's reference,
    projects.subscriptions.pull.
    """

    def __init__(self, settings: PubSubSettings) -> None:
        import requests

        self._settings = settings
        self._session = requests.Session()
        self._session.auth = lambda request: request  # else ~/.netrc would win over our token

    def receive(self) -> List[Message]:
        answer = self._post("pull", {"maxMessages": BATCH})
        received = answer.get("receivedMessages") or ()
        return [
            Message(json.dumps({"message": each["message"]}).encode(), each["ackId"])
            for each in received
        ]

    def delete(self, receipts: List[str]) -> None:
        self._post("acknowledge", {"ackIds": receipts})

    def _post(self, verb: str, document: Any) -> Any:
        import requests

        url = f"{self._settings.url.rstrip('/')}/v1/{self._settings.subscription}:{verb}"
        # Plain HTTP is for Google's emulator, which takes anybody: no token goes there.
        headers = {}
        if url.startswith("https://"):
            headers["Authorization"] = f"Bearer {google_token(self._settings.token_file).reveal()}"
        try:
            answer = self._session.post(
                url,
                json=document,
                headers=headers,
                timeout=self._settings.timeout_seconds,
                allow_redirects=False,
            )
            if answer.status_code == 200:
                return answer.json() if answer.content.strip() else {}
        except requests.Timeout as error:
            if verb == "pull":
                return {}
            raise TemporaryError(
                f"Pub/Sub did not answer {verb} in time.", service="Pub/Sub"
            ) from error
        except (requests.RequestException, ValueError) as error:
            raise TemporaryError(
                f"Pub/Sub cannot be reached: {type(error).__name__}.", service="Pub/Sub"
            ) from error
        if answer.status_code in (401, 403, 404):
            raise PermanentError(
                f"Pub/Sub refused {verb} of {self._settings.subscription} ({answer.status_code}): "
                "the account needs "
                "roles/pubsub.subscriber on it.",
                service="Pub/Sub",
                status_code=answer.status_code,
            )
        raise TemporaryError(
            f"Pub/Sub answered {verb} with {answer.status_code}.", service="Pub/Sub"
        )


def open_queue(source: SourceSettings, aws: AwsSettings) -> Queue:
    """The queue of a source that has one."""
    if source.sqs is not None:
        return SqsQueue(source.sqs, aws)
    if source.pubsub is not None:
        return PubSubQueue(source.pubsub)
    raise ValueError(f"{source.name} has no queue")


class QueueReader:
    """A thread that empties one queue until it is stopped. Nothing that is in a message ends it."""

    def __init__(
        self,
        name: str,
        queue: Queue,
        take: Callable[[Any], str],
        count: Callable[[str, str], None],
        log: logging.Logger,
        *,
        backoff: Tuple[float, float] = BACKOFF_SECONDS,
    ) -> None:
        """`take` gets a parsed body and returns the outcome that `count` counts under `name`."""
        self._name, self._queue, self._take, self._count, self._log = name, queue, take, count, log
        self._backoff = backoff
        self._stopping = threading.Event()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name=f"queue-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """A pull that waits for messages ends with the process."""
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 (the outer loop: the next look tries again)
                self._failed(error)
            else:
                if self._failures:
                    self._log.info("queue.recovered: %s", self._name)
                self._failures = 0

    def look(self) -> None:
        """Receive once, dispatch what came and delete it there. Raises what the queue raises."""
        messages = self._queue.receive()
        done = [message.receipt for message in self._taken(messages)]
        if done:
            self._queue.delete(done)

    def _taken(self, messages: Iterable[Message]) -> Iterable[Message]:
        for message in messages:
            try:
                outcome = self._take(parse_json(message.body))
            except DefinitionError as error:
                self._count(self._name, "malformed")
                self._log.warning(
                    "queue.malformed: %s: %s It stays in the queue.", self._name, error
                )
                continue
            except Error as error:
                self._count(self._name, "unavailable")
                self._log.warning("queue.unavailable: %s: %s It comes again.", self._name, error)
                continue
            self._count(self._name, outcome)
            yield message

    def _failed(self, error: Exception) -> None:
        first, most = self._backoff
        seconds = min(most, first * 2.0 ** min(self._failures, 16))
        if not self._failures:
            text = str(error) if isinstance(error, Error) else type(error).__name__
            self._log.warning("queue.failed: %s: %s", self._name, text)
        self._failures += 1
        self._stopping.wait(seconds * random.uniform(0.5, 1.0))  # noqa: S311 (spreads load, guards nothing)
