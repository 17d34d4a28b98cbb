"""What is wrong with the pack's configuration, for `stormcell check --configs`. With --connect, all
that it needs is tried, and a line printed for each; exit code 1 where something does not work.

Read from standard input as JSON. Written to standard output: a line of JSON for each fault, with
`message` and `warning` (true: it can be used as it is).
"""

from __future__ import annotations

import json
import sys

from kubestorm.entrypoints.config_check import find_faults
from kubestorm.entrypoints.doctor import main

if "--connect" in sys.argv:
    sys.exit(main(json.load(sys.stdin)))
for fault in find_faults(json.load(sys.stdin)):
    said = {"message": fault.message, "warning": fault.is_warning}
    sys.stdout.write(json.dumps(said) + "\n")
