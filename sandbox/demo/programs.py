"""The programs that the demo's third act needs: installed where that can be done, and otherwise
named.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from sandbox.demo.screen import Screen

PACKAGES = {"git": "git", "buildah": "buildah", "docker-registry": "docker-registry"}
"""Program -> Debian's package."""
POLICY = Path("/usr/sbin/policy-rc.d")
INSTALL_TIMEOUT_SECONDS = 600


def missing() -> list[str]:
    """The Debian packages whose programs are not installed."""
    return [package for program, package in PACKAGES.items() if shutil.which(program) is None]


def install(screen: Screen) -> None:
    """Install what is missing, as root on Debian; elsewhere, and where apt cannot, nothing happens.
    Safe to repeat.
    """
    packages = missing()
    if not packages or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with screen.spinner(f"apt-get install {' '.join(packages)}"), _no_services():
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    ["apt-get", "-qq", *command],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=INSTALL_TIMEOUT_SECONDS,
                    check=False,
                )
    installed = [package for package in packages if package not in missing()]
    if installed:
        screen.say(f"installed {', '.join(installed)} (apt-get)")


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Debian's packages start what they bring; a registry on its usual port is not what the demo is
    for.
    """
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
