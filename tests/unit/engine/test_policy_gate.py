"""The gate of the concurrency policies: who is let through, who waits where, and who follows."""

from __future__ import annotations

from typing import Any

from stormcell.content.models import Policy
from stormcell.policies import CONCURRENCY, CONCURRENCY_BY_ATTRIBUTE, Gate, Refusal
from stormcell.statuses import ExecutionStatus
from stormcell.store import Execution


def _policy(
    name: str, threshold: int, *, action: str = "delay", attributes: list[str] | None = None
) -> Policy:
    return Policy(
        pack="p",
        name=name,
        resource_ref="p.a",
        policy_type=CONCURRENCY_BY_ATTRIBUTE if attributes else CONCURRENCY,
        parameters={"threshold": threshold, "action": action, "attributes": attributes or []},
    )


def _gate(*policies: Policy) -> Gate:
    return Gate(lambda _: policies, lambda execution: execution.parameters)


def _execution(name: str, **parameters: Any) -> Execution:
    return Execution(
        id=name,
        action_ref="p.a",
        runner_type="noop",
        status=ExecutionStatus.REQUESTED,
        root=name,
        started_at="",
        parameters=parameters,
        context={},
    )


def _ids(executions: list[Execution]) -> list[str]:
    return [execution.id for execution in executions]


def test_the_first_to_come_is_the_first_to_follow() -> None:
    """Each release lets in the one that waits longest, and asking twice changes nothing."""
    gate = _gate(_policy("one", 1))
    first, second, third = (_execution(name) for name in "abc")
    assert [gate.ask(one) is None for one in (first, second, third, first, second)] == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert _ids(gate.release("a")) == ["b"]
    assert gate.ask(second) is None
    assert _ids(gate.release("b")) == ["c"]
    assert gate.release("c") == []


def test_one_that_leaves_the_queue_is_passed_over() -> None:
    """A waiting execution that is canceled frees no place and takes none."""
    gate = _gate(_policy("one", 1))
    for name in "abc":
        gate.ask(_execution(name))
    assert gate.release("b") == []
    assert _ids(gate.release("a")) == ["c"]


def test_all_policies_must_agree() -> None:
    """Let go by one policy, an execution waits at the next, and does not hold up others."""
    gate = _gate(_policy("all", 2), _policy("each", 1, attributes=["group"]))
    red, blue, red_too, green = (
        _execution(n, group=g) for n, g in zip("abcd", ["r", "b", "r", "g"], strict=True)
    )
    assert [gate.ask(one) is None for one in (red, blue, red_too, green)] == [
        True,
        True,
        False,
        False,
    ]
    assert _ids(gate.release("b")) == ["d"]
    assert _ids(gate.release("a")) == ["c"]


def test_what_runs_already_counts() -> None:
    """An execution found running is held whatever the threshold says."""
    gate = _gate(_policy("one", 1))
    gate.hold(_execution("a"))
    gate.hold(_execution("b"))
    assert gate.ask(_execution("c")) is not None
    assert gate.release("a") == []
    assert _ids(gate.release("b")) == ["c"]


def test_a_policy_that_cancels_keeps_no_queue() -> None:
    """Such a refusal is final and names the policy."""
    policy = _policy("one", 1, action="cancel")
    gate = _gate(policy)
    gate.ask(_execution("a"))
    refusal = gate.ask(_execution("b"))
    assert refusal == Refusal(policy=policy)
    assert refusal is not None
    assert (refusal.is_final, refusal.threshold) == (True, 1)
    assert gate.release("a") == []


def test_dissolving_has_everybody_ask_again() -> None:
    """After a change of policies the queues are empty, and who waited is told in the order of
    coming.
    """
    gate = _gate(_policy("one", 1))
    for name in "acb":
        gate.ask(_execution(name))
    assert _ids(gate.dissolve()) == ["b", "c"]
    assert gate.release("a") == []
