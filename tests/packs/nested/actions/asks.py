import json
import os
import time
import urllib.request

from st2common.runners.base_action import Action


class Asks(Action):
    def run(self):
        execution = self._call("POST", "/executions", {"action": "nested.answers"})
        deadline = time.monotonic() + 120
        while execution["status"] in ("requested", "scheduled", "running"):
            if time.monotonic() > deadline:
                raise RuntimeError("the answer did not come")
            time.sleep(0.1)
            execution = self._call("GET", "/executions/" + execution["id"])
        return execution["result"]["result"]

    def _call(self, method, path, body=None):
        request = urllib.request.Request(
            os.environ["ST2_ACTION_API_URL"] + path,
            method=method,
            data=json.dumps(body).encode() if body else None,
            headers={
                "X-Auth-Token": os.environ["ST2_ACTION_AUTH_TOKEN"],
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
