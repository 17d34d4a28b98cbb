"""Policies: how many executions of an action run at once, and whether a failed one is tried again.

The gate counts in memory, for one process decides alone: what waits at it is `delayed` in the store
and asks anew after a restart. StackStorm counts what is scheduled or running; here an execution
that was let through counts from then on, and one that is paused or waits for an answer does not.
Source of behaviour: st2actions/policies/{concurrency,concurrency_by_attr,retry}.py of StackStorm
3.9.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from stormcell.content.models import Policy
from stormcell.statuses import ExecutionStatus
from stormcell.store import Execution

CONCURRENCY = "action.concurrency"
CONCURRENCY_BY_ATTRIBUTE = "action.concurrency.attr"
RETRY = "action.retry"

Key = tuple[str, bytes]
"""A policy's ref and the values of its attributes: what is counted together."""
_RETRIED = {ExecutionStatus.FAILED: "failure", ExecutionStatus.TIMEOUT: "timeout"}
_encode = msgspec.json.Encoder(enc_hook=str, order="sorted").encode


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why an execution may not run now."""

    policy: Policy

    @property
    def is_final(self) -> bool:
        """Whether it is to be canceled rather than to wait."""
        return self.policy.parameters.get("action") == "cancel"

    @property
    def threshold(self) -> int:
        return _threshold(self.policy)


class Gate:
    """Lets executions through, first come first served, as far as the concurrency policies of their
    actions allow.
    """

    def __init__(
        self,
        policies_of: Callable[[str], Sequence[Policy]],
        values_of: Callable[[Execution], Mapping[str, Any]],
    ) -> None:
        self._policies_of = policies_of
        self._values_of = values_of
        self._running: dict[Key, set[str]] = {}
        self._keys: dict[str, list[Key]] = {}
        self._waiting: dict[Key, deque[Execution]] = {}
        self._waits_at: dict[str, Key] = {}

    def ask(self, execution: Execution) -> Refusal | None:
        """Let an execution through (None; twice is once), or say what is in its way; then it is in
        the queue, unless the refusal is final."""
        if execution.id in self._keys or execution.id in self._waits_at:
            return None if execution.id in self._keys else self._refusal_of_waiting(execution)
        found = self._keyed_policies(execution)
        for key, policy in found:
            if len(self._running.get(key, ())) >= _threshold(policy):
                refusal = Refusal(policy=policy)
                if not refusal.is_final:
                    self._waiting.setdefault(key, deque()).append(execution)
                    self._waits_at[execution.id] = key
                return refusal
        self._take(execution.id, [key for key, _ in found])
        return None

    def hold(self, execution: Execution) -> None:
        """Count an execution that runs already, whatever the policies say."""
        if execution.id not in self._keys:
            self._take(execution.id, [key for key, _ in self._keyed_policies(execution)])

    def release(self, execution_id: str) -> list[Execution]:
        """Stop counting an execution, or take it out of its queue; return those that are let
        through instead.
        """
        place = self._waits_at.pop(execution_id, None)
        if place is not None:
            self._waiting[place] = deque(
                one for one in self._waiting[place] if one.id != execution_id
            )
        freed: list[Execution] = []
        for key in self._keys.pop(execution_id, ()):
            self._running[key].discard(execution_id)
            freed += self._let_through(key)
        return freed

    def dissolve(self) -> list[Execution]:
        """Empty the queues; who waited there asks again (after a reload: the policies may be
        others).
        """
        waited = [execution for queue in self._waiting.values() for execution in queue]
        self._waiting.clear()
        self._waits_at.clear()
        return sorted(waited, key=lambda execution: execution.id)

    def _let_through(self, key: Key) -> list[Execution]:
        queue = self._waiting.get(key)
        freed: list[Execution] = []
        while queue:
            execution = queue.popleft()
            del self._waits_at[execution.id]
            refusal = self.ask(execution)
            if refusal is None or refusal.is_final:  # it asks again, and is told the same
                freed.append(execution)
            elif self._waits_at.get(execution.id) == key:
                queue.pop()  # it went to the end, and stays the first
                queue.appendleft(execution)
                break
        if not queue:
            self._waiting.pop(key, None)
        if not self._running.get(key):
            self._running.pop(key, None)
        return freed

    def _take(self, execution_id: str, keys: list[Key]) -> None:
        if not keys:
            return
        self._keys[execution_id] = keys
        for key in keys:
            self._running.setdefault(key, set()).add(execution_id)

    def _refusal_of_waiting(self, execution: Execution) -> Refusal | None:
        key = self._waits_at[execution.id]
        found = [policy for place, policy in self._keyed_policies(execution) if place == key]
        return Refusal(policy=found[0]) if found else None

    def _keyed_policies(self, execution: Execution) -> list[tuple[Key, Policy]]:
        found: list[tuple[Key, Policy]] = []
        for policy in self._policies_of(execution.action_ref):
            if policy.policy_type == CONCURRENCY:
                found.append(((policy.ref, b""), policy))
            elif policy.policy_type == CONCURRENCY_BY_ATTRIBUTE:
                given = self._values_of(execution)
                values = {
                    name: given[name]
                    for name in policy.parameters.get("attributes") or []
                    if name in given
                }
                found.append(((policy.ref, _encode(values)), policy))
        return found


def _threshold(policy: Policy) -> int:
    return int(policy.parameters.get("threshold") or 0)


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """Run it again."""

    delay_seconds: float
    context: dict[str, Any]
    """The context of the new execution."""


def retry_of(execution: Execution, policies: Sequence[Policy]) -> Retry | None:
    """Whether a policy has an execution that ended run again. Tasks of chains and workflows are not
    retried.
    """
    if execution.parent is not None or execution.status not in _RETRIED:
        return None
    for policy in policies:
        if (
            policy.policy_type != RETRY
            or policy.parameters.get("retry_on") != _RETRIED[execution.status]
        ):
            continue
        done = int(
            ((execution.context.get("policies") or {}).get("retry") or {}).get("retry_count") or 0
        )
        if done >= int(policy.parameters.get("max_retry_count", 2)):
            continue
        applied = {
            "applied_policy": policy.ref,
            "retry_count": done + 1,
            "retried_liveaction_id": execution.id,
        }
        return Retry(
            delay_seconds=float(policy.parameters.get("delay") or 0),
            context={**execution.context, "policies": {"retry": applied}},
        )
    return None
