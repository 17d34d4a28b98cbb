"""The action aliases that StackStorm and stormcell match, made from the list of commands.

    python -m kubestorm.people.chat.aliases FOLDER

One alias for each command. Its format is an expression that both engines and Hubot understand: the
phrases as a look-ahead, then the whole text as the one parameter. Everything that an alias could
get wrong (who asks, what is meant, what may be) is decided by the action from that text, so that an
alias is only a door.

Sources: st2common/models/utils/action_alias_utils.py of StackStorm 3.9 (formats become Python's
expressions, anchored where they are not) and src/lib/command_factory.js of hubot-stackstorm (they
become JavaScript's, which knows no named groups; there is no look at `match_multiple`).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping

from kubestorm.people.chat.commands import COMMANDS, Command
from kubestorm.people.chat.phrases import SHAPES, pattern_of

ACTION = "kubestorm.chat_run"
FOLLOW_ACTION = "kubestorm.chat_follow"
"""For commands that start something long: a workflow that waits for its outcome."""
PREFIX = "kubestorm_"
CATCH_ALL = "anything"
_PAIRS = r"""(?:\s+[a-z_]+=(?:"[^"]*"|'[^']*'|\S+))*"""
# Neither $ nor \Z, which JavaScript or a reader of expressions could take for something else.
_END = r"\s*[?!.]*\s*(?![\s\S])"
# In Python \A is the beginning of the text; in JavaScript it is the letter, behind which the
# look-behind fails. So the alias for everything else is found by the engines, which ask it last,
# and never by Hubot, which would ask it first.
_NOT_IN_HUBOT = r"\A(?<![Aa])\s*"
_SHAPES: Mapping[str, str] = {
    **SHAPES,
    "name": r"[\w./-]+",
    "namespace": r"[\w-]+",
    "image": r"[\w.+:-]+",
    "repository": r"[\w./:-]+",
    "size": r"[A-Za-z][\w-]*",
    "version": r"\d[\w.]*",
    "snapshot": r"[\w.-]+",
    "confirm": r"[\w./-]+",
    "reason": r"[^\s{}][^{}]*",
    "topic": r"[^\s{}][^{}]*",
}
"""Looser than what `reading` takes, and short: an alias is to be recognised, and read by a person.
"""
_WIDTH = 130
_RED = "#d0342c"
# Of the action a result, of the workflow an output; neither where something crashed.
_ANSWER = (
    "{% set run = execution.result or dict() %}"
    "{% set answer = run.get('output') or run.get('result') %}"
)
_RESULT = (
    f"{_ANSWER}"
    "{% if answer is mapping and answer.get('text') %}{{ answer.text }}"
    "{% elif answer is mapping and answer.get('silent') %}"
    "{% else %}That went wrong inside kubestorm. Whether it had an effect is "
    "not known here: look, and tell an "
    "operator this number: {{ execution.id }}{% endif %}"
)
_COLOUR = f"{_ANSWER}{{{{ answer.get('colour') or '{_RED}' if answer is mapping else '{_RED}' }}}}"


def alias_of(command: Command) -> Dict[str, Any]:
    """The alias's file as StackStorm wants it."""
    described = command.summary[0].upper() + command.summary[1:]
    document: Dict[str, Any] = {
        "name": f"{PREFIX}{command.name}",
        "pack": "kubestorm",
        "description": (
            f"{described}. {f'Needs the role {command.role}' if command.role else 'Everybody may'}."
        ),
        "enabled": True,
        "action_ref": FOLLOW_ACTION if command.follow else ACTION,
        "formats": [
            {
                "display": f"{command.usage} (for instance: {command.example})",
                "representation": [_format(command)],
            }
        ],
        "ack": {"enabled": False},
        "result": {
            "format": _RESULT,
            "extra": {"color": _COLOUR, "slack": {"color": _COLOUR, "thread_response": True}},
        },
    }
    if command.changes:
        document["ack"] = {
            "enabled": True,
            "format": "On it; I say here how it ends.",
            "append_url": False,
            "extra": {"slack": {"thread_response": True}},
        }
    return document


def catch_all() -> Dict[str, Any]:
    """The alias for what is no command: near misses are answered with what is closest."""
    document = alias_of(COMMANDS[0])
    return {
        **document,
        "name": f"{PREFIX}{CATCH_ALL}",
        "description": (
            "What is no command of any pack is answered with what comes closest. Disable it if "
            "others do."
        ),
        "formats": [{"representation": [f"{_NOT_IN_HUBOT}{{{{ text }}}}"], "match_multiple": True}],
    }


def file_text(document: Dict[str, Any]) -> str:
    """An alias's file, in the order that a reader wants, with long texts over several lines."""
    head = (
        "---\n# Written by `python -m kubestorm.people.chat.aliases aliases` from "
        "lib/kubestorm/people/chat/commands.py.\n"
    )
    return head + "".join(f"{line}\n" for line in _lines(document, ""))


def files() -> Dict[str, str]:
    """File name -> text, for each alias."""
    found = {f"{command.name}.yaml": file_text(alias_of(command)) for command in COMMANDS}
    return {**found, f"{CATCH_ALL}.yaml": file_text(catch_all())}


def _format(command: Command) -> str:
    patterns = "|".join(pattern_of(each.text, _SHAPES, named=False) for each in command.phrases)
    return f"(?=(?:{patterns}){_PAIRS}{_END}){{{{ text }}}}"


def _lines(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield f"{indent}{key}:"
            yield from _lines(item, f"{indent}  ")
        elif isinstance(item, list):
            yield f"{indent}{key}:"
            for each in item:
                first, *others = (
                    _lines(each, "")
                    if isinstance(each, Mapping)
                    else [_scalar(each, f"{indent}    ")]
                )
                yield f"{indent}  - {first}"
                yield from (f"{indent}    {line}" for line in others)
        else:
            yield f"{indent}{key}: {_scalar(item, indent + '  ')}"


def _scalar(value: Any, indent: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if re.fullmatch(r"[\w. -]+", value):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    lines = [escaped[start : start + _WIDTH] for start in range(0, len(escaped), _WIDTH)]
    for index in range(len(lines) - 1):
        # Neither an escape nor a blank may be parted by the end of a line.
        while re.search(r"\\$", lines[index]) or lines[index + 1].startswith((" ", "\\", '"')):
            lines[index], lines[index + 1] = (
                lines[index] + lines[index + 1][0],
                lines[index + 1][1:],
            )
    return '"' + f"\\\n{indent}".join(lines) + '"'


def main(folder: str) -> None:
    """Write the files."""
    place = Path(folder)
    place.mkdir(exist_ok=True)
    for name, text in files().items():
        (place / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
