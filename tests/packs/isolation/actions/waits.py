import subprocess
import time

from st2common.runners.base_action import Action


class Waits(Action):
    def run(self, path):
        child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        print(child.pid, flush=True)
        time.sleep(1000)
