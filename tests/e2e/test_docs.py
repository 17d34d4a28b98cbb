"""Every command that the docs show as `sh` runs, in the order of the page, against a live world."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.environment import AWS_ENVIRONMENT, ROOT

BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(page for page in (ROOT / "docs").glob("*.md") if BLOCK.search(page.read_text()))


@pytest.mark.skipif(
    not shutil.which("kubectl"), reason="kubectl is not installed (Debian: kubernetes-client)"
)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_the_page_runs(own_world, page):
    """Each block exits with 0 and says something on the way that is no error."""
    world = own_world
    environment = {
        **os.environ,
        **AWS_ENVIRONMENT,
        "KUBECONFIG": str(world.environment.kubeconfig),
        "STORMCELL_DATA": str(world.engine.data),
        "VAULT_ADDR": world.environment.vault.url,
        "VAULT_TOKEN": world.environment.vault_token,
        "CONSUL_HTTP_ADDR": world.environment.consul.url,
        "CONSUL_HTTP_TOKEN": world.environment.consul_token,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for block in BLOCK.findall(page.read_text()):
        # People read on while a run that is under way ends.
        world.wait_until(lambda: not world.unfinished(), "nothing is under way")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}\n{world.state()}"
