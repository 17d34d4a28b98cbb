"""ChatOps as Hubot and err-stackstorm drive it: a command typed, its acknowledgment, and the result
on the stream.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from stormcell.api.identity import USERS_FILE, Users
from stormcell.rbac import FOLDER, Roles

from tests.integration.engine.serving import PACKS, Served, eventually


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("chat") / "data", PACKS / "engine_chat")
    yield served
    assert served.stop() == 0


@contextmanager
def _listening(chat: Served, route: str) -> Iterator[Iterator[dict[str, Any]]]:
    """The announcements of one route, as they come on the stream."""
    with chat.http.stream(
        "GET", "/v1/stream", params={"events": f"st2.announcement__{route}"}
    ) as response:
        lines = response.iter_lines()
        next(lines)  # the stream is open once it sends something

        def announcements() -> Iterator[dict[str, Any]]:
            wanted = False
            for line in lines:
                if line.startswith("event: "):
                    wanted = line == f"event: st2.announcement__{route}"
                elif line.startswith("data: ") and wanted:
                    yield json.loads(line[len("data: ") :])["payload"]

        yield announcements()


def _typed(chat: Served, command: str, route: str | None = "hubot", **more: Any) -> dict[str, Any]:
    """Type a command as Hubot does: find the alias, then run it by name and format."""
    found = chat.http.post("/v1/actionalias/match", json={"command": command}).json()
    body = {
        "name": found["actionalias"]["name"],
        "format": found["representation"],
        "command": command,
        "user": "ann",
        "source_channel": "#ops",
        "source_context": {"thread": "17.4"},
        **({"notification_route": route} if route else {}),
        **more,
    }
    answered = chat.http.post("/v1/aliasexecution", json=body)
    assert answered.status_code == 201, answered.text
    document: dict[str, Any] = answered.json()
    return document


@pytest.mark.parametrize("route, event", [("hubot", "chatops"), ("errbot", "errbot")])
def test_the_chat_is_told_in_the_words_of_the_alias(chat: Served, route: str, event: str) -> None:
    """The acknowledgment comes at once, the result on the route's stream with place, person, thread
    and extra.
    """
    with _listening(chat, event) as announcements:
        answered = _typed(chat, "say hi pin=4711-4711", route)
        assert answered["message"] == "hi it is"
        assert answered["extra"] == {"slack": {"color": "#439FE0"}}
        assert answered["actionalias"]["ack"]["append_url"] is False
        told = next(announcements)
    assert told == {
        "user": "ann",
        "channel": "#ops",
        "whisper": False,
        "context": {"thread": "17.4"},
        "message": "hi was said by ann (say).",
        "extra": {"slack": {"color": "good"}},
    }
    assert "4711-4711" not in json.dumps([answered, told])


def test_without_a_format_the_chat_is_told_plainly(chat: Served) -> None:
    """An alias that says nothing of its result: action, status and what was printed."""
    with _listening(chat, "chatops") as announcements:
        run = _typed(chat, "plain hello")["execution"]["id"]
        told = next(announcements)
    assert "Action engine_chat.say completed.\nstatus : succeeded" in told["message"]
    assert f"execution: {run}" in told["message"]
    assert "stdout : hello" in told["message"]
    assert told["extra"] == {}


def test_a_silent_alias_tells_nothing(chat: Served) -> None:
    """`result.enabled: false`: the run happens, and the next announcement is another's."""
    with _listening(chat, "chatops") as announcements:
        answered = _typed(chat, "silent hush")
        run = chat.ended(answered["execution"]["id"])
        posted = eventually(
            lambda: [
                item for item in _posted(chat) if item["parameters"]["execution_id"] == run["id"]
            ]
        )
        assert chat.ended(posted[0]["id"])["result"]["result"] == {
            "note": "Execution result is disabled."
        }
        _typed(chat, "say after")
        assert next(announcements)["message"].startswith("after was said")


def _posted(chat: Served) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = chat.get("/v1/executions", action="chatops.post_result")
    return found


def test_what_an_alias_fixes_cannot_be_typed(chat: Served) -> None:
    """Immutable parameters are rendered with the datastore and the context, and refused where they
    are given.
    """
    chat.http.put("/v1/keys/chat_place", json={"name": "chat_place", "value": "harbor"})
    run = _typed(chat, "fixed hi", route=None)["execution"]
    assert run["parameters"] == {"text": "hi", "place": "#ops harbor", "loud": True}
    assert run["context"]["action_alias_ref"]["name"] == "fixed"
    assert (run["context"]["api_user"], run["context"]["source_channel"]) == ("ann", "#ops")
    refused = chat.http.post(
        "/v1/aliasexecution/match_and_execute",
        json={"command": "fixed hi place=home", "user": "ann", "source_channel": "#ops"},
    )
    assert refused.status_code == 400
    assert refused.json()["faultstring"] == "Immutable arguments cannot be overriden: place"


@pytest.mark.parametrize(
    "said, kept",
    [
        ({"user": "", "source_channel": "cli"}, {"source_channel": "cli"}),
        ({"user": "ann", "source_channel": "#ops"}, {"api_user": "ann", "source_channel": "#ops"}),
    ],
    ids=["st2-action-alias-execute", "bot"],
)
def test_who_runs_a_command_is_in_its_context(
    chat: Served, said: dict[str, str], kept: dict[str, str]
) -> None:
    """As in StackStorm: the authenticated user beside what a bot says of its chat, for the run and
    for the tasks of a workflow.
    """
    Users(chat.data / USERS_FILE).put("ada", None)
    Roles(chat.data / FOLDER).assign("ada", ["operator"])
    key = chat.http.post("/v1/apikeys", json={"user": "ada", "metadata": {}}).json()["key"]
    answered = chat.http.post(
        "/v1/aliasexecution/match_and_execute",
        json={"command": "relay hi", **said},
        headers={"St2-Api-Key": key},
    )
    (one,) = answered.json()["results"]
    names = ("user", "api_user", "source_channel")
    run = chat.ended(one["execution"]["id"])
    assert {name: run["context"].get(name) for name in names} == {
        "user": "ada",
        "api_user": said["user"],
        "source_channel": said["source_channel"],
    }
    (task,) = chat.get(f"/v1/executions/{run['id']}/children")
    assert {name: task["context"][name] for name in names if name in task["context"]} == {
        "user": "ada",
        **kept,
    }


@pytest.mark.parametrize(
    "command, parameters",
    [
        ("say hi", {"text": "hi", "place": "town"}),
        ("say 'good day' here", {"text": "good day", "place": "here"}),
        ('say hi loud=true text="other"', {"text": "other", "place": "town", "loud": True}),
    ],
    ids=["default-of-the-format", "quoted", "pairs"],
)
def test_parameters_are_read_and_cast(
    chat: Served, command: str, parameters: dict[str, Any]
) -> None:
    """Defaults of the format, quotes, and key=value pairs, cast to the action's types."""
    body = {"command": command, "user": "ann", "source_channel": "#ops"}
    (one,) = chat.http.post("/v1/aliasexecution/match_and_execute", json=body).json()["results"]
    assert one["execution"]["parameters"] == parameters


def test_one_command_runs_as_often_as_it_matches(chat: Served) -> None:
    """`match_multiple`: each match is an execution of its own, in one answer."""
    body = {"command": "one! two! three!", "user": "ann", "source_channel": "#ops"}
    answered = chat.http.post("/v1/aliasexecution/match_and_execute", json=body)
    results = answered.json()["results"]
    assert answered.status_code == 201
    assert [one["execution"]["parameters"]["text"] for one in results] == ["one", "two", "three"]


def test_help_shows_what_can_be_typed(chat: Served) -> None:
    """Lines of enabled aliases, by pack and text, in part."""
    whole = chat.get("/v1/actionalias/help", pack="engine_chat")
    assert whole["available"] == 6
    assert {line["display"] for line in whole["helpstrings"]} >= {"every WORD!", "plain {{ text }}"}
    assert not any("off" in line["display"] for line in whole["helpstrings"])
    one = chat.get("/v1/actionalias/help", filter="FIXED")
    assert [line["description"] for line in one["helpstrings"]] == [
        "Say something at a place that nobody chooses."
    ]
    part = chat.get("/v1/actionalias/help", limit=2, offset=1)
    assert part == {"available": 6, "helpstrings": whole["helpstrings"][1:3]}


REFUSED: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "no-name": ("", {"command": "say x"}, 400, 'Alias execution "name" is required'),
    "unknown": (
        "",
        {"name": "nobody", "command": "x"},
        404,
        'Unable to identify action alias with name "nobody".',
    ),
    "disabled": (
        "",
        {"name": "off", "format": "off {{ text }}", "command": "off x"},
        400,
        'Action alias with name "off" is disabled.',
    ),
    "other-format": (
        "",
        {"name": "say", "format": "tell {{ x }}", "command": "tell x"},
        400,
        'Format string "tell {{ x }}" is not available on the alias "say"',
    ),
    "no-match": (
        "/match_and_execute",
        {"command": "sing"},
        400,
        "Command 'sing' matched no patterns",
    ),
    "unknown-parameter": (
        "/match_and_execute",
        {"command": "plain x volume=11"},
        400,
        "Additional properties are not allowed ('volume' was unexpected)",
    ),
}


@pytest.mark.parametrize("path, body, code, sentence", REFUSED.values(), ids=REFUSED.keys())
def test_wrong_commands_get_a_sentence(
    chat: Served, path: str, body: dict[str, Any], code: int, sentence: str
) -> None:
    """StackStorm's code and words."""
    refused = chat.http.post(
        f"/v1/aliasexecution{path}", json={"user": "ann", "source_channel": "#ops", **body}
    )
    assert (refused.status_code, sentence in refused.json()["faultstring"]) == (code, True), (
        refused.text
    )


def test_actions_type_commands_too(chat: Served) -> None:
    """chatops.match, match_and_execute, run and post_message work as StackStorm's actions of these
    names.
    """
    matched = chat.run("chatops.match", text="plain x")
    alias = {"name": "plain", "pack": "engine_chat", "action_ref": "engine_chat.say"}
    assert matched["result"]["result"] == {"alias": alias, "representation": "plain {{ text }}"}
    wrong = chat.run("chatops.match", text="sing")
    assert "matched no patterns" in wrong["result"]["stderr"]
    with _listening(chat, "chatops") as announcements:
        done = chat.run("chatops.run", text="say so", channel="#ops", user="ann")
        assert done["status"] == "succeeded", done
        assert next(announcements)["message"] == "so was said by ann (say)."
        chat.run("chatops.post_message", message="news", channel="#all", extra={"a": 1})
        told = next(announcements)
    assert (told["message"], told["channel"], told["whisper"], told["extra"]) == (
        "news",
        "#all",
        False,
        {"a": 1},
    )


def test_the_pack_is_there_as_in_every_stackstorm(chat: Served) -> None:
    """The chatops pack and its two rules are loaded without being asked for."""
    assert {"chatops", "core"} <= {pack["ref"] for pack in chat.get("/v1/packs")}
    assert {rule["ref"] for rule in chat.get("/v1/rules", pack="chatops")} == {
        "chatops.notify",
        "chatops.notify-errbot",
    }


def test_what_is_typed_is_no_template(chat: Served) -> None:
    """As in StackStorm, what an alias matched are values; braces in them stay braces."""
    chat.http.put("/v1/keys/shown", json={"name": "shown", "value": "swordfish"}).raise_for_status()
    answered = _typed(chat, "say {{ st2kv.system.shown }}", None)
    assert answered["execution"]["parameters"]["text"] == "{{ st2kv.system.shown }}"
    assert "swordfish" not in json.dumps(chat.ended(answered["execution"]["id"]))


def test_a_far_too_long_command_is_not_repeated(chat: Served) -> None:
    """The answer says that it is too long, in a line."""
    answered = chat.http.post("/v1/actionalias/match", json={"command": "say " + "x" * 100_000})
    assert answered.status_code == 400
    assert answered.json()["faultstring"].startswith("The command is longer than 4096 characters.")


def test_the_root_of_the_api_says_its_version(chat: Served) -> None:
    """err-stackstorm tries its key there."""
    assert chat.get("/v1/")["version"] == "3.9.0"
    assert chat.http.get("/v1/", headers={"St2-Api-Key": "wrong"}).status_code == 401
