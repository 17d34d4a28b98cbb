"""err-stackstorm, unmodified, in Errbot with its text back end: a day of conversations and bad
input.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.chat.conftest import ChatWorld, eventually
from tests.integration.chat.errbot import Errbot, Unavailable, install


@pytest.fixture(scope="module")
def errbot(world: ChatWorld, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Errbot]:
    try:
        python = install()
    except Unavailable as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("errbot")
    key = folder / "api-key"
    key.write_text(world.engine.key)
    key.chmod(0o600)
    errbot = Errbot(python, folder, "ana", world.engine.url, key)
    try:
        errbot.wait("to flip on/off the multiline mode")
        # Its plugin may be slower to start than its prompt.
        eventually(lambda: is_connected(errbot))
        yield errbot
    finally:
        errbot.stop()


def is_connected(errbot: Errbot) -> bool:
    """Whether the plugin knows where StackStorm is."""
    since = errbot.type("!st2help")
    words = ("Open to everybody.", "See logs for details")
    eventually(lambda: any(word in errbot.text[since:] for word in words))
    return words[0] in errbot.text[since:]


def test_a_day_with_errbot(errbot: Errbot) -> None:
    """Its own help, ours, a database from its making to its end, a slip and an unclear name."""
    assert "list databases [in NAMESPACE] (for instance" in errbot.say(
        "!st2help", "Open to everybody."
    )
    assert "What you may ask for, ana:" in errbot.say("!st2 kubestorm help", "topics:")
    created = errbot.say(
        "!st2 create database err-orders postgres 16 size small in shop-prod", "is ready."
    )
    assert created.index("Working on it; the outcome follows here.") < created.index(
        "Database shop-prod/err-orders is ready."
    )
    assert "RDS: available" in errbot.say("!st2 show database err-orders", "Credentials:")
    assert "show database err-orders" in errbot.say("!st2 shwo database err-orders", "Did you mean")
    assert "shop-prod/err-orders" in errbot.say("!st2 show database err-order", "Did you mean")
    assert "size: 'colossal' is not offered" in errbot.say(
        "!st2 resize database err-orders to colossal", "allowed:"
    )
    assert "ready" in errbot.say(
        "!st2 why is err-orders not ready?", "Database shop-prod/err-orders"
    )
    assert "Policy: Retain" in errbot.say("!st2 delete database err-orders in shop-prod", "Policy:")


@pytest.mark.parametrize(
    "line, answer",
    [
        (
            "!st2 show database {{ st2kv.system.secret }}",
            "That command is incomplete.",
        ),
        ("!st2 roll back cart name={{st2kv.system.secret}}", "That command is incomplete."),
        (
            "!st2 scale cart to 3 user=admin",
            "Override of immutable parameter(s) ['user'] is unsupported.",
        ),
        ("!st2 roll back cart user=admin", "('user' was unexpected)"),
        ("!st2 lunch, anyone?", "I didn't understand that."),
    ],
    ids=["template", "template as a pair", "somebody else", "somebody else, followed", "talk"],
)
def test_bad_input_is_a_sentence(errbot: Errbot, world: ChatWorld, line: str, answer: str) -> None:
    """What is typed is never evaluated, and the bot goes on."""
    world.http.put(
        "/v1/keys/secret", json={"name": "secret", "value": "swordfish"}
    ).raise_for_status()
    assert "swordfish" not in errbot.say(line, answer)
