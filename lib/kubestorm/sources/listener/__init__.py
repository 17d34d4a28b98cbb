"""An HTTP listener for sensors: webhooks of registries, Slack and git hosts come in here.

A sensor makes `Listener(settings, routes, log)` with a `Route` for each path, starts it, and
dispatches in the route's `receive`. What is refused never reaches `receive`: paths, methods, sizes,
content types and who sends are checked before. `receive` runs in the connection's own thread,
several at once, and the answer waits for it.
"""

from kubestorm.clients.secret_sources import FileSecrets, SecretSource, VaultSecrets
from kubestorm.sources.listener.authenticity import (
    BasicCheck,
    Check,
    HmacCheck,
    QueryCheck,
    RefusedError,
    TokenCheck,
    Unsigned,
)
from kubestorm.sources.listener.messages import Answer, Request
from kubestorm.sources.listener.routing import Listener, Route
from kubestorm.sources.listener.settings import ListenerSettings

__all__ = [
    "Answer",
    "BasicCheck",
    "Check",
    "FileSecrets",
    "HmacCheck",
    "Listener",
    "ListenerSettings",
    "QueryCheck",
    "RefusedError",
    "Request",
    "Route",
    "SecretSource",
    "TokenCheck",
    "Unsigned",
    "VaultSecrets",
]
