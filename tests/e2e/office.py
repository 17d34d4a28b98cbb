"""The world with a workspace of Slack in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sandbox.environment import Environment
from sandbox.slack import Post, SlackServer
from tests.e2e.conftest import SETTINGS, World
from tests.integration.registry.sensing import free_port

PEOPLE = [
    {"name": "ada", "accounts": ["U0ADA", "ada"], "roles": ["admin"]},
    {"name": "grace", "accounts": ["U0GRACE", "grace"], "roles": ["approver"]},
    {"name": "linus", "accounts": ["U0LINUS", "linus"], "roles": ["approver"]},
    {"name": "vera", "accounts": ["U0VERA"], "roles": ["viewer"]},
]


class Office(World):
    """The world with a workspace of Slack in it; its people may not destroy data without another's
    word.
    """

    def __init__(
        self,
        folder: Path,
        slack: SlackServer,
        *,
        registry: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(folder)
        self.slack = slack
        port = free_port()
        slack.request_url = f"http://127.0.0.1:{port}"
        files = {name: folder / name for name in ("bot_token", "signing_secret")}
        for name, file in files.items():
            file.write_text(getattr(slack, name))
        self.environment = Environment(
            folder,
            provision_seconds=0.2,
            proxied=True,
            registry=registry,
            settings={
                **SETTINGS,
                "slack": {
                    "mode": "http",
                    "port": port,
                    "base_url": slack.base_url,
                    **{f"{name}_file": str(file) for name, file in files.items()},
                },
                "chat": {"people": PEOPLE, "check_seconds": 1},
                "announcements": {"channel": "#team-shop", "window_seconds": 2},
                "approvals": {
                    "rules": [{"namespaces": ["*"], "what": ["delete"], "channel": "#approvals"}]
                },
                **(settings or {}),
            },
        )

    def say(self, user: str, text: str) -> None:
        """Type a command in #team-shop."""
        delivery = self.slack.command(user, text, channel="team-shop")
        assert (delivery.status, delivery.attempts) == (200, 1)
        assert delivery.seconds < 3

    def sees(self, channel: str, *words: str) -> Post:
        """The message with all these words in it."""

        def found() -> Post | None:
            posts = self.slack.in_channel(channel)
            return next(
                (
                    post
                    for post in reversed(posts)
                    if all(word in post.everything for word in words)
                ),
                None,
            )

        return self.wait_until(found, f"a message with {words} in #{channel}")

    def listens(self) -> bool:
        """Whether the sensor is there."""
        try:
            return (
                self.slack.send("events", {"type": "url_verification", "challenge": "c"}).status
                == 200
            )
        except Exception:
            return False

    def state(self) -> str:
        posts = "\n".join(
            f"{post.channel} {post.thread_ts} {post.text}" for post in self.slack.posts
        )
        return f"{super().state()}\n{posts}"

    def inquiries(self) -> list[dict[str, Any]]:
        return self.engine.get("inquiries")


Place = TypeVar("Place", bound=Office)


@contextlib.contextmanager
def opened(make: Callable[[SlackServer], Place]) -> Iterator[Place]:
    """A workspace with its channels, and what `make` makes of it, once the pack listens."""
    with SlackServer() as slack:
        for channel in ("team-shop", "approvals"):
            slack.add_channel(channel)
        it = make(slack)
        try:
            it.start()
            it.wait_until(it.listens, "the sensor listens")
            yield it
        finally:
            it.stop()
