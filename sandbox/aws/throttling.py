"""AWS turning requests away for their rate, on demand, in the words each protocol family uses.

The codes and status follow the services' error references: Throttling (400) for the query protocol,
RequestLimitExceeded (503) for EC2, ThrottlingException (400) for the JSON protocols.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from sandbox.aws.wsgi import read_body, send_response
from sandbox.serving import AsgiApp

MESSAGE = "Rate exceeded"
XML = "text/xml"


class Throttle:
    """An ASGI layer that passes everything on until it is told to refuse some requests."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._left = 0
        self._action: str | None = None
        self.refused = 0

    def refuse_next(self, calls: int, action: str | None = None) -> None:
        """Refuse that many calls from now on; an earlier order is forgotten, and 0 ends it."""
        with self._lock:
            self._left, self._action = calls, action

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        if scope["type"] != "http" or not self._left:
            await self._app(scope, receive, send)
            return
        body = await read_body(receive)
        if self._take(action_of(scope, body)):
            await send_response(send, *refusal(scope))
            return

        async def replay() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    def _take(self, action: str | None) -> bool:
        with self._lock:
            if not self._left or (self._action and self._action != action):
                return False
            self._left -= 1
            self.refused += 1
            return True


def header(scope: dict[str, Any], name: bytes) -> str:
    """One request header as text, or an empty one."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def action_of(scope: dict[str, Any], body: bytes) -> str | None:
    """The API action a request asks for, in the query protocol's form or the JSON protocols' target
    header.
    """
    target = header(scope, b"x-amz-target")
    if target:
        return target.rpartition(".")[2]
    if header(scope, b"content-type").startswith("application/x-www-form-urlencoded"):
        return parse_qs(body.decode("utf-8", "replace")).get("Action", [None])[0]
    return None


def refusal(scope: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of a refusal in the protocol of the request."""
    request_id = str(uuid.uuid4())
    if "json" in header(scope, b"content-type"):
        body = json.dumps({"__type": "ThrottlingException", "message": MESSAGE})
        return 400, [("content-type", "application/x-amz-json-1.1")], body.encode()
    if "/ec2/" in header(scope, b"authorization"):
        error = f"<Error><Code>RequestLimitExceeded</Code><Message>{MESSAGE}</Message></Error>"
        text = f"<Response><Errors>{error}</Errors><RequestID>{request_id}</RequestID></Response>"
        return 503, [("content-type", XML)], text.encode()
    error = f"<Error><Type>Sender</Type><Code>Throttling</Code><Message>{MESSAGE}</Message></Error>"
    text = f"<ErrorResponse>{error}<RequestId>{request_id}</RequestId></ErrorResponse>"
    return 400, [("content-type", XML)], text.encode()
