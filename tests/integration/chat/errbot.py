"""Errbot with err-stackstorm, both as they are on PyPI, with the text back end, as a process to
talk with.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import venv
from pathlib import Path

from tests.integration.chat.talking import Bot

VERSIONS = ("errbot==6.2.1", "err-stackstorm==2.3.2")
_INSTALL_SECONDS = 280
_CONFIG = """\
import logging

BACKEND = "Text"
TEXT_DEMO_MODE = True
BOT_DATA_DIR = {data!r}
BOT_LOG_FILE = None
BOT_LOG_LEVEL = logging.WARNING
BOT_EXTRA_PLUGIN_DIR = {plugins!r}
BOT_ADMINS = ("@{user}",)
BOT_PREFIX = "!"
CORE_PLUGINS = ("ACLs", "Help", "Utils")
STACKSTORM = {{
    "api_url": "{url}/v1",
    "auth_url": "{url}/auth/v1",
    "stream_url": "{url}/v1",
    "api_auth": {{"apikey": open({key!r}).read().strip()}},
    "plugin_prefix": "st2",
}}
"""


class Unavailable(Exception):
    """Errbot cannot be installed here."""


def install() -> Path:
    """The Python of Errbot's environment, made at first under the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubestorm"
    cache.mkdir(parents=True, exist_ok=True)
    folder = (
        cache
        / f"{'-'.join(VERSIONS)}-py{sys.version_info.major}.{sys.version_info.minor}".replace(
            "==", "-"
        )
    )
    python, ready = folder / "bin" / "python", folder / "ready"
    with (cache / "errbot.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            venv.create(folder, with_pip=True, clear=True)
            # Errbot 6.2 imports pkg_resources, which setuptools 82 no longer has.
            command = [str(python), "-m", "pip", "install", "--quiet", *VERSIONS, "setuptools<81"]
            try:
                subprocess.run(
                    command, check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS
                )
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                raise Unavailable(
                    f"PyPI gives no errbot: {str(error.stderr or error)[-200:]}"
                ) from error
            ready.touch()
    return python


class Errbot(Bot):
    """One Errbot whose user types lines."""

    def __init__(self, python: Path, folder: Path, user: str, url: str, key: Path) -> None:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (plugins,) = (python.parent.parent / "lib").glob("python*/site-packages/err-stackstorm")
        config = _CONFIG.format(
            data=str(folder / "data"), plugins=str(plugins), user=user, url=url, key=str(key)
        )
        (folder / "config.py").write_text(config)
        program = python.parent / "errbot"
        super().__init__(
            [str(program), "-c", str(folder / "config.py")], folder, {"PYTHONUNBUFFERED": "1"}
        )
