"""The engine's API of inquiries and executions, asked with the token that the engine gives to the
running action. The same on StackStorm and stormcell.
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Mapping, Optional
from urllib.parse import quote, urlencode

import urllib3

from kubestorm.core.errors import PermanentError, TemporaryError
from kubestorm.core.secrets import Secret

SERVICE = "StackStorm"
TIMEOUT_SECONDS = 5.0
MOST_INQUIRIES = 100


class EngineApi:
    """The few calls that announcements, approvals and deliveries need.

    Raises TemporaryError and PermanentError.
    """

    def __init__(self, url: str, token: Secret) -> None:
        self._url, self._token = url.rstrip("/"), token
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(TIMEOUT_SECONDS),
            retries=False,
            ca_certs=os.environ.get("REQUESTS_CA_BUNDLE"),
        )

    @classmethod
    def of_this_action(cls) -> Optional[EngineApi]:
        """By the environment that actions are given; None outside of one."""
        url, token = os.environ.get("ST2_ACTION_API_URL"), os.environ.get("ST2_ACTION_AUTH_TOKEN")
        return cls(url, Secret(token)) if url and token else None

    def user(self) -> str:
        """Whose token it is."""
        return str((self._send("GET", "/user") or {}).get("username") or "")

    def inquiries(self, route: str) -> List[Mapping[str, Any]]:
        """Those that wait for an answer on a route."""
        found = self._send("GET", f"/inquiries/?{urlencode({'limit': MOST_INQUIRIES})}")
        return [item for item in found if isinstance(item, dict) and item.get("route") == route]

    def respond(self, inquiry_id: str, response: Mapping[str, Any]) -> None:
        """Answer one."""
        body = {"id": inquiry_id, "response": dict(response)}
        self._send("PUT", f"/inquiries/{quote(inquiry_id, safe='')}", body)

    def start(
        self,
        action: str,
        parameters: Mapping[str, Any],
        *,
        user: str = "",
        context: Optional[Mapping[str, str]] = None,
    ) -> str:
        """Start an execution of an action and return its id; does not wait for it.

        Another `user` than the token's needs an administrator's token where RBAC is on; else
        PermanentError with `status_code` 403. `context` becomes part of the execution's context.
        """
        body = {
            "action": action,
            "parameters": dict(parameters),
            **({"user": user} if user else {}),
        }
        headers = {"st2-context": json.dumps(context)} if context else {}
        made = self._send("POST", "/executions", body, headers)
        return str((made or {}).get("id") or "")

    def execution(self, execution_id: str) -> Mapping[str, Any]:
        """One execution with its result and context."""
        found = self._send("GET", f"/executions/{quote(execution_id, safe='')}")
        return found if isinstance(found, dict) else {}

    def children(self, execution_id: str) -> List[Mapping[str, Any]]:
        """The executions that a workflow has begun, in no order."""
        found = self._send("GET", f"/executions/{quote(execution_id, safe='')}/children?depth=1")
        return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []

    def _send(
        self,
        method: str,
        path: str,
        body: Optional[Dict[str, Any]] = None,
        more_headers: Optional[Mapping[str, str]] = None,
    ) -> Any:
        headers = {
            "X-Auth-Token": self._token.reveal(),
            "Content-Type": "application/json",
            **(more_headers or {}),
        }
        data = json.dumps(body).encode() if body is not None else None
        try:
            answer = self._pool.request(method, f"{self._url}{path}", body=data, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise TemporaryError(
                f"StackStorm's API does not answer ({type(error).__name__}).", service=SERVICE
            ) from error
        if answer.status >= 500:
            raise TemporaryError(
                f"StackStorm's API failed ({answer.status}).",
                service=SERVICE,
                status_code=answer.status,
            )
        if answer.status >= 400:
            raise PermanentError(
                f"StackStorm's API refused {method} {path.partition('?')[0]} ({answer.status}).",
                service=SERVICE,
                status_code=answer.status,
            )
        try:
            return json.loads(answer.data) if answer.data else None
        except ValueError as error:
            raise TemporaryError(
                "StackStorm's API did not answer with JSON.", service=SERVICE
            ) from error
