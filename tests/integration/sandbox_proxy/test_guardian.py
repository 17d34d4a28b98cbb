"""What we started does not outlive us, however we end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from sandbox.environment import ROOT
from tests.kube_fixtures import eventually

PARENT = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from sandbox.engine_process import EngineProcess

    folder = Path(sys.argv[1])
    (folder / "configs").mkdir()
    engine = EngineProcess(folder, packs=[Path(sys.argv[2])], configs=folder / "configs").start()
    print(engine._process.pid, flush=True)
    time.sleep(600)
    """
)


def is_alive(process: int) -> bool:
    """Whether a process runs: one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in (
            "Z",
            "X",
        )
    except OSError:
        return False


def test_a_killed_test_run_leaves_no_engine(tmp_path):
    """SIGKILL gives nobody a chance to clean up; the guardian does."""
    pack = ROOT / "tests" / "packs" / "engine_demo"
    command = [sys.executable, "-c", PARENT, str(tmp_path), str(pack)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        engine = int(parent.stdout.readline())
        assert is_alive(engine)
        os.kill(parent.pid, signal.SIGKILL)
    eventually(lambda: not is_alive(engine), "the engine has ended")
