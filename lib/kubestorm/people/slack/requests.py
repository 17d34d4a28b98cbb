"""What Slack sends, as values: slash commands, mentions, messages to the bot, clicks. Pure.

The bodies come from HTTP or from Socket Mode; they are the same. What nobody asked of us is
`Ignored` with its reason: bots (also ourselves), edits, other kinds of events. A text leaves here
as it was typed: nothing behind this module knows Slack's markup. Sources: Slack's reference of
slash commands, `app_mention`, `message.im`, `url_verification` and `block_actions`, and of
"Formatting text".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Union
from urllib.parse import parse_qs

from kubestorm.core.errors import DefinitionError
from kubestorm.core.secrets import Secret
from kubestorm.sources.listener.messages import parse_json

COMMAND, MENTION, ACTION = "command", "mention", "action"
MAX_TEXT = 2000
"""A command has at most 1,000 characters; of what is longer this much is passed on, so that it can
be answered.
"""
MAX_INPUT = 3000
MAX_FIELDS = 64
_LONGEST_WORD = 255
_MENTION = re.compile(r"^\s*<@[A-Z0-9]+(?:\|[^<>]*)?>[:,]?\s*")
# A link as <http://a.b|a.b>, a channel as <#C1|shop>, a person as <@U1>; what was typed has no <.
_MARKUP = re.compile(r"<(?:mailto:)?([@#!]?[A-Za-z][^<>|\s]*)(?:\|([^<>]*))?>")
_ENTITY = re.compile("&(amp|lt|gt);")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">"}


class Ignored(NamedTuple):
    """Nothing is to be done, and Slack is told that it was taken."""

    reason: str


class Challenge(NamedTuple):
    """Slack asks whether the address is ours: the value goes back."""

    value: str


@dataclass(frozen=True)
class Asked:
    """Somebody wants something. `id` is the same for each repetition of the same thing by Slack."""

    id: str
    kind: str
    team: str
    user: str
    user_name: str
    channel: str
    channel_name: str
    text: str
    thread: str = ""
    """The thread that answers belong to, empty for none."""
    message: str = ""
    """Timestamp of the message that was written or clicked."""
    action: str = ""
    value: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What stands in the input fields of the message that was clicked, by action id."""
    response_url: Optional[Secret] = None


Parsed = Union[Asked, Challenge, Ignored]


def parse_http(part: str, content_type: str, body: bytes) -> Parsed:
    """The body of a request to `/slack/PART`; DefinitionError where it is none of Slack's."""
    if part == "events":
        return parse_event(_mapping(parse_json(body)))
    form = _form(body)
    if part == "commands":
        return parse_command(form)
    return parse_interaction(_mapping(parse_json(form.get("payload", "").encode())))


def parse_envelope(kind: str, payload: Any) -> Parsed:
    """An envelope of Socket Mode."""
    document = _mapping(payload)
    if kind == "slash_commands":
        return parse_command({key: _text(value) for key, value in document.items()})
    if kind == "events_api":
        return parse_event(document)
    if kind == "interactive":
        return parse_interaction(document)
    return Ignored(f"envelopes of type {_word(kind)} are not for us")


def parse_command(form: Mapping[str, str]) -> Parsed:
    """A slash command; its `trigger_id` is its own."""
    if form.get("ssl_check"):
        return Ignored("a check of the certificate")
    _need(form, "user_id", "channel_id", "trigger_id")
    return Asked(
        id=_word(form["trigger_id"]),
        kind=COMMAND,
        team=_word(form.get("team_id")),
        user=_word(form["user_id"]),
        user_name=_word(form.get("user_name")),
        channel=_word(form["channel_id"]),
        channel_name=_word(form.get("channel_name")),
        text=_clip(typed(form.get("text", ""))),
        response_url=_address(form.get("response_url")),
    )


def parse_event(document: Mapping[str, Any]) -> Parsed:
    """An event of the Events API: a mention, or a message to the bot alone."""
    if document.get("type") == "url_verification":
        return Challenge(_clip(_text(document.get("challenge"))))
    event = document.get("event")
    if document.get("type") != "event_callback" or not isinstance(event, dict):
        return Ignored("no event")
    kind = _text(event.get("type"))
    if event.get("bot_id") or event.get("bot_profile") or event.get("subtype"):
        return Ignored("written by a bot, or about a message and not one")
    if kind != "app_mention" and not (kind == "message" and event.get("channel_type") == "im"):
        return Ignored(f"events of type {_word(kind)} are not for us")
    _need(event, "user", "channel", "ts")
    _need(document, "event_id")
    moment = _word(event["ts"])
    return Asked(
        id=_word(document["event_id"]),
        kind=MENTION,
        team=_word(document.get("team_id")),
        user=_word(event["user"]),
        user_name="",
        channel=_word(event["channel"]),
        channel_name="",
        text=_clip(typed(_text(event.get("text")))),
        # Answers to a mention begin a thread below it, so that the channel stays readable.
        thread=_word(event.get("thread_ts")) or moment,
        message=moment,
    )


def typed(text: str) -> str:
    """A message's text as somebody typed it, without the mention of the bot it begins with. Only to
    be called once: what comes out may look like markup.
    """
    bare = _MARKUP.sub(lambda found: found[2] or found[1], _MENTION.sub("", text))
    return _ENTITY.sub(lambda found: _ENTITIES[found[1]], bare)


def parse_interaction(document: Mapping[str, Any]) -> Parsed:
    """A click on a button. Other interactions (menus, views) are none that we offer."""
    if document.get("type") != "block_actions":
        return Ignored(f"interactions of type {_word(document.get('type'))} are not for us")
    actions = document.get("actions")
    action = (
        actions[0] if isinstance(actions, list) and actions and isinstance(actions[0], dict) else {}
    )
    if action.get("type") != "button":
        return Ignored("no button")
    user, channel = _mapping(document.get("user")), _mapping(document.get("channel"))
    container, message = _mapping(document.get("container")), document.get("message")
    _need(user, "id")
    _need(channel, "id")
    _need(document, "trigger_id")
    thread = message.get("thread_ts") if isinstance(message, dict) else ""
    moment = _word(container.get("message_ts"))
    return Asked(
        id=_word(document["trigger_id"]),
        kind=ACTION,
        team=_word(
            (document.get("team") or {}).get("id") if isinstance(document.get("team"), dict) else ""
        ),
        user=_word(user["id"]),
        user_name=_word(user.get("username") or user.get("name")),
        channel=_word(channel["id"]),
        channel_name=_word(channel.get("name")),
        text="",
        thread=_word(thread) or moment,
        message=moment,
        action=_word(action.get("action_id")),
        value=_clip(_text(action.get("value"))),
        inputs=_inputs(document.get("state")),
        response_url=_address(document.get("response_url")),
    )


def payload(asked: Asked, reply: str) -> Dict[str, Any]:
    """What the trigger carries; `reply` names where the response_url is kept, which itself does not
    travel.

    Braces become parentheses: StackStorm renders what a rule passes on as a template once more.
    """
    said = {
        "id": asked.id,
        "kind": asked.kind,
        "team": asked.team,
        "user": asked.user,
        "user_name": asked.user_name,
        "channel": asked.channel,
        "channel_name": asked.channel_name,
        "text": asked.text,
        "thread": asked.thread,
        "message": asked.message,
        "action": asked.action,
        "value": asked.value,
        "reply": reply,
    }
    inputs = {_unbraced(key): _unbraced(value) for key, value in asked.inputs.items()}
    return {**{key: _unbraced(value) for key, value in said.items()}, "inputs": inputs}


def _unbraced(text: str) -> str:
    return text.replace("{", "(").replace("}", ")")


def _inputs(state: Any) -> Mapping[str, str]:
    values = state.get("values") if isinstance(state, dict) else None
    found: Dict[str, str] = {}
    for block in list((values or {}).values())[:MAX_FIELDS] if isinstance(values, dict) else ():
        for name, element in list(block.items())[:MAX_FIELDS] if isinstance(block, dict) else ():
            if isinstance(element, dict) and isinstance(element.get("value"), str):
                found[_word(name)] = element["value"][:MAX_INPUT]
    return found


def _form(body: bytes) -> Dict[str, str]:
    try:
        pairs: Mapping[str, List[str]] = parse_qs(
            body.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"
        )
    except (UnicodeDecodeError, ValueError) as error:
        raise DefinitionError("The body is no form.") from error
    return {key: values[-1] for key, values in pairs.items()}


def _need(found: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if not found.get(name) or not isinstance(found[name], str):
            raise DefinitionError(f"The request lacks {name}.", field=name)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DefinitionError("The body is no object.")
    return value


def _address(value: Any) -> Optional[Secret]:
    return (
        Secret(value)
        if isinstance(value, str) and value.startswith(("https://", "http://"))
        else None
    )


def _clip(text: str) -> str:
    return text[:MAX_TEXT]


def _word(value: Any) -> str:
    return _text(value)[:_LONGEST_WORD]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def encode(document: Mapping[str, Any]) -> bytes:
    """JSON for an answer."""
    return json.dumps(document, separators=(",", ":")).encode()
