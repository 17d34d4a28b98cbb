"""Push events of git servers: how they are authenticated and parsed. Pure except for reading
secrets.

Shapes as GitHub ("push" of its webhook events), Gitea and GitLab ("Push events", also of its system
hooks) document them. Only pushes to branches are used; a tag is built by `spec.source.revision`.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Tuple, Union

from kubestorm.clients.git.address import is_commit
from kubestorm.clients.vault import VaultStore
from kubestorm.core.errors import DefinitionError
from kubestorm.core.times import format_time
from kubestorm.sources.git.settings import HookSettings
from kubestorm.sources.listener import (
    Check,
    FileSecrets,
    HmacCheck,
    SecretSource,
    TokenCheck,
    VaultSecrets,
)
from kubestorm.sources.listener.messages import Request

TRIGGER = "kubestorm.source_pushed"
BRANCH = "refs/heads/"
NO_COMMIT = re.compile(r"0{40,64}")
SECRET_KEY = "secret"  # noqa: S105 (the field's name)
MAX_TEXT = 1000
SYSTEM_HOOK = "System Hook"
EVENT_HEADERS = {"github": "x-github-event", "gitea": "x-gitea-event", "gitlab": "x-gitlab-event"}
DELIVERY_HEADERS = {
    "github": ("x-github-delivery",),
    "gitea": ("x-gitea-delivery",),
    # The first is the same for each retry of a delivery; older versions do not send it.
    "gitlab": ("idempotency-key", "x-gitlab-event-uuid"),
}
"""The headers with a delivery's id; in addition x-request-uuid, which Bitbucket sends."""


@dataclass(frozen=True)
class Push:
    """A push to a branch. `urls` are the repository's addresses in the event."""

    urls: Tuple[str, ...]
    branch: str
    commit: str
    before: str = ""
    actor: str = ""
    event_id: str = ""

    def payload(self, *, source: str, now: dt.datetime) -> Dict[str, Any]:
        """The payload of TRIGGER."""
        return {
            "urls": list(self.urls),
            "branch": self.branch,
            "commit": self.commit,
            "before": self.before,
            "actor": self.actor,
            "seen_at": format_time(now),
            "source": source,
            "event_id": self.event_id or f"{self.branch}@{self.commit}",
        }


class Ignored(NamedTuple):
    """An event that is not used, and why, for the answer to the git server."""

    reason: str


def check_of(hook: HookSettings, vault: Callable[[], VaultStore], field: str) -> Check:
    """How a webhook's sender is authenticated: a hash of the raw body, or GitLab's token."""
    secrets: SecretSource
    if hook.secret_file:
        secrets = FileSecrets(hook.secret_file, field=f"{field}.secret_file")
    else:
        secrets = VaultSecrets(
            lambda path: vault().read_values(path), str(hook.vault_path), SECRET_KEY
        )
    if hook.kind == "gitlab":
        return TokenCheck(secrets, header="X-Gitlab-Token", scheme="")
    if hook.kind == "gitea":
        return HmacCheck(secrets, header="X-Gitea-Signature")
    return HmacCheck(secrets, header="X-Hub-Signature-256", prefix="sha256=")


def read_push(kind: str, request: Request) -> Union[Push, Ignored]:
    """The push of an event; other events, tags and deleted branches are Ignored.

    Raises DefinitionError for what is not an event of this kind of server.
    """
    header = EVENT_HEADERS[kind]
    event = request.headers.get(header, "")
    if not event:
        raise DefinitionError(f"Not an event of {kind}: the header {header} is missing.")
    if event not in ("push", "Push Hook", SYSTEM_HOOK):
        return Ignored(f"{event[:100]} is not a push")
    body = request.json()
    if not isinstance(body, dict):
        raise DefinitionError("A push event must be a JSON object.")
    if event == SYSTEM_HOOK:
        # Sent for everything at the server; a push has one of these names.
        what = _text(body, "event_name") or _text(body, "object_kind")
        if what != "push":
            return Ignored(
                f"only push events of GitLab's system hooks are used, not {what[:100] or 'others'}"
            )
    ref, commit = _text(body, "ref"), _text(body, "after")
    if not ref.startswith(BRANCH):
        return Ignored("only pushes to branches are used")
    if NO_COMMIT.fullmatch(commit):
        return Ignored("the branch was deleted")
    urls = _urls(body)
    if not is_commit(commit) or not urls:
        raise DefinitionError("A push event must have a commit and a repository.")
    return Push(
        urls=urls,
        branch=ref[len(BRANCH) :],
        commit=commit,
        before=_text(body, "before"),
        actor=_actor(body),
        event_id=_delivery(kind, request.headers),
    )


def _urls(body: Mapping[str, Any]) -> Tuple[str, ...]:
    found: List[str] = []
    for part in ("repository", "project"):
        place = body.get(part)
        if isinstance(place, dict):
            keys = ("clone_url", "ssh_url", "git_url", "git_http_url", "git_ssh_url")
            found += [_text(place, key) for key in keys if isinstance(place.get(key), str)]
    return tuple(dict.fromkeys(url for url in found if url))


def _actor(body: Mapping[str, Any]) -> str:
    pusher = body.get("pusher")
    if isinstance(pusher, dict):
        return _text(pusher, "username") or _text(pusher, "login") or _text(pusher, "name")
    return _text(body, "user_username") or _text(body, "user_name")


def _delivery(kind: str, headers: Mapping[str, str]) -> str:
    names = (*DELIVERY_HEADERS[kind], "x-request-uuid")
    return next((headers[name][:100] for name in names if headers.get(name)), "")


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    return value[:MAX_TEXT] if isinstance(value, str) else ""
