"""Keys, check-and-set, locks, sessions and blocking queries, through the unchanged py-consul."""

from __future__ import annotations

import threading
from collections.abc import Callable

import consul
import httpx
import pytest

from sandbox.clock import ManualClock
from sandbox.consul import ConsulServer

DEADLINE_SECONDS = 120.0


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what another thread brings about."""
    pause = threading.Event()
    for _ in range(int(DEADLINE_SECONDS / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("what was waited for did not happen")


class Waiting:
    """A blocking query in a thread of its own, known to be waiting once made."""

    def __init__(self, server: ConsulServer, query: Callable[[], object]) -> None:
        self.answer: object = None
        before = server.waiting_queries
        self._thread = threading.Thread(target=self._run, args=(query,), daemon=True)
        self._thread.start()
        eventually(lambda: server.waiting_queries > before)

    def _run(self, query: Callable[[], object]) -> None:
        self.answer = query()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> object:
        self._thread.join(DEADLINE_SECONDS)
        assert self.done, "the query is still waiting"
        return self.answer


def test_a_value_comes_back_as_bytes_with_its_flags(client: consul.Consul) -> None:
    """Any bytes are kept, and an empty value reads as none."""
    client.kv.put("a", b"\x00\xff", flags=42)
    _, entry = client.kv.get("a")
    assert (entry["Value"], entry["Flags"], entry["LockIndex"]) == (b"\x00\xff", 42, 0)
    client.kv.put("empty", "")
    assert client.kv.get("empty")[1]["Value"] is None


def test_trees_and_keys_are_listed_by_prefix(client: consul.Consul) -> None:
    """recurse gives all below a prefix; keys with a separator folds what is deeper."""
    for key in ("app/a", "app/b/c", "app/b/d", "other"):
        client.kv.put(key, "x")
    assert [entry["Key"] for entry in client.kv.get("app/", recurse=True)[1]] == [
        "app/a",
        "app/b/c",
        "app/b/d",
    ]
    assert client.kv.get("app/", keys=True, separator="/")[1] == ["app/a", "app/b/"]
    client.kv.delete("app/", recurse=True)
    assert client.kv.get("app/", recurse=True)[1] is None
    assert client.kv.get("other")[1] is not None


def test_raw_gives_the_bytes_alone(
    client: consul.Consul, raw: Callable[..., httpx.Response]
) -> None:
    """?raw answers the value itself."""
    client.kv.put("a", b"plain")
    assert raw("GET", "kv/a?raw").content == b"plain"


@pytest.mark.parametrize("exists", [False, True], ids=["absent", "present"])
def test_check_and_set_with_zero_creates_only(client: consul.Consul, exists: bool) -> None:
    """cas=0 holds for a key that is not there."""
    if exists:
        client.kv.put("a", "1")
    assert client.kv.put("a", "2", cas=0) is not exists


def test_check_and_set_holds_for_the_last_change_alone(client: consul.Consul) -> None:
    """A write or deletion with a stale index answers false and changes nothing."""
    client.kv.put("a", "1")
    index = client.kv.get("a")[1]["ModifyIndex"]
    assert client.kv.put("a", "2", cas=index) is True
    assert client.kv.put("a", "3", cas=index) is False
    assert client.kv.delete("a", cas=index) is False
    assert client.kv.get("a")[1]["Value"] == b"2"


def test_writing_what_is_there_changes_no_index(client: consul.Consul) -> None:
    """An identical write is none, so nobody is woken by it."""
    client.kv.put("a", "1")
    before = client.kv.get("a")
    client.kv.put("a", "1")
    assert client.kv.get("a") == before


# -- blocking queries


def test_a_blocking_query_is_woken_by_its_prefix_alone(
    server: ConsulServer, client: consul.Consul, connect: Callable[..., consul.Consul]
) -> None:
    """A change elsewhere leaves it waiting; one below the prefix answers it."""
    client.kv.put("app/a", "1")
    index, _ = client.kv.get("app/", recurse=True)
    other = connect()
    waiting = Waiting(server, lambda: other.kv.get("app/", recurse=True, index=index, wait="60s"))
    client.kv.put("elsewhere", "x")
    assert not waiting.done
    client.kv.put("app/b", "2")
    new_index, entries = waiting.result()
    assert int(new_index) > int(index)
    assert [entry["Key"] for entry in entries] == ["app/a", "app/b"]


def test_a_deletion_wakes_who_waits_and_moves_the_index_on(
    server: ConsulServer, client: consul.Consul, connect: Callable[..., consul.Consul]
) -> None:
    """The index of a prefix never goes back, even when its last key goes."""
    client.kv.put("app/a", "1")
    index, _ = client.kv.get("app/", recurse=True)
    other = connect()
    waiting = Waiting(server, lambda: other.kv.get("app/", recurse=True, index=index, wait="60s"))
    client.kv.delete("app/a")
    new_index, entries = waiting.result()
    assert int(new_index) > int(index)
    assert entries is None


def test_a_key_that_comes_to_be_wakes_who_waits_for_it(
    server: ConsulServer, client: consul.Consul, connect: Callable[..., consul.Consul]
) -> None:
    """One can wait for a key that does not exist."""
    index, nothing = client.kv.get("a")
    assert nothing is None
    other = connect()
    waiting = Waiting(server, lambda: other.kv.get("a", index=index, wait="60s"))
    client.kv.put("a", "1")
    assert waiting.result()[1]["Value"] == b"1"


def test_a_wait_that_is_over_answers_the_same_index(client: consul.Consul) -> None:
    """Without a change the query ends after its wait, with what is."""
    client.kv.put("a", "1")
    index, entry = client.kv.get("a")
    assert client.kv.get("a", index=index, wait="10ms") == (index, entry)


# -- sessions and locks


def test_a_lock_is_held_by_one_session(client: consul.Consul) -> None:
    """A held key is refused to others, whose release does nothing; its holder may write and
    release.
    """
    mine, yours = client.session.create(lock_delay=0), client.session.create(lock_delay=0)
    assert client.kv.put("lock", "1", acquire=mine) is True
    assert client.kv.put("lock", "2", acquire=yours) is False
    assert client.kv.put("lock", "2", release=yours) is False
    assert client.kv.put("lock", "3", acquire=mine) is True
    entry = client.kv.get("lock")[1]
    assert (entry["Value"], entry["LockIndex"], entry["Session"]) == (b"3", 1, mine)
    assert client.kv.put("lock", "4", release=mine) is True
    assert "Session" not in client.kv.get("lock")[1]
    assert client.kv.put("lock", "5", acquire=yours) is True
    assert client.kv.get("lock")[1]["LockIndex"] == 2


@pytest.mark.parametrize("behavior, left", [("release", True), ("delete", False)])
def test_a_session_that_expires_lets_its_locks_go(
    client: consul.Consul, clock: ManualClock, behavior: str, left: bool
) -> None:
    """After twice its TTL without renewal a session is gone, its keys released or deleted."""
    session = client.session.create(ttl=10, behavior=behavior, lock_delay=0)
    client.kv.put("lock", "1", acquire=session)
    clock.advance(19)
    client.session.renew(session)
    clock.advance(19)
    assert client.kv.get("lock")[1]["Session"] == session
    clock.advance(1)
    entry = client.kv.get("lock")[1]
    assert (entry is not None) is left
    assert not left or "Session" not in entry
    assert client.session.info(session)[1] is None
    with pytest.raises(consul.NotFound):
        client.session.renew(session)


def test_an_expiry_wakes_who_waits_for_the_lock(
    server: ConsulServer,
    client: consul.Consul,
    connect: Callable[..., consul.Consul],
    clock: ManualClock,
) -> None:
    """Nobody has to ask for the lock to be freed when the time comes."""
    session = client.session.create(ttl=10, lock_delay=0)
    client.kv.put("lock", "1", acquire=session)
    index, _ = client.kv.get("lock")
    other = connect()
    waiting = Waiting(server, lambda: other.kv.get("lock", index=index, wait="60s"))
    clock.advance(20)
    server.look_at_the_time()
    assert "Session" not in waiting.result()[1]


def test_the_lock_delay_keeps_others_out_for_a_while(
    client: consul.Consul, clock: ManualClock
) -> None:
    """After a session's end its keys cannot be locked until the delay has passed; 15 seconds unless
    it says so.
    """
    session = client.session.create()
    client.kv.put("lock", "1", acquire=session)
    client.session.destroy(session)
    other = client.session.create()
    assert client.kv.put("lock", "2", acquire=other) is False
    clock.advance(15)
    assert client.kv.put("lock", "2", acquire=other) is True


def test_a_critical_check_ends_the_sessions_that_depend_on_it(client: consul.Consul) -> None:
    """A session with a TTL check lives as long as the check does not become critical."""
    client.agent.check.register("alive", consul.Check.ttl("30s"), check_id="alive")
    client.agent.check.ttl_pass("alive")
    session = client.session.create(checks=["serfHealth", "alive"], lock_delay=0)
    client.agent.check.ttl_fail("alive")
    assert client.session.info(session)[1] is None


def test_sessions_are_listed_by_node(client: consul.Consul) -> None:
    """list and node show a session with what it was made of."""
    session = client.session.create(name="mine", ttl=15, lock_delay=5)
    listed = client.session.list()[1]
    assert listed == client.session.node("sandbox")[1]
    found = listed[0]
    assert found["ID"] == session
    assert (found["Name"], found["TTL"], found["LockDelay"]) == ("mine", "15s", 5_000_000_000)


# -- the cluster


def test_without_a_leader_only_stale_reads_and_the_agent_answer(
    server: ConsulServer, client: consul.Consul
) -> None:
    """Writes and consistent reads fail with Consul's sentence until a leader is back."""
    client.kv.put("a", "1")
    server.lose_leader()
    for refused in (lambda: client.kv.put("a", "2"), lambda: client.kv.get("a")):
        with pytest.raises(consul.ConsulException, match="No cluster leader"):
            refused()
    assert client.kv.get("a", consistency="stale")[1]["Value"] == b"1"
    assert client.status.leader() == ""
    assert client.agent.self()["Config"]["NodeName"] == "sandbox"
    server.regain_leader()
    assert client.kv.put("a", "2") is True
    assert client.status.leader() == "127.0.0.1:8300"
