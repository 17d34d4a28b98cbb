"""Which request goes where, what is refused on the way, and the counts of both."""

from __future__ import annotations

import collections
import logging
import threading
import time
from dataclasses import dataclass
from typing import Callable, Dict, Mapping, Optional, Sequence, Tuple

from kubestorm.core.errors import DefinitionError, Error, NotFoundError, TemporaryError
from kubestorm.sources.listener.authenticity import Check, RefusedError
from kubestorm.sources.listener.messages import Answer, Request
from kubestorm.sources.listener.server import HttpServer
from kubestorm.sources.listener.settings import ListenerSettings

QUIET_SECONDS = 60.0
"""One line in the log for each kind of refusal within this time; the counts know of all."""
RETRY_SECONDS = 10
OUTSIDE = "-"
"""Stands for the name of a route where there is none."""
OUTCOMES = {
    400: "malformed",
    401: "unauthenticated",
    403: "forbidden",
    404: "unknown_path",
    405: "wrong_method",
    408: "too_slow",
    413: "too_large",
    414: "too_large",
    415: "wrong_type",
    431: "too_large",
    500: "failed",
    503: "unavailable",
}


@dataclass(frozen=True)
class Route:
    """One path and who may post what to it."""

    path: str
    """Exact, for instance /registry/harbor."""
    name: str
    """For counts and the log."""
    check: Check
    receive: Callable[[Request], Answer]
    """Gets what passed all checks. An error of the pack becomes the answer: DefinitionError 400,
    TemporaryError and what is unreadable on our side 503, so that the sender tries again."""
    content_types: Tuple[str, ...] = ("application/json",)
    """Media types that are taken; none given, any is."""
    methods: Tuple[str, ...] = ("POST",)


class Counters:
    """How often each route had each outcome. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Dict[str, Dict[str, int]] = collections.defaultdict(
            lambda: collections.defaultdict(int)
        )

    def add(self, route: str, outcome: str) -> None:
        with self._lock:
            self._counts[route][outcome] += 1

    def snapshot(self) -> Mapping[str, Mapping[str, int]]:
        """Route -> outcome -> count."""
        with self._lock:
            return {route: dict(found) for route, found in self._counts.items()}


class Listener:
    """Listens at one address for several routes. Nothing that is sent to it ends it."""

    def __init__(
        self,
        settings: ListenerSettings,
        routes: Sequence[Route],
        log: logging.Logger,
        *,
        counters: Optional[Counters] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Binds at once; counts beside others where it is given their `counters`. Raises
        DefinitionError for an address or a certificate that cannot be used.
        """
        paths = [route.path for route in routes]
        twice = sorted({path for path in paths if paths.count(path) > 1})
        if twice or settings.health_path in paths:
            raise DefinitionError(
                f"The path {(twice or [settings.health_path])[0]} is given twice; each needs its "
                "own."
            )
        self._settings, self._log, self._clock = settings, log, clock
        self._routes = {route.path: route for route in routes}
        self._said: Dict[Tuple[str, str], float] = {}
        self.counters = counters or Counters()
        self._server = HttpServer(settings, self.handle, self._refused_early, log)

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        host, port = self._server.address
        scheme = "https" if self._settings.certificate_file else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def start(self) -> None:
        self._server.start()
        self._log.info(
            "listener.started: %s, paths %s", self.url, ", ".join(sorted(self._routes)) or "none"
        )

    def stop(self) -> None:
        """Safe to repeat."""
        self._server.stop()

    def handle(self, request: Request) -> Answer:
        """Answer one request. Never raises."""
        if request.path == self._settings.health_path:
            return self._health(request)
        route = self._routes.get(request.path)
        if route is None:
            return self._counted(OUTSIDE, Answer.text(404, "Nothing is received at this path."))
        try:
            answer = self._pass_on(route, request)
        except RefusedError as error:
            headers = {"WWW_Authenticate": error.challenge} if error.challenge else {}
            answer = Answer.text(error.status_code or 403, str(error), **headers)
        except DefinitionError as error:
            answer = Answer.text(400, str(error))
        except Error as error:
            answer = self._later(route, error)
        except Exception:  # noqa: BLE001 (a fault of ours in one request is no reason to lose the next)
            self._log.exception("listener.failed: %s", route.name)
            answer = Answer.text(500, "This could not be processed; see the sensor's log.")
        return self._counted(route.name, answer)

    def _pass_on(self, route: Route, request: Request) -> Answer:
        if request.method not in route.methods:
            allowed = ", ".join(route.methods)
            return Answer.text(405, f"Only {allowed} is taken here.", Allow=allowed)
        try:
            route.check(request)
        except (DefinitionError, NotFoundError) as error:
            return self._later(
                route, error
            )  # the secret to compare with cannot be read: no fault of the sender's
        if request.method == "OPTIONS":  # has no body
            return route.receive(request)
        if route.content_types and request.content_type not in route.content_types:
            return Answer.text(415, f"Send {' or '.join(route.content_types)}.")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            return Answer.text(415, "Send the body without compression.")
        return route.receive(request)

    def _later(self, route: Route, error: Error) -> Answer:
        after = error.retry_after_seconds if isinstance(error, TemporaryError) else None
        self._say(route.name, "unavailable", str(error))
        return Answer.text(
            503,
            "This cannot be taken now; send it again.",
            Retry_After=str(int(after or RETRY_SECONDS)),
        )

    def _health(self, request: Request) -> Answer:
        if request.method not in ("GET", "HEAD"):
            return Answer.text(405, "Only GET is taken here.", Allow="GET")
        return Answer.json(200, {"status": "ok", "received": self.counters.snapshot()})

    def _counted(self, route: str, answer: Answer) -> Answer:
        outcome = answer.outcome or OUTCOMES.get(answer.status, "accepted")
        self.counters.add(route, outcome)
        if answer.status >= 400:
            self._say(route, outcome, answer.body.decode("utf-8", "replace").strip())
        return answer

    def _refused_early(self, status: int) -> None:
        outcome = OUTCOMES.get(status, "malformed")
        self.counters.add(OUTSIDE, outcome)
        self._say(OUTSIDE, outcome, "before it was a request")

    def _say(self, route: str, outcome: str, why: str) -> None:
        now, key = self._clock(), (route, outcome)
        if now >= self._said.get(key, float("-inf")) + QUIET_SECONDS:
            self._said[key] = now
            self._log.warning("listener.%s: %s: %s", outcome, route, why)
