"""Leaves a line in a file; stays busy for as long as it is told."""

import os
import time

from st2common.runners.base_action import Action


class Mark(Action):
    def run(self, file, line, seconds, succeed, gate=None):
        with open(file, "a") as target:
            target.write(line + "\n")
        time.sleep(seconds)
        while gate and not os.path.exists(gate):
            time.sleep(0.02)
        return succeed, line
