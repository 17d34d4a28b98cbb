"""What is wrong with the pack's configuration that config.schema.yaml cannot say, for
`stormcell check --configs`.

Read from standard input as JSON. Written to standard output: a line of JSON for each fault, with
`message` and `warning` (true: it can be used as it is).
"""

from __future__ import annotations

import json
import sys

from kubestorm.core.errors import DefinitionError
from kubestorm.kinds.build import logins
from kubestorm.kinds.build.settings import BuildSettings
from kubestorm.people.approval import judging as approvals


def say(message: str, *, warning: bool) -> None:
    sys.stdout.write(json.dumps({"message": message, "warning": warning}) + "\n")


config = json.load(sys.stdin)
for judge in (
    lambda: logins.config_warnings(BuildSettings.from_config(config)),
    lambda: approvals.config_warnings(config),
):
    try:
        for sentence in judge():
            say(sentence, warning=True)
    except DefinitionError as error:
        say(str(error), warning=False)
