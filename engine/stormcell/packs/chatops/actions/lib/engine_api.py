"""The engine's API for the actions of this pack: where it is and who asks stands in an action's
environment.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any

_TIMEOUT_SECONDS = 30


class Api:
    """Calls and answers in JSON; whatever the API refuses is a ValueError with its sentence."""

    def __init__(self) -> None:
        self._url = os.environ.get("ST2_ACTION_API_URL", "")
        self._token = os.environ.get("ST2_ACTION_AUTH_TOKEN", "")
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        if not self._url:
            raise ValueError("This engine has no API: ST2_ACTION_API_URL is not set.")

    def get(self, path: str) -> Any:
        return self._call(urllib.request.Request(f"{self._url}/{path}"))  # noqa: S310 - the engine's own address

    def post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(  # noqa: S310
            f"{self._url}/{path}", data=json.dumps(body).encode(), method="POST"
        )
        request.add_header("Content-Type", "application/json")
        return self._call(request)

    def _call(self, request: urllib.request.Request) -> Any:
        request.add_header("X-Auth-Token", self._token)
        try:
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise ValueError(_sentence(error)) from error


def _sentence(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["faultstring"])
    except (ValueError, KeyError, TypeError):
        return f"The API answered {error.code}."
