import builtins
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import warnings

from st2common.runners.base_action import Action

import counting


class Mark(Action):
    def run(self, what=None):
        getattr(self, what)()
        return os.getpid()

    def memory(self):
        sys.kept = b"x" * (300 << 20)

    def everything(self):
        import boto3

        boto3.DEFAULT_SESSION = "with somebody's credentials"
        os.chdir("/")
        os.environ["MARK"] = "left"
        os.environ.pop("HOME", None)
        os.umask(0)
        sys.path.insert(0, "/mark")
        sys.argv.append("mark")
        logging.getLogger().addHandler(logging.StreamHandler())
        logging.getLogger().setLevel(logging.DEBUG)
        logging.getLogger("mark").addHandler(logging.StreamHandler())
        logging.getLogger("mark").setLevel(logging.ERROR)
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("error")
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.alarm(1000)
        socket.setdefaulttimeout(3)
        builtins.open = None
        builtins.mark = True
        random.seed(1)
        sys.setrecursionlimit(5000)
        sys.stdout = open(os.devnull, "w") if builtins.open else None
        counting.count()

    def closed_streams(self):
        print("before", flush=True)
        os.close(1)
        sys.stderr.close()

    def child(self):
        print(subprocess.Popen(["sleep", "1000"], start_new_session=True).pid)

    def daemon_thread(self):
        threading.Thread(target=threading.Event().wait, daemon=True).start()

    def thread(self):
        def late():
            self.started.wait()
            print("late line", flush=True)

        self.started = threading.Event()
        threading.Thread(target=late).start()
        self.started.set()
