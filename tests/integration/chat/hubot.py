"""Hubot from npm, with its shell adapter and the pack's script, as a process to talk with."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.integration.chat.talking import Bot

VERSION = "11.6.0"
ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "chatops" / "hubot" / "scripts"
_INSTALL_SECONDS = 240


class Unavailable(Exception):
    """Hubot cannot be installed here."""


def install() -> Path:
    """The folder in which Hubot is installed, made at first under the user's cache."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Unavailable("node and npm are not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubestorm"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"hubot-{VERSION}"
    with (cache / "hubot.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            command = [
                npm,
                "install",
                "--prefix",
                str(folder),
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
            ]
            try:
                subprocess.run(
                    [*command, f"hubot@{VERSION}"],
                    check=True,
                    capture_output=True,
                    text=True,
                    timeout=_INSTALL_SECONDS,
                )
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                raise Unavailable(
                    f"npm cannot install hubot: {str(error.stderr or error)[-200:]}"
                ) from error
            (folder / "ready").touch()
    return folder


class Hubot(Bot):
    """One Hubot whose user types lines."""

    def __init__(
        self, installed: Path, folder: Path, user: str, environment: Mapping[str, str]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        program = installed / "node_modules" / "hubot" / "bin" / "Hubot.mjs"
        super().__init__(
            ["node", str(program), "-a", "Shell", "-n", "hubot", "-d", "-r", str(SCRIPTS)],
            folder,
            {
                "HUBOT_HTTPD": "false",
                "HUBOT_SHELL_USER_NAME": user,
                "HUBOT_LOG_LEVEL": "info",
                **environment,
            },
        )
