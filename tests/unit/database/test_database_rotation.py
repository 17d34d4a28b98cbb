"""A rotation ends with one password, wherever it was interrupted, and never loses the one that
opens the instance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.kinds.database.plan_rotation import (
    Abandon,
    AwaitPassword,
    Conclude,
    Promote,
    RotationState,
    SetPassword,
    StorePending,
    is_rotating,
    next_step,
)

IDLE = RotationState(
    request=None,
    done=None,
    current_version=3,
    pending_request=None,
    pending_replaces=0,
    pending_token="",
    promoted=False,
    instance_token="earlier",
    instance_settled=True,
)
STORED = replace(IDLE, request="now", pending_request="now", pending_replaces=3, pending_token="t")
GIVEN = replace(STORED, instance_token="t")


@pytest.mark.parametrize(
    "state, step",
    [
        pytest.param(IDLE, None, id="nobody-asked"),
        pytest.param(replace(IDLE, request="now", done="now"), None, id="done-already"),
        pytest.param(
            replace(IDLE, request="now", done="before"), StorePending("now", 3), id="asked"
        ),
        pytest.param(STORED, SetPassword(), id="stored"),
        pytest.param(
            replace(STORED, instance_settled=False), AwaitPassword(), id="stored-and-rds-is-busy"
        ),
        pytest.param(replace(GIVEN, instance_settled=False), AwaitPassword(), id="rds-applies-it"),
        pytest.param(GIVEN, Promote(3), id="applied"),
        pytest.param(
            replace(GIVEN, promoted=True, current_version=4), Conclude("now"), id="promoted"
        ),
        pytest.param(replace(GIVEN, current_version=4), Abandon("now"), id="somebody-else-wrote"),
        pytest.param(replace(GIVEN, request=None), Promote(3), id="annotation-removed-meanwhile"),
        pytest.param(replace(GIVEN, request="again"), Promote(3), id="asked-again-meanwhile"),
    ],
)
def test_the_next_step_follows_from_what_is_there(state, step):
    """One step at a time, and none where nothing is asked or under way."""
    assert next_step(state) == step
    assert is_rotating(state) is (step is not None)


@dataclass
class Toy:
    """Vault, RDS and status in small; passwords are numbers."""

    current: tuple[int, int] = (1, 100)
    """Version and password."""
    pending: tuple[str, int, int, str] | None = None
    """Request, what it replaces, password, token."""
    opens: int = 100
    applying: int | None = None
    token: str | None = None
    given_version: int = 1
    done: str | None = None
    made: int = 100

    def state(self, request):
        pending = self.pending or (None, 0, -1, "")
        return RotationState(
            request=request,
            done=self.done,
            current_version=self.current[0],
            pending_request=pending[0],
            pending_replaces=pending[1],
            pending_token=pending[3],
            promoted=bool(self.pending) and self.current[1] == pending[2],
            instance_token=self.token,
            instance_settled=self.applying is None,
        )

    def effects(self, step):
        """The single writes of a step, in order: a crash may come after any of them."""
        if isinstance(step, StorePending):
            self.made += 1
            yield self._set("pending", (step.request, step.replaces, self.made, f"t{self.made}"))
        elif isinstance(step, SetPassword):
            yield self._set("applying", self.pending[2])
            yield self._set("token", self.pending[3])
        elif isinstance(step, AwaitPassword):
            if self.applying is not None:
                yield self._set("opens", self.applying)
            yield self._set("applying", None)
        elif isinstance(step, Promote):
            yield self._set("current", (step.replaces + 1, self.pending[2]))
        elif isinstance(step, (Conclude, Abandon)):
            yield self._set("given_version", self.current[0] if isinstance(step, Conclude) else 0)
            yield self._set("done", step.request)
            yield self._set("pending", None)

    def _set(self, name, value):
        setattr(self, name, value)
        return name


def run(toy, request, crashes):
    """Step until nothing is left, dying after the writes that `crashes` counts out."""
    crashes = list(crashes)
    for _ in range(100):
        step = next_step(toy.state(request))
        if step is None:
            return
        allowed = crashes.pop(0) if crashes else 9
        for count, _name in enumerate(toy.effects(step), 1):
            if count >= allowed:
                break
        assert {toy.opens, toy.applying} <= {
            toy.current[1],
            toy.pending[2] if toy.pending else None,
            None,
        }
    raise AssertionError("it never ends")


@given(crashes=st.lists(st.integers(0, 3), max_size=12))
def test_wherever_it_dies_the_end_is_the_same(crashes):
    """One new password, current in Vault, opening the instance, noted on it; nothing pending, the
    request recorded.
    """
    toy = Toy()
    run(toy, "now", crashes)
    assert toy.current[1] == toy.opens == toy.made == 101
    assert toy.current[0] == 2 == toy.given_version
    assert (toy.pending, toy.done) == (None, "now")


@given(before=st.integers(0, 8), crashes=st.lists(st.integers(0, 3), max_size=6))
def test_somebody_elses_password_counts(before, crashes):
    """Whoever writes Vault meanwhile is not overwritten: check-and-set names the version that was
    replaced.
    """
    toy = Toy()
    for _ in range(before):
        step = next_step(toy.state("now"))
        if step is None:
            break
        for _name in toy.effects(step):
            pass
    toy.current = (toy.current[0] + 1, 7)
    settled = toy.done == "now"
    for _ in range(100):
        step = next_step(toy.state("now"))
        if step is None:
            break
        list(toy.effects(step))
    assert toy.pending is None
    assert toy.current[1] == 7 or not settled
    assert toy.current[1] in {7, toy.made}
    assert toy.given_version != toy.current[0] or toy.current[1] == toy.opens
