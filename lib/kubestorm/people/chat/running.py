"""Runs an action of the pack as an execution of its own, through the engine's API.

RBAC, policies, rules on `core.st2.generic.actiontrigger` and the history of the engine therefore
hold for what is asked for in a chat (decision 0132). Not safe to repeat: each call starts an
execution.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Mapping, Optional, Protocol, Tuple

from kubestorm.clients.engine_api import SERVICE, EngineApi
from kubestorm.core.errors import Error, PermanentError, TemporaryError
from kubestorm.people.chat.people import Person

PACK = "kubestorm"
WAIT_SECONDS = 60.0
"""An execution that takes longer is answered with its id."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 2.0
_FORBIDDEN, _UNAVAILABLE = 403, 503
_ENDED = frozenset(("succeeded", "failed", "timeout", "canceled", "abandoned"))

Result = Tuple[bool, Any]


class Runner(Protocol):
    """Runs actions of the pack by name."""

    def run(self, action: str, parameters: Mapping[str, Any], person: Person) -> Result:
        """Whether it succeeded, and its result; an error is a result, too."""
        ...


class EngineActions:
    """Runs actions by the engine's API. `api` is None outside of an execution."""

    def __init__(
        self, api: Optional[EngineApi], *, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._api, self._pause = api, pause

    def run(self, action: str, parameters: Mapping[str, Any], person: Person) -> Result:
        """Start the execution and wait for it, at most `WAIT_SECONDS`.

        One that is not done by then gives `(False, {"unfinished": True, "message", "next_step"})`.
        """
        try:
            if self._api is None:
                raise PermanentError(
                    "This process has no access to StackStorm's API; nothing was started.",
                    service=SERVICE,
                )
            execution_id = self._start(self._api, f"{PACK}.{action}", parameters, person)
            return _result(action, execution_id, self._ended(self._api, execution_id))
        except Error as error:
            reason = type(error).__name__
            return False, {"reason": reason, "message": str(error), "service": error.service}

    def _start(
        self, api: EngineApi, ref: str, parameters: Mapping[str, Any], person: Person
    ) -> str:
        """As the person where the API allows that, and else as the user of this execution.

        StackStorm lets administrators name a user (st2api/controllers/v1/actionexecutions.py). An
        account that the configuration does not list is never taken for a user.
        """
        context = {"api_user": person.account} if person.account else {}
        user, pause = (person.name if person.known else ""), _FIRST_PAUSE_SECONDS
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                return api.start(ref, parameters, user=user, context=context)
            except (PermanentError, TemporaryError) as error:
                if user and error.status_code == _FORBIDDEN:
                    user = ""
                    continue
                # An engine that is about to stop or has just started refuses; nothing has begun.
                if error.status_code != _UNAVAILABLE or time.monotonic() >= deadline:
                    raise
            self._pause(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)

    def _ended(self, api: EngineApi, execution_id: str) -> Mapping[str, Any]:
        """The execution, ended or as it is after `WAIT_SECONDS`."""
        deadline, pause = time.monotonic() + WAIT_SECONDS, _FIRST_PAUSE_SECONDS
        found: Mapping[str, Any] = {}
        while time.monotonic() < deadline:
            try:
                found = api.execution(execution_id)
            except TemporaryError:
                found = {}
            if found.get("status") in _ENDED:
                break
            self._pause(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
        return found


def _result(action: str, execution_id: str, execution: Mapping[str, Any]) -> Result:
    status, outer = execution.get("status"), execution.get("result")
    result = outer.get("result") if isinstance(outer, Mapping) else None
    if status == "succeeded":
        return True, result
    show = f"`st2 execution get {execution_id}` shows it."
    if status not in _ENDED:
        sentence = f"{action} has not finished after {WAIT_SECONDS:.0f} seconds."
        return False, {"unfinished": True, "message": sentence, "next_step": show}
    if status == "failed" and isinstance(result, Mapping) and result.get("message"):
        return False, result
    sentence = {
        "failed": f"{action} failed without an error message.",
        "timeout": f"{action} timed out.",
    }.get(str(status), f"{action} was {status}.")
    failed: Dict[str, Any] = {"reason": "Fault", "message": sentence, "next_step": show}
    return False, failed
