"""Push events of git servers, and whose builds they concern."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from kubestorm.clients.git.address import repository_key
from kubestorm.clients.git.settings import PollSettings
from kubestorm.core.errors import DefinitionError
from kubestorm.kinds.build.branch_tracking import follows
from kubestorm.sources.git.hooks import delivery_key
from kubestorm.sources.git.pushes import Ignored, Push, read_push
from kubestorm.sources.listener.messages import Request
from kubestorm.sources.poll_failures import delay_seconds

from tests.unit.building.conftest import image_build

OLD, NEW = "1" * 40, "2" * 40
# Shapes as the servers' documentation shows them, cut to what is near what is read.
GITHUB = {
    "ref": "refs/heads/feature/x",
    "before": OLD,
    "after": NEW,
    "deleted": False,
    "repository": {
        "name": "shop",
        "html_url": "https://git.test/team/shop",
        "git_url": "git://git.test/team/shop.git",
        "clone_url": "https://git.test/team/shop.git",
        "ssh_url": "git@git.test:team/shop.git",
    },
    "pusher": {"name": "ada", "email": "ada@git.test"},
    "head_commit": {"id": NEW},
}
GITEA = {**GITHUB, "pusher": {"id": 1, "login": "ada", "username": "ada", "full_name": "Ada"}}
GITLAB = {
    "object_kind": "push",
    "ref": "refs/heads/feature/x",
    "before": OLD,
    "after": NEW,
    "checkout_sha": NEW,
    "user_username": "ada",
    "project": {
        "web_url": "https://git.test/team/shop",
        "git_ssh_url": "git@git.test:team/shop.git",
        "git_http_url": "https://git.test/team/shop.git",
    },
    "repository": {
        "url": "git@git.test:team/shop.git",
        "git_http_url": "https://git.test/team/shop.git",
    },
}
# A system hook's: the same, and another name for it.
SYSTEM = {
    **{key: value for key, value in GITLAB.items() if key != "object_kind"},
    "event_name": "push",
    "user_name": "ada",
}
HEADERS = {
    "github": {"x-github-event": "push", "x-github-delivery": "d-1"},
    "gitea": {"x-gitea-event": "push", "x-gitea-delivery": "d-1"},
    "gitlab": {"x-gitlab-event": "Push Hook", "x-gitlab-event-uuid": "d-1"},
}


def request(body: Any, headers: dict[str, str]) -> Request:
    return Request("POST", "/git/x", "", headers, json.dumps(body).encode())


@pytest.mark.parametrize(
    "kind, body, header",
    [
        ("github", GITHUB, {}),
        ("gitea", GITEA, {}),
        ("gitlab", GITLAB, {}),
        ("gitlab", SYSTEM, {"x-gitlab-event": "System Hook"}),
    ],
    ids=["github", "gitea", "gitlab", "gitlab's system hook"],
)
def test_a_push_of_each_server_is_read(kind, body, header):
    """Branch, commit, who, and every spelling of the repository's address."""
    push = read_push(kind, request(body, {**HEADERS[kind], **header}))
    assert isinstance(push, Push)
    assert (push.branch, push.commit, push.before, push.actor, push.event_id) == (
        "feature/x",
        NEW,
        OLD,
        "ada",
        "d-1",
    )
    assert {repository_key(url) for url in push.urls} >= {"git.test/team/shop"}


@pytest.mark.parametrize(
    "change, header, reason",
    [
        ({"ref": "refs/tags/v1"}, {}, "only pushes to branches are used"),
        ({"after": "0" * 40, "deleted": True}, {}, "the branch was deleted"),
        ({}, {"x-github-event": "ping"}, "ping is not a push"),
        ({}, {"x-github-event": "pull_request"}, "pull_request is not a push"),
    ],
    ids=["tag", "deleted branch", "ping", "another event"],
)
def test_what_is_no_push_to_a_branch_is_left_alone(change, header, reason):
    """It is answered well, with the reason, and nothing follows."""
    asked = request({**GITHUB, **change}, {**HEADERS["github"], **header})
    assert read_push("github", asked) == Ignored(reason)


@pytest.mark.parametrize(
    "body, what",
    [
        ({"event_name": "project_create", "name": "shop"}, "project_create"),
        ({"event_name": "repository_update", "refs": ["refs/heads/main"]}, "repository_update"),
        ({**SYSTEM, "event_name": "tag_push"}, "tag_push"),
        ({"object_kind": "merge_request"}, "merge_request"),
        ({}, "others"),
    ],
    ids=["project", "repository", "tag", "merge request", "no name"],
)
def test_other_system_hooks_are_ignored_in_words(body, what):
    """Whoever reads GitLab's log of deliveries sees that nothing was lost."""
    headers = {**HEADERS["gitlab"], "x-gitlab-event": "System Hook"}
    reason = f"only push events of GitLab's system hooks are used, not {what}"
    assert read_push("gitlab", request(body, headers)) == Ignored(reason)


@pytest.mark.parametrize(
    "kind, headers, event_id",
    [
        ("github", {"x-github-delivery": "d-1"}, "d-1"),
        ("gitea", {"x-gitea-delivery": "d-1", "x-github-delivery": "d-2"}, "d-1"),
        ("gitlab", {"x-gitlab-event-uuid": "d-1"}, "d-1"),
        ("gitlab", {"x-gitlab-event-uuid": "d-1", "idempotency-key": "d-2"}, "d-2"),
        ("gitlab", {"x-request-uuid": "d-3"}, "d-3"),
        ("github", {"x-gitea-delivery": "d-1"}, ""),
        ("github", {"x-github-delivery": "d" * 999}, "d" * 100),
    ],
    ids=[
        "github",
        "gitea speaks github too",
        "gitlab",
        "gitlab's tries",
        "a request's",
        "another server's",
        "long",
    ],
)
def test_a_delivery_has_its_servers_id(kind, headers, event_id):
    """The one that stays the same when a delivery comes again."""
    event = {key: value for key, value in HEADERS[kind].items() if key.endswith("-event")}
    push = read_push(kind, request(GITHUB, {**event, **headers}))
    assert isinstance(push, Push)
    assert push.event_id == event_id


PUSH = Push(("https://git.test/a",), "main", NEW, before=OLD, event_id="d-1")


@pytest.mark.parametrize(
    "hook, change, same",
    [
        ("hub", {"actor": "ada"}, True),
        ("lab", {}, False),
        ("hub", {"event_id": "d-2"}, False),
        ("hub", {"branch": "other"}, False),
        ("hub", {"commit": OLD}, False),
        ("hub", {"urls": ("https://git.test/b",)}, False),
    ],
    ids=["the same", "another hook", "another id", "another branch", "another commit", "elsewhere"],
)
def test_a_delivery_is_known_by_its_id_and_what_it_says(hook, change, same):
    """An id that was used already, by GitLab or by somebody else, hides no other push."""
    assert (delivery_key("hub", PUSH) == delivery_key(hook, replace(PUSH, **change))) is same


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {**GITHUB, "after": "--upload-pack=x"},
        {**GITHUB, "repository": 7},
        {**GITHUB, "repository": {}},
    ],
    ids=["list", "empty", "no commit", "no repository", "no address"],
)
def test_what_is_no_event_is_refused(body):
    """With a sentence, and without a trace back."""
    body = {"ref": "refs/heads/x", **body} if isinstance(body, dict) else body
    with pytest.raises(DefinitionError):
        read_push("github", request(body, HEADERS["github"]))


def test_an_event_of_another_server_is_refused():
    """A hook is of one kind."""
    with pytest.raises(DefinitionError, match="Not an event of gitlab"):
        read_push("gitlab", request(GITHUB, HEADERS["github"]))


@pytest.mark.parametrize(
    "source, status, expected",
    [
        ({"url": "git@git.test:team/shop.git", "branch": "main"}, {}, True),
        ({"url": "https://git.test/team/shop", "branch": "main"}, {}, True),
        ({"url": "https://git.test/team/shop", "branch": "other"}, {}, False),
        ({"url": "https://git.test/team/other", "branch": "main"}, {}, False),
        ({"url": "https://git.test/team/shop", "revision": "v1"}, {}, False),
        ({"url": "https://git.test/team/shop"}, {"source": {"branch": "main"}}, True),
        ({"url": "https://git.test/team/shop"}, {"source": {"branch": "trunk"}}, False),
        ({"url": "https://git.test/team/shop"}, {}, True),
        ({"url": "--upload-pack=x", "branch": "main"}, {}, False),
    ],
)
def test_an_image_build_follows_its_branch(source, status, expected):
    """However its address is spelled; without a branch, the one that the last look found."""
    resource = {**image_build(source=source), "status": status}
    assert follows(resource, ["git.test/team/shop"], "main") is expected


def test_github_tells_no_cases_apart():
    """What is pushed to acme/shop is built where somebody wrote Acme/Shop."""
    url = "https://github.com/Acme/Shop.git"
    resource = image_build(source={"url": url, "branch": "main"})
    keys = [repository_key("git@github.com:acme/shop.git")]
    assert follows(resource, keys, "main")


def test_looks_spread_and_back_off():
    """No two sources keep step, and one that does not answer is asked ever less often."""
    settings = PollSettings(interval_seconds=60, jitter=0.2, max_backoff_seconds=900)
    assert delay_seconds(60, 0, settings, 0.0) == 60
    assert [delay_seconds(60, 0, settings, share) for share in (-1.0, 1.0)] == [48.0, 72.0]
    assert [delay_seconds(60, failures, settings, 0.0) for failures in (1, 2, 10, 1000)] == [
        120,
        240,
        900,
        900,
    ]


def test_an_event_without_an_id_has_one_of_its_own():
    """A repetition is told from a new push."""
    import datetime as dt

    now = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    payload = Push(("https://git.test/a",), "main", NEW).payload(source="polling", now=now)
    assert payload["event_id"] == f"main@{NEW}"
    assert payload["seen_at"] == "2026-01-01T00:00:00Z"
