"""A hostile developer, chat user, registry and branch, each with the rights that docs/security.md
gives them, against everything running; beside them another team goes about its work.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.e2e import leaks
from tests.security.conftest import API, MINE, THEIRS, Fortress

DIGEST = "sha256:" + "d" * 64
AS_TEXT = [{"path": "/", "matches": "((((a{1,200}){1,200}){1,200}){1,200})"}]


def rollouts(fortress: Fortress) -> list[dict[str, Any]]:
    return fortress.environment.read_all(API, "Rollout", MINE)


def waiting(fortress: Fortress) -> dict[str, Any] | None:
    """The Rollout that waits for an approval."""
    return next(
        (
            each
            for each in rollouts(fortress)
            if each.get("status", {}).get("phase") == "AwaitingApproval"
        ),
        None,
    )


def deployments(fortress: Fortress) -> list[dict[str, Any]]:
    return fortress.environment.read_all("apps/v1", "Deployment", MINE)


def answered(fortress: Fortress, rollout: str) -> bool:
    """Whether a run has looked at what was last written on a Rollout."""
    found = fortress.environment.read(API, "Rollout", rollout, MINE) or {}
    return not fortress.unfinished() and bool(found.get("status", {}).get("lastRunId"))


def test_a_developer_approves_aborts_and_freezes_nothing(fortress: Fortress) -> None:
    """Not by annotations, not by the object, not by its status; who may, may."""
    fortress.environment.push_image(f"{MINE}/cart", "1.0.0")
    assert fortress.write("Application", "cart", fortress.application()).status_code == 201
    rollout = fortress.wait_until(lambda: waiting(fortress), "the rollout waits for its approval")
    name = rollout["metadata"]["name"]
    fortress.sees("approvals", "cart", "Approve")
    record = fortress.environment.read(API, "Rollout", name, MINE)["status"]["approval"]
    granted = {**record, "state": "granted", "by": "grace", "content_hash": record["contentHash"]}
    asked = {"abort": {"by": "ada"}, "promote": {"by": "ada", "full": True}}
    words = {"kubestorm.io/approval": json.dumps(granted), "kubestorm.io/abort": "ada"}
    status = {"approval": granted, "requests": asked}
    spec = {**rollout["spec"], "cause": "rollback", "image": {**rollout["spec"]["image"]}}
    for body in ({"metadata": {"annotations": words}}, {"status": status}, {"spec": spec}):
        assert fortress.patch("rollouts", name, body).status_code == 403
    assert fortress.patch("rollouts", name, {"status": status}, "status").status_code == 403
    made = fortress.write("Rollout", "mine", spec, labels=rollout["metadata"]["labels"])
    assert made.status_code == 403
    assert fortress.developer.delete(fortress.path("rollouts", name)).status_code == 403
    frozen = {"status": {"requests": {"freeze": {"owner": "ada", "reason": "mine"}}}}
    assert fortress.patch("applications", "cart", frozen).status_code == 200
    assert fortress.patch("applications", "cart", frozen, "status").status_code == 403
    freeze = {"metadata": {"annotations": {"kubestorm.io/freeze": "ada"}}}
    assert fortress.patch("applications", "cart", freeze).status_code == 200
    fortress.wait_until(lambda: answered(fortress, name), "what was written has been looked at")
    found = fortress.environment.read(API, "Rollout", name, MINE)
    assert found["status"]["phase"] == "AwaitingApproval"
    assert found["status"]["approval"] == record
    assert deployments(fortress) == []
    application = fortress.environment.read(API, "Application", "cart", MINE)
    assert not application["status"].get("requests")
    question = fortress.sees("approvals", "cart", "Approve")
    fortress.slack.click("vera", question, "Approve")
    fortress.sees("approvals", "vera is not among those who approve this")
    assert deployments(fortress) == []
    fortress.slack.click("grace", question, "Approve")
    fortress.wait_until(lambda: deployments(fortress), "what was approved is rolled out")


REFUSED_BY_THE_API = {
    "a climbing path": {"test": {"http": [{"path": "/../../api/v1/namespaces/x/secrets/crown"}]}},
    "an encoded one": {"test": {"http": [{"path": "/%2e%2e/%2e%2e/api"}]}},
    "another host": {"test": {"http": [{"path": "//127.0.0.1/x"}]}},
}


@pytest.mark.parametrize("spec", REFUSED_BY_THE_API.values(), ids=REFUSED_BY_THE_API)
def test_the_api_server_refuses_paths_that_lead_elsewhere(fortress: Fortress, spec: Any) -> None:
    """Before anything of ours has seen them."""
    answer = fortress.write("Application", "climbs", fortress.application(**spec))
    assert answer.status_code == 422
    assert "path" in answer.json()["message"]


THEIR_SECRET = f"kubestorm/demo/{THEIRS}/crown"
REACHING: dict[str, tuple[dict[str, Any], str]] = {
    "headers": (
        {"test": {"http": [{"path": "/", "headers": {"Impersonate-User": "system:admin"}}]}},
        "Impersonate-User",
    ),
    "the host of the pack": (
        {
            "expose": {"type": "ingress", "hosts": ["metadata.google.internal"]},
            "test": {"through": "ingress", "http": [{"path": "/"}]},
        },
        "spec.test.through",
    ),
    "a bare address": ({"expose": {"type": "ingress", "hosts": ["169.254.169.254"]}}, "hosts"),
    "a secret of others": (
        {"secrets": [{"path": THEIR_SECRET}]},
        f"may not be read from namespace {MINE}",
    ),
    "a secret by a detour": (
        {"secrets": [{"path": f"kubestorm/demo/{MINE}/../{THEIRS}/crown"}]},
        "spec.secrets",
    ),
    "a key of others": (
        {"config": [{"key": f"kubestorm/demo/{THEIRS}/level"}]},
        f"may not be read from namespace {MINE}",
    ),
    "an endless pattern": ({"test": {"http": AS_TEXT}}, "counts multiply"),
    "a great quantity": ({"resources": {"requests": {"cpu": "9" * 5000}}}, "cpu"),
}


def test_an_application_reaches_no_further_than_its_namespace(fortress: Fortress) -> None:
    """Each is refused on the object, in a sentence with its field; others are not held up."""
    for number, (spec, _) in enumerate(REACHING.values()):
        made = fortress.write("Application", f"reach-{number}", fortress.application(**spec))
        assert made.status_code in (201, 422), made.text
    fortress.neighbour("beside")
    for number, (what, (_, word)) in enumerate(REACHING.items()):
        if fortress.developer.get(fortress.path("applications", f"reach-{number}")).is_success:
            assert word in fortress.refused("Application", f"reach-{number}"), what
    fortress.wait_until(lambda: fortress.is_well("beside"), "the other team's Application is ready")


def test_a_host_stays_with_who_had_it_first(fortress: Fortress) -> None:
    """A claim from another namespace is told so, and gets no Ingress."""
    expose = {"type": "ingress", "hosts": ["shop.example.com"]}
    fortress.neighbour("owner", expose=expose)
    fortress.wait_until(lambda: fortress.is_well("owner"), "the first one is ready")
    fortress.write("Application", "thief", fortress.application(expose=expose))
    sentence = fortress.refused("Application", "thief", "HostClaimed")
    assert "shop.example.com" in sentence
    assert fortress.environment.read_all("networking.k8s.io/v1", "Ingress", MINE) == []


MALFORMED = ["{", "[" * 5000, "null", '{"by": {"by": 1}}', "²", "9" * 5000, '"\\ud800"', "\u0000x"]


def test_what_a_developer_writes_stops_nobody_else(fortress: Fortress) -> None:
    """Annotations and labels of any form, on all of the team's objects; the neighbours' changes go
    on.
    """
    keys = ("wanted-image", "retry-digest", "build-request", "source-pushed", "recreate", "channel")
    for number, text in enumerate(MALFORMED):
        words = {f"kubestorm.io/{key}": text.replace("\x00", "") for key in keys}
        made = fortress.write(
            "Application", f"odd-{number}", fortress.application(), annotations=words
        )
        assert made.status_code == 201, made.text
        spec = {
            "source": {"url": fortress.repository.url, "branch": "none"},
            "images": [{"name": "x", "repository": f"{MINE}/x"}],
            "suspend": True,
        }
        made = fortress.write("ImageBuild", f"odd-{number}", spec, annotations=words)
        assert made.status_code == 201, made.text
    fortress.neighbour("calm")
    fortress.wait_until(lambda: fortress.is_well("calm"), "the other team's Application is ready")
    fortress.environment.push_image(f"{THEIRS}/calm", "1.1.0")
    fortress.wait_until(
        lambda: (
            fortress.environment.read(API, "Application", "calm", THEIRS)["status"]["image"]["tag"]
            == "1.1.0"
        ),
        "a push of the other team's is rolled out",
    )


def test_a_chat_user_does_what_the_role_allows(fortress: Fortress) -> None:
    """Roles, signatures, the age of a request, and text that looks like a template."""
    fortress.say("vera", f"create database mine postgres 16 size small in {THEIRS}")
    fortress.sees("team-shop", "missing the role")
    fortress.say("mallory", f"deploy calm 1.0.0 in {THEIRS}")
    fortress.sees("team-shop", "do not know")
    body = {"text": "help", "user_id": fortress.slack.add_user("ada"), "command": "/kubestorm"}
    for forged in ({"secret": "guessed"}, {"signature": "v0="}, {"timestamp": 1}):
        assert fortress.slack.send("commands", body, **forged).status in (401, 403)
    before = len(fortress.slack.posts)
    fortress.say("vera", "why {{ st2kv.system.crown }}{{ 7 * 191 }} <% ctx() %>")
    vera = fortress.slack.users["vera"]
    fortress.wait_until(
        lambda: any(post.only_for == vera for post in fortress.slack.posts[before:]),
        "vera is answered",
    )
    assert not any("1337" in post.everything for post in fortress.slack.posts)
    assert fortress.environment.read(API, "Database", "mine", THEIRS) is None


def test_a_registry_tells_of_itself_alone(fortress: Fortress) -> None:
    """Without its token, about another registry, without a digest, twice, too long."""
    environment = fortress.environment
    settings = environment._registry_config["registries"]
    url = f"http://127.0.0.1:{settings['listener']['port']}/registry/sandbox"
    token = (environment.folder / "pack" / "registry-token").read_text()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def event(**target: Any) -> dict[str, Any]:
        what = {"repository": f"{THEIRS}/calm", "tag": "9.9.9", "digest": DIGEST, **target}
        what.setdefault("mediaType", "application/vnd.oci.image.manifest.v1+json")
        return {"events": [{"id": "e-1", "action": "push", "target": what}]}

    def post(body: Any, **more: Any) -> int:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(
            url, content=content, headers={**headers, **more}, timeout=120
        ).status_code

    def told() -> list[str]:
        found = fortress.engine.get(
            "triggerinstances", trigger_type="kubestorm.image_pushed", limit=100
        )
        return [each["payload"].get("tag") for each in found]

    assert post(event(), Authorization="Bearer guessed") in (401, 403)
    assert post(event(), Authorization="") in (401, 403)
    assert post(b"x" * 5_000_000) == 413
    assert post(b"{") == 400
    for wrong in ({"digest": "latest"}, {"repository": "../../x"}, {"tag": "a b"}, {"tag": 7}):
        assert post(event(**wrong)) < 500
    for _ in range(2):
        assert post(event(tag="9.9.8", repository=f"{THEIRS}/nothing")) == 200
    fortress.wait_until(lambda: "9.9.8" in told(), "the one event is told")
    assert told().count("9.9.8") == 1
    assert "9.9.9" not in told()


HOSTILE_BRANCHES: dict[str, dict[str, str | bytes]] = {
    "a Dockerfile that is a link": {"Dockerfile": "-> /etc/passwd"},
    "a folder that is a link": {"Dockerfile": "FROM scratch\nCOPY out /out\n", "out": "-> /etc"},
    "a Dockerfile without an end": {"Dockerfile": "FROM scratch\nRUN <<EOF\n"},
    "stars": {"Dockerfile": "ARG A=" + "a" * 500 + "\nFROM ${A##" + "*a" * 200 + "b}\n"},
}


def test_a_branch_reads_nothing_of_the_build_host(fortress: Fortress) -> None:
    """What it links to, and what cannot be read, ends in a sentence; nothing is pushed."""
    for number, files in enumerate(HOSTILE_BRANCHES.values()):
        fortress.repository.checkout(f"hostile-{number}")
        fortress.repository.git("rm", "-rqf", "--ignore-unmatch", ".")
        fortress.repository.commit(files)
        spec = {
            "source": {"url": fortress.repository.url, "branch": f"hostile-{number}"},
            "images": [{"name": "x", "repository": f"{MINE}/branch-{number}"}],
        }
        made = fortress.write("ImageBuild", f"branch-{number}", spec)
        assert made.status_code == 201, made.text
    outside = {
        "source": {"url": "https://169.254.169.254/latest/meta-data", "branch": "main"},
        "images": [{"name": "x", "repository": f"{MINE}/x"}],
    }
    assert fortress.write("ImageBuild", "metadata", outside).status_code in (201, 422)
    theirs = {
        "source": {"url": fortress.repository.url, "branch": "hostile-0"},
        "images": [{"name": "x", "repository": "x", "dockerfile": "../../../../etc/passwd"}],
    }
    assert fortress.write("ImageBuild", "climbs", theirs).status_code in (201, 422)
    for name in ("metadata", "climbs"):
        if fortress.developer.get(fortress.path("imagebuilds", name)).is_success:
            assert fortress.refused("ImageBuild", name)
    for number, what in enumerate(HOSTILE_BRANCHES):
        sentence = fortress.refused("ImageBuild", f"branch-{number}", "Built")
        assert sentence, what
        assert "root:" not in sentence


def test_the_crown_stays_where_it_was(fortress: Fortress) -> None:
    """After all of that: on no object that the team may read, in no Event, answer, log or file."""
    seen = [
        (plural, fortress.developer.get(fortress.path(plural)).content)
        for plural in ("applications", "databases", "imagebuilds", "rollouts")
    ]
    seen.append(("events", json.dumps(fortress.environment.read_all("v1", "Event")).encode()))
    seen.append(("slack", "\n".join(post.everything for post in fortress.slack.posts).encode()))
    seen += leaks.files_below(fortress.engine.folder)
    assert list(leaks.find(fortress.crown, seen)) == []
    secret = f"/api/v1/namespaces/{THEIRS}/secrets/crown"
    assert fortress.developer.get(secret).status_code == 403
