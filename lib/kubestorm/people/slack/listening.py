"""Slack's way in: signed requests to a listener, or Socket Mode where nothing can call us.

Both hand on to the `Inbox` and answer at once; what was asked is done by whatever rule takes the
trigger.
"""

from __future__ import annotations

import hmac
import logging
import threading
import time
from typing import Any, Callable, Dict, List, Optional

from kubestorm.clients.slack.credentials import Credentials
from kubestorm.clients.slack.settings import HTTP, SlackSettings
from kubestorm.core.errors import Error
from kubestorm.people.slack.inbox import Inbox, ignored
from kubestorm.people.slack.requests import (
    COMMAND,
    Asked,
    Challenge,
    Parsed,
    encode,
    parse_envelope,
    parse_http,
)
from kubestorm.sources.listener import (
    Answer,
    Listener,
    ListenerSettings,
    RefusedError,
    Request,
    Route,
)

PARTS = ("commands", "events", "interactions")
FORM = "application/x-www-form-urlencoded"
OLDEST_SECONDS = 300
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0


class SlackSignature:
    """Whether a request is Slack's: its signature over the raw body, and that it is not old."""

    def __init__(self, credentials: Credentials, clock: Callable[[], float] = time.time) -> None:
        self._credentials, self._clock = credentials, clock

    def __call__(self, request: Request) -> None:
        """Raises RefusedError: 401 where the signature is missing, 403 where it is wrong or too
        old.
        """
        from slack_sdk.signature import SignatureVerifier

        moment = request.headers.get("x-slack-request-timestamp", "")
        signature = request.headers.get("x-slack-signature", "")
        if not moment or not signature:
            raise RefusedError("Slack's signature is missing.", status_code=401)
        if not (moment.isascii() and moment.isdigit() and len(moment) <= 12):
            raise RefusedError("The timestamp is no number of seconds.", status_code=403)
        if abs(self._clock() - int(moment)) > OLDEST_SECONDS:
            raise RefusedError(
                "The request is older than five minutes, or from the future.", status_code=403
            )
        secrets = self._credentials.signing_secrets()
        if not any(
            _fits(SignatureVerifier(one.reveal()), moment, request.body, signature)
            for one in secrets
        ):
            raise RefusedError("The signature does not fit the body.", status_code=403)


def _fits(verifier: Any, moment: str, body: bytes, signature: str) -> bool:
    # Not `is_valid`: it reads the clock itself, and raises for bytes that are no text.
    try:
        made = verifier.generate_signature(timestamp=moment, body=body) or ""
    except UnicodeDecodeError:
        return False
    return hmac.compare_digest(made.encode(), signature.encode("utf-8", "replace"))


class SlackGate:
    """One of the two ways in, from `start` to `stop`."""

    def __init__(
        self,
        settings: SlackSettings,
        credentials: Credentials,
        inbox: Inbox,
        log: logging.Logger,
        *,
        ping_seconds: float = 5.0,
    ) -> None:
        self._settings, self._credentials, self._inbox, self._log = (
            settings,
            credentials,
            inbox,
            log,
        )
        self._ping_seconds = ping_seconds
        self._stopping = threading.Event()
        self._listener: Optional[Listener] = None
        self._socket: Any = None

    @property
    def url(self) -> str:
        """Where the listener listens."""
        return self._listener.url if self._listener is not None else ""

    @property
    def is_connected(self) -> bool:
        """Whether Socket Mode is connected."""
        return self._socket is not None and bool(self._socket.is_connected())

    def start(self) -> None:
        """Listen, or begin to connect. DefinitionError for what the operator has to mend."""
        if self._settings.mode == HTTP:
            self._credentials.signing_secrets()
            listening = ListenerSettings(host=self._settings.host, port=self._settings.port)
            self._listener = Listener(listening, self._routes(), self._log)
            self._listener.start()
        else:
            self._credentials.app_token()
            threading.Thread(target=self._connect, name="slack-socket", daemon=True).start()

    def stop(self) -> None:
        """Safe to repeat."""
        self._stopping.set()
        if self._listener is not None:
            self._listener.stop()
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()

    # HTTP.

    def _routes(self) -> List[Route]:
        check = SlackSignature(self._credentials)
        return [
            Route(
                f"/slack/{part}",
                f"slack_{part}",
                check,
                self._receiver(part),
                content_types=("application/json",) if part == "events" else (FORM,),
            )
            for part in PARTS
        ]

    def _receiver(self, part: str) -> Callable[[Request], Answer]:
        return lambda request: self._answer(parse_http(part, request.content_type, request.body))

    def _answer(self, found: Parsed) -> Answer:
        if isinstance(found, Challenge):
            return Answer.text(200, found.value)
        body = self._take(found)
        return Answer(200, encode(body), "application/json") if body else Answer(200)

    def _take(self, found: Parsed) -> Dict[str, Any]:
        """Hand it on; what Slack is to show at once."""
        if not isinstance(found, Asked):
            if not isinstance(found, Challenge):
                ignored(self._log, found)
            return {}
        outcome = self._inbox.take(found)
        if outcome == "foreign":
            return (
                {"text": "This installation does not answer your workspace."}
                if found.kind == COMMAND
                else {}
            )
        # Without a text Slack shows what was typed, so that a channel sees what is answered.
        return {"response_type": "in_channel"} if found.kind == COMMAND else {}

    # Socket Mode.

    def _connect(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            try:
                self._open()
                self._log.info("slack.connected: Socket Mode")
                return
            except Exception as error:  # noqa: BLE001 (a Slack that cannot be reached is tried until it can)
                why = str(error) if isinstance(error, Error) else type(error).__name__
                self._log.warning("slack.not_connected: %s; tried again in %.0f s", why, pause)
            self._stopping.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _open(self) -> None:
        from slack_sdk import WebClient
        from slack_sdk.socket_mode.builtin import SocketModeClient

        token = self._credentials.app_token().reveal()
        # Its own lines name sessions and, in debug, messages: what it says of trouble is enough.
        quiet = logging.getLogger("kubestorm.people.slack.socket")
        quiet.setLevel(logging.ERROR)
        client = SocketModeClient(
            app_token=token,
            web_client=WebClient(
                base_url=self._settings.base_url,
                timeout=int(self._settings.timeout_seconds),
                logger=quiet,
            ),
            logger=quiet,
            ping_interval=self._ping_seconds,
        )
        client.socket_mode_request_listeners.append(self._envelope)
        try:
            client.connect()
        except BaseException:
            client.close()
            raise
        self._socket = client
        if self._stopping.is_set():
            client.close()

    def _envelope(self, client: Any, request: Any) -> None:
        """One envelope; without an answer Slack sends it again."""
        from slack_sdk.socket_mode.response import SocketModeResponse

        try:
            body = self._take(parse_envelope(request.type, request.payload))
        except Error as error:
            # Again would be the same: it is taken and said.
            self._log.warning("slack.malformed: %s", error)
            body = {}
        except Exception as error:  # noqa: BLE001 (the message bus: Slack repeats what is not acknowledged)
            self._log.warning("slack.not_taken: %s", type(error).__name__)
            return
        client.send_socket_mode_response(SocketModeResponse(request.envelope_id, body or None))
