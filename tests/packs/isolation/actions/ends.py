import datetime
import os
import signal
import sys

from st2common.runners.base_action import Action


class Aside:
    """Comes first in the alphabet, and has no run method."""


class Ends(Action):
    def run(self, how=None, text=None):
        return getattr(self, how)(text)

    def value(self, text):
        return {"text": text}

    def succeeded(self, text):
        return True, text

    def failed(self, text):
        return False, {"why": text}

    def raises(self, text):
        raise ValueError(text)

    def exits(self, text):
        sys.exit(int(text))

    def dies(self, text):
        print("last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    def bad_status(self, text):
        return "yes", text

    def an_object(self, text):
        return True, {"a", "set"} - {"set"}

    def dates(self, text):
        return {"when": datetime.datetime(2024, 2, 29, 12, 0, 1), "nan": float("nan"), "pair": (1, 2)}

    def writes(self, text):
        for number in range(int(text)):
            print("%06d %s" % (number, "ü" * 100))
        sys.stderr.write("x" * 1000000)
        return "written"

    def logs(self, text):
        self.logger.info(text)
        self.logger.debug("a detail")
        return self.config.get("greeting")

    def missing_config(self, text):
        return self.config["absent"]

    def environment(self, text):
        return {key: os.environ.get(key) for key in text.split()}

    def argv(self, text):
        with open("/proc/self/cmdline", "rb") as file:
            return file.read().decode()
