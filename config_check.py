"""What is wrong with the pack's configuration, for `stormcell check --configs`.

Read from standard input as JSON. Written to standard output: a line of JSON for each fault, with
`message` and `warning` (true: it can be used as it is).
"""

from __future__ import annotations

import json
import sys

from kubestorm.entrypoints.config_check import find_faults

for fault in find_faults(json.load(sys.stdin)):
    said = {"message": fault.message, "warning": fault.is_warning}
    sys.stdout.write(json.dumps(said) + "\n")
