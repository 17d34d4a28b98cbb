"""Hubot with the pack's script: a day of conversations, bad input, a lost connection."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from stormcell.api.alias_formats import matching

from tests.integration.chat.conftest import ChatWorld, answer_of, eventually
from tests.integration.chat.hubot import ROOT, SCRIPTS, Hubot, Unavailable, install
from tests.unit.chat.said import SAID
from tests.unit.chat.test_chat_aliases import ALIASES


@pytest.fixture(scope="module")
def installed() -> Path:
    try:
        return install()
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def hubot(installed: Path, world: ChatWorld, tmp_path: Path) -> Iterator[Hubot]:
    key = tmp_path / "api-key"
    key.write_text(world.engine.key)
    key.chmod(0o600)
    environment = {"ST2_API_URL": f"{world.engine.url}/v1", "ST2_API_KEY_FILE": str(key)}
    hubot = Hubot(installed, tmp_path / "hubot", "ana", environment)
    try:
        hubot.wait("listening to announcements")
        yield hubot
    finally:
        hubot.stop()


KEPT = {
    "freeze cart because see https://x.test/y?id=5": (
        "freeze cart because see https://x.test/y?id=5 ."
    ),
    "freeze cart because ?id=5": "freeze cart because ?id=5 .",
    "scale cart replicas=3": "scale cart replicas=3",
    "create database orders engine=mysql size='huge'": (
        "create database orders engine=mysql size='huge'"
    ),
    "list apps": "list apps",
}
NODE = """
import { EventReader, keepText, matching, readAliases } from %(script)s
let input = ''
for await (const chunk of process.stdin) input += chunk
const { aliases, kept, said, stream } = JSON.parse(input)
const known = readAliases(aliases)
const names = said.map(text =>
  known.sayings.filter(each => each.expression.test(text)).map(each => each.alias.name))
const reader = new EventReader()
const events = stream.flatMap(text => [...reader.read(text)])
console.log(JSON.stringify({ names, rest: matching(known, 'lunch?').alias.name, events,
  kept: kept.map(keepText) }))
"""


def test_formats_mean_the_same_to_hubot(installed: Path) -> None:
    """In JavaScript, too, a text fits the alias that the engines take, and no other; the rest goes
    to the catch-all. Events are cut out of a stream wherever it is broken."""
    aliases = [
        yaml.safe_load(path.read_text()) for path in sorted((ROOT / "aliases").glob("*.yaml"))
    ]
    said = [text for text, _name, _values in SAID]
    stream = [
        ": hello\n\n",
        "event: a\nda",
        'ta: {"x":\ndata: 1}\n',
        "\nevent: b\r\ndata: 2\r\n\r\n",
        "data: 3\n",
    ]
    done = subprocess.run(
        [
            "node",
            "--input-type=module",
            "-e",
            NODE % {"script": json.dumps(str(SCRIPTS / "kubestorm.mjs"))},
        ],
        input=json.dumps(
            {
                "aliases": aliases,
                "said": said,
                "stream": stream,
                "kept": list(KEPT),
            }
        ),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    taken = [matching(text, ALIASES).alias.name for text in said]
    assert found["names"] == [[name] if name != "kubestorm_anything" else [] for name in taken]
    assert found["rest"] == "kubestorm_anything"
    assert found["kept"] == list(KEPT.values())
    assert found["events"] == [{"event": "a", "data": '{"x":\n1}'}, {"event": "b", "data": "2"}]


def test_a_day_with_hubot(hubot: Hubot, world: ChatWorld) -> None:
    """Help, a database made and shown, a slip, an unclear name, a refusal by the action: each
    answered in the room.
    """
    assert "create database orders postgres 16" in hubot.say("hubot kubestorm help", "topics:")
    created = hubot.say(
        "hubot create database hub-orders postgres 16 size small in shop-prod", "is ready."
    )
    assert created.index("Working on it; the outcome follows here.") < created.index(
        "Database shop-prod/hub-orders is ready."
    )
    assert "RDS: available" in hubot.say("hubot show database hub-orders", "Credentials:")
    assert "Did you mean `show database hub-orders`?" in hubot.say(
        "hubot shwo database hub-orders", "Did you mean"
    )
    assert "shop-prod/hub-orders" in hubot.say("hubot show database hub-order", "Did you mean")
    assert "allowed: small" in hubot.say("hubot resize database hub-orders to colossal", "allowed:")
    assert "Policy: Retain" in hubot.say("hubot delete database hub-orders in shop-prod", "Policy:")


@pytest.mark.parametrize(
    "line, answer",
    [
        (
            "hubot show database {{ st2kv.system.secret }}",
            "That command is incomplete.",
        ),
        ("hubot roll back cart name={{st2kv.system.secret}}", "That command is incomplete."),
        (
            "hubot scale cart to 3 user=admin",
            "That was not taken: Override of immutable parameter(s) ['user']",
        ),
        (
            "hubot show database $(touch /tmp/x); `id`",
            "That command is incomplete.",
        ),
        ("hubot " + "deploy " * 14_000, "a command has fewer. I did nothing."),
    ],
    ids=["template", "template as a pair", "somebody else", "shell", "100 KB"],
)
def test_bad_input_is_a_sentence(hubot: Hubot, world: ChatWorld, line: str, answer: str) -> None:
    """What is typed is never evaluated, and the bot goes on."""
    world.http.put(
        "/v1/keys/secret", json={"name": "secret", "value": "swordfish"}
    ).raise_for_status()
    assert "swordfish" not in hubot.say(line, answer)
    assert "You are ana." in hubot.say("hubot who am I", "You are ana.")


def test_no_secret_is_on_the_command_line(hubot: Hubot, world: ChatWorld) -> None:
    """The key is read from a file, and is in no log either."""
    command = Path(f"/proc/{hubot.process.pid}/cmdline").read_bytes()
    assert world.engine.key.encode() not in command
    assert world.engine.key not in hubot.text


def test_hubot_does_not_answer_itself(installed: Path, world: ChatWorld, tmp_path: Path) -> None:
    """Its own words do not leave the bot; those of a bot that the pack knows are not answered."""
    for user, asked in (("hubot", 0), ("kubestorm-bot", 1)):
        before = {item["id"] for item in world.executions("kubestorm.chat_run")}
        environment = {"ST2_API_URL": f"{world.engine.url}/v1", "ST2_API_KEY": world.engine.key}
        hubot = Hubot(installed, tmp_path / user, user, environment)
        try:
            hubot.wait("listening to announcements")
            since = hubot.type("hubot list databases")
            hubot.say("\\?", "show this help")
            if asked:
                # The shell adapter passes its own \\? on to the bot as well, so there may be two.
                runs = eventually(
                    lambda known=before: [
                        item
                        for item in world.executions("kubestorm.chat_run")
                        if item["id"] not in known
                    ]
                )
                for run in runs:
                    output = answer_of(world.ended(run["id"]))
                    assert (output["silent"], output["text"]) == (True, "")
            else:
                assert {item["id"] for item in world.executions("kubestorm.chat_run")} == before
            assert "database" not in hubot.text[since:].replace("list databases", "")
        finally:
            hubot.stop()


def test_an_outcome_is_told_after_the_engine_came_back(
    installed: Path, world: ChatWorld, tmp_path: Path
) -> None:
    """Hubot reconnects by itself, and then tells how what it had asked for ended."""
    environment = {"ST2_API_URL": f"{world.engine.url}/v1", "ST2_API_KEY": world.engine.key}
    hubot = Hubot(installed, tmp_path / "hubot", "ana", environment)
    try:
        hubot.wait("listening to announcements")
        since = hubot.type("hubot create database back-soon postgres 16 in shop-prod")
        hubot.wait("Working on it", since=since)
        world.restart()
        hubot.wait("listening to announcements", since=since)
        hubot.wait("Database shop-prod/back-soon is ready.", since=since)
    finally:
        hubot.stop()


def test_the_script_has_no_errors_of_its_own(
    installed: Path, hubot: Hubot, world: ChatWorld
) -> None:
    """A stopped API is told in a sentence, and the process lives."""
    assert SCRIPTS.is_dir()
    world.engine.stop()
    try:
        assert "try again in a moment" in hubot.say(
            "hubot list databases", "StackStorm does not answer"
        )
    finally:
        world.restart()
    assert hubot.process.poll() is None
    eventually(lambda: "database" in hubot.say("hubot list databases", "database"))
