"""When a request is sent again, and when its answer stands."""

from __future__ import annotations

import pytest
from kubestorm.clients.retrying import ATTEMPTS, pause_before_retry, retry_after_of


@pytest.mark.parametrize(
    "method, status, retry_after, attempt, chance, pause",
    [
        pytest.param("GET", 200, None, 1, 0.0, None, id="done"),
        pytest.param("GET", 404, None, 1, 0.0, None, id="an answer"),
        pytest.param("GET", 503, None, 1, 0.0, 0.25, id="first"),
        pytest.param("GET", 503, None, 1, 1.0, 0.5, id="first, at the latest"),
        pytest.param("GET", 500, None, 3, 1.0, 2.0, id="doubled"),
        pytest.param("GET", 503, None, ATTEMPTS, 0.0, None, id="often enough"),
        pytest.param("LIST", 502, None, 1, 0.0, 0.25, id="Vault's list"),
        pytest.param("PUT", 500, None, 1, 0.0, 0.25, id="the same twice is the same"),
        pytest.param("POST", 500, None, 1, 0.0, None, id="nobody knows what was made"),
        pytest.param("POST", 503, 1.0, 1, 0.0, None, id="nor with a time"),
        pytest.param("PATCH", 500, None, 1, 0.0, None, id="a patch in general"),
        pytest.param("POST", 429, None, 1, 0.0, 0.25, id="nothing was done"),
        pytest.param("PATCH", 429, 1.0, 1, 0.0, 1.0, id="never sooner than it says"),
        pytest.param("GET", 429, 1.0, 1, 1.0, 1.25, id="and not all at once"),
    ],
)
def test_what_is_sent_again_and_when(method, status, retry_after, attempt, chance, pause):
    """A table: what was not done, or is the same when done twice."""
    assert pause_before_retry(method, status, retry_after, attempt, chance) == pause


def test_a_patch_that_is_known_to_be_harmless_is_sent_again():
    """A merge patch says what is to be, not what is to be added."""
    assert pause_before_retry("PATCH", 500, None, 1, 0.0, repeatable=True) == 0.25


@pytest.mark.parametrize(
    "said, seconds",
    [("3", 3.0), ("0", 0.0), ("-1", 0.0), (None, None), ("Fri, 31 Dec 1999 23:59:59 GMT", None)],
)
def test_only_seconds_are_read(said, seconds):
    """A date is none that these servers send."""
    headers = {} if said is None else {"Retry-After": said}
    assert retry_after_of(headers) == seconds
