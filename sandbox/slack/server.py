"""A workspace of Slack on loopback, as far as an app sees it.

Served: `auth.test`, `chat.postMessage`, `chat.update`, `chat.postEphemeral`,
`apps.connections.open` and the WebSocket of Socket Mode, `response_url`s. People type slash
commands, mention the bot and click buttons: each becomes a signed request to the app's request URL,
or an envelope where Socket Mode is connected; what is not taken within three seconds is sent again,
up to three times, as Slack does. Waiting before the repetitions is left out.

Sources: Slack's reference of these methods, "Verifying requests from Slack", "Using Socket Mode",
"Events API".
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import hashlib
import hmac
import html
import itertools
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from sandbox.serving import Server

ANSWER_SECONDS = 3.0
"""How long Slack waits for an app."""
RETRIES = 3
RESPONSE_URL_USES = 5
MAX_TEXT = 40_000
MAX_BLOCKS = 50

Json = dict[str, Any]


@dataclass
class Post:
    """A message as the workspace shows it. `only_for` is whom an ephemeral one is for; `versions`
    counts changes.
    """

    channel: str
    ts: str
    text: str
    blocks: list[Json] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    thread_ts: str = ""
    only_for: str = ""
    versions: int = 1

    @property
    def everything(self) -> str:
        """All text in it, wherever it stands."""
        return json.dumps([self.text, self.blocks, self.attachments], ensure_ascii=False)

    @property
    def buttons(self) -> dict[str, Json]:
        """The buttons by their words."""
        blocks = [
            *self.blocks,
            *(block for one in self.attachments for block in one.get("blocks", ())),
        ]
        elements = [
            each for block in blocks if block["type"] == "actions" for each in block["elements"]
        ]
        return {each["text"]["text"]: each for each in elements if each["type"] == "button"}


@dataclass(frozen=True)
class Delivery:
    """How an app took something: `status` 0 is no answer within three seconds. `body` is what it
    answered at once.
    """

    status: int
    body: str
    seconds: float
    attempts: int = 1


class SlackServer:
    """One workspace with one app in it. Use as a context manager."""

    def __init__(self) -> None:
        self.bot_token = f"xoxb-{secrets.token_hex(12)}"
        self.app_token = f"xapp-{secrets.token_hex(12)}"
        self.signing_secret = secrets.token_hex(16)
        self.team = "T0SANDBOX"
        self.bot_user = "U0KUBESTORM"
        self.bot_id = "B0KUBESTORM"
        self.channels: dict[str, str] = {"general": "C0GENERAL"}
        self.users: dict[str, str] = {}
        self.posts: list[Post] = []
        self.calls: list[tuple[str, Json]] = []
        """Every call of the Web API: method and arguments."""
        self.request_url = ""
        """Where the app takes commands, events and interactions: the parts `/slack/commands` and so
        on are added.
        """
        self.acknowledged: list[str] = []
        self._limits: list[tuple[str, float]] = []
        self._failures: list[tuple[str, str]] = []
        self._response_urls: dict[str, tuple[str, str, int]] = {}
        self._tickets: set[str] = set()
        self._sockets: list[asyncio.Queue[Json | None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[str, concurrent.futures.Future[Json]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.server = Server(self._app(), websockets=True)

    # The operator's side.

    @property
    def base_url(self) -> str:
        """What `slack.base_url` is set to."""
        return f"{self.server.url}/api/"

    def add_channel(self, name: str) -> str:
        """A channel with the bot in it; its id."""
        self.channels.setdefault(name, f"C0{name.upper().replace('-', '')}")
        return self.channels[name]

    def add_user(self, name: str) -> str:
        """A person; their id."""
        self.users.setdefault(name, f"U0{name.upper()}")
        return self.users[name]

    def limit(self, method: str, retry_after: float, times: int = 1) -> None:
        """Answer the next calls of a method with 429."""
        self._limits += [(method, retry_after)] * times

    def fail(self, method: str, error: str, times: int = 1) -> None:
        """Answer the next calls of a method with an error of Slack's."""
        self._failures += [(method, error)] * times

    def close_sockets(self) -> None:
        """Ask every client of Socket Mode to connect anew, as Slack does every few hours."""
        self._to_sockets({"type": "disconnect", "reason": "refresh_requested"})
        self._to_sockets(None)

    @property
    def connected(self) -> int:
        """How many clients of Socket Mode are there."""
        return len(self._sockets)

    def in_channel(self, channel: str) -> list[Post]:
        """What was posted in a channel, in order."""
        wanted = self.channels.get(channel.lstrip("#"), channel)
        return [post for post in list(self.posts) if post.channel == wanted]

    # People.

    def command(
        self,
        user: str,
        text: str,
        *,
        channel: str = "general",
        command: str = "/kubestorm",
        **more: Any,
    ) -> Delivery:
        """Somebody types a slash command."""
        where = self.channels[channel]
        body = {
            "token": "deprecated",
            "team_id": self.team,
            "channel_id": where,
            "channel_name": channel,
            "user_id": self.add_user(user),
            "user_name": user,
            "command": command,
            "text": _escaped(text),
            "response_url": self._response_url(where, self.add_user(user)),
            "trigger_id": self._trigger_id(),
            "api_app_id": "A0KUBESTORM",
            **more,
        }
        return self.deliver("commands", "slash_commands", body)

    def mention(
        self, user: str, text: str, *, channel: str = "general", thread: str = "", **more: Any
    ) -> Delivery:
        """Somebody writes to the bot in a channel."""
        event = {
            "type": "app_mention",
            "user": self.add_user(user),
            "text": f"<@{self.bot_user}> {_escaped(text)}",
            "ts": self._ts(),
            "channel": self.channels[channel],
            "event_ts": self._ts(),
            **({"thread_ts": thread} if thread else {}),
            **more,
        }
        return self.event(event)

    def event(self, event: Json, **more: Any) -> Delivery:
        """Any event of the Events API."""
        number = next(self._numbers)
        body = {
            "token": "deprecated",
            "team_id": self.team,
            "api_app_id": "A0KUBESTORM",
            "type": "event_callback",
            "event_id": f"Ev{number:09d}",
            "event_time": int(time.time()),
            "event": event,
            **more,
        }
        return self.deliver("events", "events_api", body)

    def click(self, user: str, post: Post, button: str, **values: str) -> Delivery:
        """Somebody clicks a button; `values` is what stands in the message's input fields, by
        action id.
        """
        element = post.buttons[button]
        return self.deliver(
            "interactions", "interactive", self.click_body(user, post, element, values)
        )

    def click_body(self, user: str, post: Post, element: Json, values: Json | None = None) -> Json:
        """What a click on a button sends."""
        blocks = [
            *post.blocks,
            *(block for one in post.attachments for block in one.get("blocks", ())),
        ]
        state: Json = {}
        for block in blocks:
            if block["type"] == "input":
                name = block["element"]["action_id"]
                kind = block["element"]["type"]
                state[block["block_id"]] = {name: {"type": kind, "value": (values or {}).get(name)}}
        return {
            "type": "block_actions",
            "team": {"id": self.team, "domain": "sandbox"},
            "user": {"id": self.add_user(user), "username": user, "team_id": self.team},
            "api_app_id": "A0KUBESTORM",
            "token": "deprecated",
            "container": {"type": "message", "message_ts": post.ts, "channel_id": post.channel},
            "channel": {"id": post.channel, "name": "any"},
            "message": {"ts": post.ts, "text": post.text, "blocks": post.blocks},
            "trigger_id": self._trigger_id(),
            "response_url": self._response_url(post.channel, self.add_user(user)),
            "state": {"values": state},
            "actions": [
                {**element, "action_ts": self._ts(), "type": "button", "block_id": "buttons"}
            ],
        }

    def deliver(self, kind: str, envelope: str, body: Json) -> Delivery:
        """Give something to the app, over Socket Mode where that is connected; again where it is
        not taken in time.
        """
        return self._by_socket(envelope, body) if self._sockets else self._by_http(kind, body)

    def _by_http(self, kind: str, body: Json) -> Delivery:
        delivery = Delivery(0, "", 0.0)
        for attempt in range(RETRIES + 1):
            headers = (
                {"X-Slack-Retry-Num": str(attempt), "X-Slack-Retry-Reason": "http_timeout"}
                if attempt
                else {}
            )
            delivery = self.send(kind, body, headers=headers, attempt=attempt + 1)
            # Commands and clicks are not repeated: the person is told that the app did not answer.
            if delivery.status == 200 or kind != "events":
                break
        return delivery

    def send(
        self,
        kind: str,
        body: Json,
        *,
        headers: dict[str, str] | None = None,
        attempt: int = 1,
        **signing: Any,
    ) -> Delivery:
        """One signed request. `signing` may name another `secret`, `timestamp` or `signature`."""
        if kind == "events":
            content, media = json.dumps(body), "application/json"
        elif kind == "commands":
            content, media = urlencode(body), "application/x-www-form-urlencoded"
        else:
            content, media = (
                urlencode({"payload": json.dumps(body)}),
                "application/x-www-form-urlencoded",
            )
        signed = {**self.signed(content, **signing), "Content-Type": media, **(headers or {})}
        begin = time.monotonic()
        try:
            answer = httpx.post(
                f"{self.request_url}/slack/{kind}",
                content=content,
                headers=signed,
                timeout=ANSWER_SECONDS,
            )
        except httpx.TimeoutException:
            return Delivery(0, "", time.monotonic() - begin, attempt)
        return Delivery(answer.status_code, answer.text, time.monotonic() - begin, attempt)

    def signed(
        self, content: str, *, secret: str = "", timestamp: float | str = "", signature: str = ""
    ) -> dict[str, str]:
        """The headers that prove that a request is Slack's."""
        moment = str(timestamp or int(time.time()))
        key = (secret or self.signing_secret).encode()
        proof = "v0=" + hmac.new(key, f"v0:{moment}:{content}".encode(), hashlib.sha256).hexdigest()
        return {"X-Slack-Request-Timestamp": moment, "X-Slack-Signature": signature or proof}

    def _by_socket(self, envelope: str, body: Json) -> Delivery:
        begin = time.monotonic()
        for attempt in range(RETRIES + 1):
            number = secrets.token_hex(8)
            waiting: concurrent.futures.Future[Json] = concurrent.futures.Future()
            self._waiting[number] = waiting
            message = {
                "type": envelope,
                "envelope_id": number,
                "payload": body,
                "accepts_response_payload": True,
            }
            if attempt:
                message |= {"retry_attempt": attempt, "retry_reason": "timeout"}
            self._to_sockets(message, to_all=False)
            with contextlib.suppress(concurrent.futures.TimeoutError):
                answer = waiting.result(ANSWER_SECONDS)
                return Delivery(
                    200,
                    json.dumps(answer.get("payload") or {}),
                    time.monotonic() - begin,
                    attempt + 1,
                )
        return Delivery(0, "", time.monotonic() - begin, RETRIES + 1)

    def _to_sockets(self, message: Json | None, *, to_all: bool = True) -> None:
        queues = list(self._sockets)
        for queue in queues if to_all else queues[-1:]:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(queue.put_nowait, message)

    def _ts(self) -> str:
        return f"{int(time.time())}.{next(self._numbers):06d}"

    def _trigger_id(self) -> str:
        return f"{next(self._numbers)}.{self.team}.{secrets.token_hex(8)}"

    def _response_url(self, channel: str, user: str) -> str:
        key = secrets.token_urlsafe(16)
        self._response_urls[key] = (channel, user, RESPONSE_URL_USES)
        return f"{self.server.url}/response/{key}"

    # What it serves.

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/{method}", self._web_api, methods=["GET", "POST"]),
                Route("/response/{key}", self._response, methods=["POST"]),
                WebSocketRoute("/link", self._link),
            ]
        )

    async def _web_api(self, request: Request) -> Response:
        method = request.path_params["method"]
        arguments = await _arguments(request)
        expected = self.app_token if method == "apps.connections.open" else self.bot_token
        if request.headers.get("authorization", "") != f"Bearer {expected}":
            return _error("invalid_auth")
        with self._lock:
            limited = next((one for one in self._limits if one[0] == method), None)
            if limited:
                self._limits.remove(limited)
                return JSONResponse(
                    {"ok": False, "error": "ratelimited"},
                    429,
                    headers={"Retry-After": str(int(limited[1]))},
                )
            failure = next((one for one in self._failures if one[0] == method), None)
            if failure:
                self._failures.remove(failure)
                return _error(failure[1])
            self.calls.append((method, arguments))
            serve = {
                "auth.test": self._auth_test,
                "chat.postMessage": self._post_message,
                "chat.postEphemeral": self._post_message,
                "chat.update": self._update,
                "apps.connections.open": self._open,
            }.get(method)
            return serve(arguments) if serve else _error("unknown_method")

    def _auth_test(self, _arguments: Json) -> Response:
        return JSONResponse(
            {
                "ok": True,
                "user_id": self.bot_user,
                "bot_id": self.bot_id,
                "team_id": self.team,
                "url": self.server.url,
            }
        )

    def _post_message(self, arguments: Json) -> Response:
        channel = self._channel(arguments)
        problem = _content_problem(arguments)
        if channel is None or problem:
            return _error(problem or "channel_not_found")
        ts = self._ts()
        self.posts.append(
            Post(
                channel,
                ts,
                str(arguments.get("text") or ""),
                list(arguments.get("blocks") or ()),
                list(arguments.get("attachments") or ()),
                str(arguments.get("thread_ts") or ""),
                str(arguments.get("user") or ""),
            )
        )
        return JSONResponse(
            {"ok": True, "channel": channel, "ts": ts, "message": {"ts": ts}, "message_ts": ts}
        )

    def _update(self, arguments: Json) -> Response:
        found = next((post for post in self.posts if post.ts == arguments.get("ts")), None)
        if found is None:
            return _error("message_not_found")
        problem = _content_problem(arguments)
        if problem:
            return _error(problem)
        found.text = str(arguments.get("text") or "")
        found.blocks = list(arguments.get("blocks") or ())
        found.attachments = list(arguments.get("attachments") or ())
        found.versions += 1
        return JSONResponse(
            {"ok": True, "channel": found.channel, "ts": found.ts, "text": found.text}
        )

    def _open(self, _arguments: Json) -> Response:
        ticket = secrets.token_urlsafe(12)
        self._tickets.add(ticket)
        return JSONResponse(
            {"ok": True, "url": f"{self.server.url.replace('http', 'ws', 1)}/link?ticket={ticket}"}
        )

    def _channel(self, arguments: Json) -> str | None:
        asked = str(arguments.get("channel") or "")
        if asked in self.channels.values() or asked.startswith("D"):
            return asked
        return self.channels.get(asked.lstrip("#"))

    async def _response(self, request: Request) -> Response:
        key = request.path_params["key"]
        channel, user, left = self._response_urls.get(key, ("", "", 0))
        if not left:
            return JSONResponse({"ok": False, "error": "used_url"}, 404)
        self._response_urls[key] = (channel, user, left - 1)
        body = await request.json()
        only_for = "" if body.get("response_type") == "in_channel" else user
        with self._lock:
            self.posts.append(
                Post(
                    channel,
                    self._ts(),
                    str(body.get("text") or ""),
                    list(body.get("blocks") or ()),
                    list(body.get("attachments") or ()),
                    str(body.get("thread_ts") or ""),
                    only_for,
                )
            )
        return PlainTextResponse("ok")

    async def _link(self, socket: WebSocket) -> None:
        ticket = socket.query_params.get("ticket", "")
        if ticket not in self._tickets:
            await socket.close(4401)
            return
        self._tickets.discard(ticket)
        await socket.accept()
        await socket.send_json(
            {"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A0KUBESTORM"}}
        )
        self._loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Json | None] = asyncio.Queue()
        self._sockets.append(queue)
        reading = asyncio.create_task(self._read(socket, queue))
        try:
            while (message := await queue.get()) is not None:
                await socket.send_text(json.dumps(message))
            with contextlib.suppress(RuntimeError):
                await socket.close()
        finally:
            reading.cancel()
            self._sockets.remove(queue)

    async def _read(self, socket: WebSocket, queue: asyncio.Queue[Json | None]) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                message = json.loads(await socket.receive_text())
                number = str(message.get("envelope_id") or "")
                self.acknowledged.append(number)
                waiting = self._waiting.pop(number, None)
                if waiting is not None:
                    waiting.set_result(message)
        queue.put_nowait(None)

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._sockets:
            self._to_sockets(None)
        self.server.stop()


async def _arguments(request: Request) -> Json:
    body = (await request.body()).decode()
    if request.headers.get("content-type", "").startswith("application/json"):
        return dict(json.loads(body or "{}"))
    found: Json = {key: values[-1] for key, values in parse_qs(body).items()}
    for key in ("blocks", "attachments"):
        if isinstance(found.get(key), str):
            found[key] = json.loads(found[key])
    return {**dict(request.query_params), **found}


def _escaped(typed: str) -> str:
    """What somebody typed, as Slack sends it: its own markup has brackets, everything else none."""
    return html.escape(typed, quote=False)


def _content_problem(arguments: Json) -> str:
    """What Slack refuses of a message: nothing in it, too much in it, a section that is too long."""
    blocks = [
        *(arguments.get("blocks") or ()),
        *(block for one in arguments.get("attachments") or () for block in one.get("blocks", ())),
    ]
    text = str(arguments.get("text") or "")
    if not text and not blocks:
        return "no_text"
    if len(text) > MAX_TEXT:
        return "msg_too_long"
    if len(blocks) > MAX_BLOCKS:
        return "invalid_blocks"
    sections = [
        block.get("text", {}).get("text", "") for block in blocks if block["type"] == "section"
    ]
    too_long = any(len(text) > 3000 for text in sections)
    return "invalid_blocks" if too_long else ""


def _error(word: str) -> Response:
    return JSONResponse({"ok": False, "error": word})
