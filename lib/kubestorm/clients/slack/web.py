"""Slack's Web API through slack_sdk: the few methods the pack needs, its errors in the pack's
words.

A message is text and blocks; nothing that a person typed is formatted as markup unless it was
escaped (`blocks`).
"""

from __future__ import annotations

import contextlib
import json
import ssl
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence
from urllib.error import URLError

from kubestorm.clients.slack.settings import SlackSettings
from kubestorm.core.errors import NotFoundError, PermanentError, TemporaryError
from kubestorm.core.secrets import Secret

SERVICE = "Slack"
PATIENCE_SECONDS = 3.0
"""A rate limit that ends within this is waited for; anything longer is left to whoever comes back
later.
"""

# What Slack calls it -> what to do. Source: the errors tables of chat.postMessage and auth.test in
# Slack's reference.
_ADVICE = {
    "channel_not_found": "there is no such channel, or the bot may not see it: invite it there",
    "not_in_channel": "the bot is not in that channel: invite it there",
    "is_archived": "that channel is archived",
    "invalid_auth": (
        "the bot token is not valid: see slack.bot_token_file of the pack configuration"
    ),
    "not_authed": "the bot token is missing: see slack.bot_token_file of the pack configuration",
    "token_revoked": "the bot token was revoked: install the app again and replace it",
    "token_expired": "the bot token has expired: replace it",
    "account_inactive": "the bot's account is inactive: install the app again",
    "missing_scope": "the app lacks a permission: docs/slack.md lists those it needs",
    "msg_too_long": "the message is too long",
    "message_not_found": "the message to be changed is gone",
}
_TRANSIENT = frozenset(
    ("internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited")
)

Blocks = Sequence[Dict[str, Any]]


class Posted(NamedTuple):
    """Where a message is."""

    channel: str
    ts: str


class SlackWeb:
    """One workspace's Web API. Raises the pack's errors only."""

    def __init__(self, settings: SlackSettings, token: Secret) -> None:
        # Importing it costs a tenth of a second: only what speaks to Slack pays it.
        from slack_sdk import WebClient
        from slack_sdk.http_retry.builtin_handlers import ConnectionErrorRetryHandler

        self._settings = settings
        self._ssl = (
            ssl.create_default_context(cafile=settings.ca_file) if settings.ca_file else None
        )
        self._client = WebClient(
            token=token.reveal(),
            base_url=settings.base_url,
            timeout=int(settings.timeout_seconds),
            ssl=self._ssl,
            retry_handlers=[ConnectionErrorRetryHandler(max_retry_count=1), _short_rate_limits()],
        )

    def post(
        self, channel: str, text: str, blocks: Blocks = (), *, thread: str = "", color: str = ""
    ) -> str:
        """A message, or reply in a thread; its timestamp, which is its name within the channel."""
        return self.post_in(channel, text, blocks, thread=thread, color=color).ts

    def post_in(
        self, channel: str, text: str, blocks: Blocks = (), *, thread: str = "", color: str = ""
    ) -> Posted:
        """The same; also the channel's id, which a later change of the message has to name."""
        body = _body(text, blocks, color)
        answer = self._call(
            "chat_postMessage",
            channel,
            channel=channel,
            thread_ts=thread or None,
            unfurl_links=False,
            **body,
        )
        return Posted(str(answer.get("channel") or channel), str(answer["ts"]))

    def update(
        self, channel: str, ts: str, text: str, blocks: Blocks = (), *, color: str = ""
    ) -> None:
        """Put other content in a message's place."""
        self._call("chat_update", channel, channel=channel, ts=ts, **_body(text, blocks, color))

    def post_attachments(
        self, channel: str, text: str, attachments: Blocks, *, thread: str = ""
    ) -> str:
        """The same with attachments that are drawn already."""
        more = {"attachments": list(attachments)} if attachments else {}
        answer = self._call(
            "chat_postMessage",
            channel,
            channel=channel,
            text=text,
            thread_ts=thread or None,
            unfurl_links=False,
            **more,
        )
        return str(answer["ts"])

    def whisper(
        self, channel: str, user: str, text: str, attachments: Blocks = (), *, thread: str = ""
    ) -> None:
        """A message that only one person sees."""
        more = {"attachments": list(attachments)} if attachments else {}
        self._call(
            "chat_postEphemeral",
            channel,
            channel=channel,
            user=user,
            text=text,
            thread_ts=thread or None,
            **more,
        )

    def respond(self, response_url: Secret, body: Dict[str, Any]) -> None:
        """Answer where an interaction came from, also where the bot is no member; for 30 minutes,
        five times.
        """
        from slack_sdk.webhook import WebhookClient

        client = WebhookClient(
            response_url.reveal(), timeout=int(self._settings.timeout_seconds), ssl=self._ssl
        )
        with self._translated("response_url", ""):
            answer = client.send_dict(body)
        if answer.status_code != 200:
            raise PermanentError(
                f"Slack took no answer to the command any more ({answer.status_code}).",
                service=SERVICE,
            )

    def identity(self) -> Dict[str, Any]:
        """Who the bot is: `user_id`, `bot_id`, `team_id`."""
        return dict(self._call("auth_test", ""))

    def _call(self, method: str, where: str, **arguments: Any) -> Dict[str, Any]:
        given = {key: value for key, value in arguments.items() if value is not None}
        with self._translated(method.replace("_", "."), where):
            answer = getattr(self._client, method)(**given)
        return dict(answer.data)

    @contextlib.contextmanager
    def _translated(self, method: str, channel: str) -> Iterator[None]:
        from slack_sdk.errors import SlackApiError, SlackClientError

        where = f" for {channel}" if channel else ""
        try:
            yield
        except SlackApiError as error:
            raise _translate(error.response, f"{method}{where}") from None
        except SlackClientError as error:
            raise TemporaryError(
                f"Slack's answer to {method}{where} could not be used.", service=SERVICE
            ) from error
        except (URLError, OSError, json.JSONDecodeError) as error:
            # Only the kind of error: an address of Slack's may be one that lets its owner post.
            why = type(getattr(error, "reason", error)).__name__
            raise TemporaryError(
                f"Slack could not be reached for {method}{where} ({why}).", service=SERVICE
            ) from None


def _translate(response: Any, what: str) -> Exception:
    status = getattr(response, "status_code", 0) or 0
    data = response.data if isinstance(getattr(response, "data", None), dict) else {}
    word = str(data.get("error") or "")
    if status == 429 or word == "ratelimited":
        after = _seconds((getattr(response, "headers", None) or {}).get("Retry-After"))
        return TemporaryError(
            f"Slack wants fewer messages; {what} is tried again in {after:.0f} s.",
            service=SERVICE,
            status_code=429,
            retry_after_seconds=after,
        )
    if status >= 500 or word in _TRANSIENT:
        return TemporaryError(
            f"Slack is out of order for {what} ({word or status}).",
            service=SERVICE,
            status_code=status,
        )
    advice = _ADVICE.get(
        word, f"Slack says {word}" if word.replace("_", "").isalnum() else f"Slack says {status}"
    )
    kind = NotFoundError if word == "message_not_found" else PermanentError
    return kind(f"Slack refuses {what}: {advice}.", service=SERVICE, status_code=status)


def _body(text: str, blocks: Blocks, color: str) -> Dict[str, Any]:
    # With colour the blocks go into an attachment, which draws the bar; the text is then what
    # notifications show.
    listed: List[Dict[str, Any]] = list(blocks)
    if listed and color:
        return {"text": text, "attachments": [{"color": color, "blocks": listed, "fallback": text}]}
    return {"text": text, "blocks": listed} if listed else {"text": text}


def _seconds(value: Any) -> float:
    if isinstance(value, (list, tuple)):
        value = value[0] if value else None
    try:
        return max(float(value), 1.0)
    except (TypeError, ValueError):
        return 30.0


def _short_rate_limits() -> Any:
    from slack_sdk.http_retry.handler import RetryHandler
    from slack_sdk.http_retry.request import HttpRequest
    from slack_sdk.http_retry.response import HttpResponse
    from slack_sdk.http_retry.state import RetryState

    class ShortRateLimits(RetryHandler):
        """Waits where Slack asks for a moment only."""

        def _can_retry(
            self,
            *,
            state: RetryState,
            request: HttpRequest,
            response: Optional[HttpResponse] = None,
            error: Optional[Exception] = None,
        ) -> bool:
            if response is None or response.status_code != 429:
                return False
            return _retry_after(response) <= PATIENCE_SECONDS

        def prepare_for_next_attempt(
            self,
            *,
            state: RetryState,
            request: HttpRequest,
            response: Optional[HttpResponse] = None,
            error: Optional[Exception] = None,
        ) -> None:
            import time

            time.sleep(_retry_after(response))
            state.increment_current_attempt()
            state.next_attempt_requested = True

    return ShortRateLimits(max_retry_count=1)


def _retry_after(response: Any) -> float:
    headers = {
        str(key).lower(): value for key, value in (getattr(response, "headers", None) or {}).items()
    }
    return _seconds(headers.get("retry-after"))
