"""One execution of a build in a process of its own, so that a test can kill it: `build_process.py
CONFIG IDENTITY`.
"""

from __future__ import annotations

import json
import sys

from kubestorm.clients.services import Services
from kubestorm.core.naming import Identity
from kubestorm.core.settings import load_settings
from kubestorm.kinds.build.execution import run_build
from kubestorm.kinds.build.run import BuildRun


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    config, identity = json.loads(sys.argv[1]), Identity(*json.loads(sys.argv[2]))
    run = BuildRun(Services(load_settings(config)), identity, "run-killed", say=say)
    say(f"result: {json.dumps(run_build(run))}")
