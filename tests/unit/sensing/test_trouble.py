"""What a sensor counts of its trouble, and how the doctor reads it."""

from __future__ import annotations

import json
import logging
import re

import pytest
from kubestorm.clients import retrying
from kubestorm.clients.lease import Heartbeat, LeaseLostError
from kubestorm.core import trouble
from kubestorm.entrypoints.doctor import sensor_lines


class Answer:
    """One that says when to come again: later than anybody waits."""

    headers = {"Retry-After": "3600"}  # noqa: RUF012 (as a response has it)

    def close(self):
        pass


@pytest.mark.parametrize(
    "status, what", [(429, trouble.RATE_LIMITED), (503, trouble.SERVER_ERRORS)]
)
def test_a_request_that_is_turned_away_is_counted(status, what):
    """Also where it is not sent again."""
    before = trouble.counts().get(what, 0)
    retrying.send("GET", Answer, lambda _: status)
    assert trouble.counts()[what] == before + 1


def test_a_lease_that_is_lost_is_counted_once():
    """However often it is asked for afterwards."""

    class Lost:
        duration_seconds, renewed_at, holder = 60, 0.0, "me"

        def renew(self):
            return False

    before = trouble.counts().get(trouble.LEASES_LOST, 0)
    heartbeat = Heartbeat(Lost())
    for _ in range(2):
        with pytest.raises(LeaseLostError):
            heartbeat.check(sure=True)
    assert trouble.counts()[trouble.LEASES_LOST] == before + 1


def test_counts_are_written_when_they_change_and_read_by_the_doctor():
    """Once for each change; the doctor says since when."""
    values, written = {}, []

    def set_value(name, value):
        written.append(name)
        values[f"kubestorm.PollsSensor:{name}"] = value

    reporter = trouble.Reporter(set_value, logging.getLogger("test"))
    trouble.count(trouble.WATCHES_FAILED)
    reporter.report()
    reporter.report()
    assert written == ["trouble"]
    assert json.loads(values["kubestorm.PollsSensor:trouble"])["counts"] == trouble.counts()
    (line,) = sensor_lines(values.get)
    assert line.is_good
    assert re.search(r"PollsSensor since 20\S+Z: .*watches failed: \d+", line.message)
