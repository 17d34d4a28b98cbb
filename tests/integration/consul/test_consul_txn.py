"""Transactions: all of it or nothing, in the words of the API."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import consul
import httpx
import pytest


def kv(verb: str, key: str, value: str = "", **rest: Any) -> dict[str, Any]:
    return {
        "KV": {"Verb": verb, "Key": key, "Value": base64.b64encode(value.encode()).decode(), **rest}
    }


def test_a_transaction_writes_all_under_one_index(client: consul.Consul) -> None:
    """Every key of it has the same ModifyIndex, and sets answer without values."""
    answer = client.txn.put([kv("set", "a", "1"), kv("set", "b", "2"), kv("get", "a")])
    results = [entry["KV"] for entry in answer["Results"]]
    assert answer["Errors"] is None
    assert [entry["Value"] for entry in results] == [None, None, "MQ=="]
    assert client.kv.get("a")[1]["ModifyIndex"] == client.kv.get("b")[1]["ModifyIndex"]


def test_a_tree_is_read_and_deleted_in_one(client: consul.Consul) -> None:
    """get-tree answers each key, delete-tree none."""
    client.txn.put([kv("set", "t/a", "1"), kv("set", "t/b", "2")])
    answer = client.txn.put([kv("get-tree", "t/"), kv("delete-tree", "t/")])
    assert [entry["KV"]["Key"] for entry in answer["Results"]] == ["t/a", "t/b"]
    assert client.kv.get("t/", recurse=True)[1] is None


FAILING = [
    ("get-absent", kv("get", "none"), 'key "none" doesn\'t exist'),
    ("cas-stale", kv("cas", "there", "x", Index=1), 'failed to set key "there", index is stale'),
    (
        "cas-create-present",
        kv("cas", "there", "x", Index=0),
        'failed to set key "there", index is stale',
    ),
    (
        "delete-cas-stale",
        kv("delete-cas", "there", Index=1),
        'failed to delete key "there", index is stale',
    ),
    ("check-not-exists", kv("check-not-exists", "there"), 'key "there" exists'),
    ("check-index", kv("check-index", "none", Index=1), 'key "none" doesn\'t exist'),
    ("lock-unknown-session", kv("lock", "there", Session="none"), 'invalid session "none"'),
    (
        "unlock-unheld",
        kv("unlock", "there", Session="none"),
        'failed to unlock key "there", lock isn\'t held, or is held by another session',
    ),
    ("unknown-verb", kv("swap", "there"), 'unknown KV verb "swap"'),
]


@pytest.mark.parametrize(
    "operation, what", [case[1:] for case in FAILING], ids=[case[0] for case in FAILING]
)
def test_one_failing_operation_undoes_the_others(
    client: consul.Consul, raw: Callable[..., httpx.Response], operation: dict[str, Any], what: str
) -> None:
    """The answer is 409 with the operation's number and reason, and nothing of the rest has
    happened.
    """
    client.kv.put("there", "1")
    before = client.kv.get("there")
    answer = raw("PUT", "txn", json=[kv("set", "new", "x"), kv("set", "there", "2"), operation])
    assert answer.status_code == 409
    assert answer.json() == {"Results": None, "Errors": [{"OpIndex": 2, "What": what}]}
    assert client.kv.get("there") == before
    assert client.kv.get("new")[1] is None


def test_a_lock_is_taken_and_checked_in_a_transaction(client: consul.Consul) -> None:
    """lock, check-session and unlock work as the single requests do."""
    session = client.session.create(lock_delay=0)
    client.txn.put(
        [kv("lock", "l", "1", Session=session), kv("check-session", "l", Session=session)]
    )
    assert client.kv.get("l")[1]["Session"] == session
    client.txn.put([kv("unlock", "l", "1", Session=session)])
    assert "Session" not in client.kv.get("l")[1]


def test_more_than_64_operations_are_refused(raw: Callable[..., httpx.Response]) -> None:
    """64 go through, 65 do not."""
    assert raw("PUT", "txn", json=[kv("set", f"k{n}", "x") for n in range(64)]).status_code == 200
    answer = raw("PUT", "txn", json=[kv("set", f"k{n}", "y") for n in range(65)])
    assert answer.status_code == 413
    assert answer.text == "Transaction contains too many operations (65 > 64)"
