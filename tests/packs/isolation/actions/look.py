import logging
import os
import signal
import socket
import sys
import threading
import warnings

from st2common.runners.base_action import Action

import counting


class Look(Action):
    def run(self, unused=None):
        return {
            "pid": os.getpid(),
            "cwd": os.getcwd(),
            "mark": os.environ.get("MARK"),
            "home": os.environ.get("HOME"),
            "umask": self.umask(),
            "path": list(sys.path),
            "argv": list(sys.argv),
            "root_handlers": len(logging.getLogger().handlers),
            "root_level": logging.getLogger().level,
            "mark_level": logging.getLogger("mark").level,
            "mark_handlers": len(logging.getLogger("mark").handlers),
            "disabled": logging.root.manager.disable,
            "warnings": [str(item[0]) for item in warnings.filters],
            "usr1": str(signal.getsignal(signal.SIGUSR1)),
            "alarm": signal.alarm(0),
            "timeout": socket.getdefaulttimeout(),
            "open": open.__name__,
            "built_in_mark": "mark" in dir(__builtins__)
            if not isinstance(__builtins__, dict)
            else "mark" in __builtins__,
            "recursion": sys.getrecursionlimit(),
            "count": counting.count(),
            "aws": getattr(sys.modules.get("boto3"), "DEFAULT_SESSION", None),
            "threads": threading.active_count(),
        }

    def umask(self):
        value = os.umask(0)
        os.umask(value)
        return value
