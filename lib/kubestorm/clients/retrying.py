"""A request that a server turns away for now (429, 5xx) is sent again a few times, for seconds.

One place for the clients of Kubernetes, Vault and Consul. 429 says that nothing was done, so that
any request may come again. After a 5xx nobody knows: only what leads to the same when it is done
twice is repeated, and so no POST. A server that names a time (`Retry-After`) is not asked sooner,
and one that names a long time is not waited for: the error carries the time to whoever plans the
next look. Connections that break are not mended here; looks are repeated anyway.
"""

from __future__ import annotations

import itertools
import random
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional, Protocol, TypeVar

from kubestorm.core import trouble

if TYPE_CHECKING:
    import requests

TOTAL_SECONDS = 10.0
"""Total delay of a request by retries; anything longer is left to the next run."""
ATTEMPTS = 4
FIRST_SECONDS = 0.5
TOO_MANY_REQUESTS = 429
REPEATABLE = frozenset(("GET", "HEAD", "LIST", "PUT", "DELETE"))
"""Source: RFC 9110, section 9.2.2; LIST is Vault's."""
READS = frozenset(("GET", "HEAD", "LIST"))


class Answered(Protocol):
    """An answer of urllib3 or of requests."""

    @property
    def headers(self) -> Any:
        """By name, in any case."""

    def close(self) -> None:
        """Give up what is left of it."""


Response = TypeVar("Response", bound=Answered)


def pause_before_retry(
    method: str,
    status: int,
    retry_after: Optional[float],
    attempt: int,
    chance: float,
    *,
    repeatable: bool = False,
) -> Optional[float]:
    """Seconds to wait after the `attempt`-th answer, counted from 1; None where it stands.

    `chance` (0 to 1) spreads those who were turned away together. `repeatable` says of a method
    that is not safe to repeat in general that this request is.
    """
    may_repeat = repeatable or method in REPEATABLE
    if status != TOO_MANY_REQUESTS and not (status >= 500 and may_repeat):
        return None
    if attempt >= ATTEMPTS:
        return None
    doubled: float = FIRST_SECONDS * 2.0 ** (attempt - 1)
    if retry_after is None:
        return doubled * (0.5 + 0.5 * chance)
    return retry_after + doubled * 0.5 * chance


def send(
    method: str,
    request: Callable[[], Response],
    status_of: Callable[[Response], int],
    *,
    repeatable: bool = False,
    total_seconds: float = TOTAL_SECONDS,
) -> Response:
    """Send a request until its answer stands; nothing is sent again later than `total_seconds`
    after the first time. Whatever `request` raises is raised.
    """
    began = time.monotonic()
    for attempt in itertools.count(1):
        response = request()
        pause = pause_before_retry(
            method,
            status_of(response),
            retry_after_of(response.headers),
            attempt,
            random.random(),  # noqa: S311 (spreads requests, guards nothing)
            repeatable=repeatable,
        )
        if status_of(response) == TOO_MANY_REQUESTS:
            trouble.count(trouble.RATE_LIMITED)
        elif status_of(response) >= 500:
            trouble.count(trouble.SERVER_ERRORS)
        if pause is None or time.monotonic() + pause - began > total_seconds:
            return response
        response.close()
        time.sleep(pause)
    raise AssertionError("unreachable")


def retry_after_of(headers: Mapping[str, Any]) -> Optional[float]:
    """Seconds that a server asks for; None where it names none, or a date."""
    try:
        return max(0.0, float(headers.get("Retry-After") or ""))
    except (TypeError, ValueError):
        return None


def mount(session: requests.Session, before_write: Callable[[], None]) -> None:
    """Have a session of the library requests send its requests again, and call `before_write`
    before each write, also before one is sent again; what it raises keeps it from being sent.
    """
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        """As HTTPAdapter."""

        def send(self, request: Any, *arguments: Any, **options: Any) -> Any:
            """As HTTPAdapter's."""

            method = str(request.method)

            def once() -> Any:
                if method not in READS:
                    before_write()
                return super(Adapter, self).send(request, *arguments, **options)

            return send(method, once, lambda response: int(response.status_code))

    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter())
