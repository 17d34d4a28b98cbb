"""What every test may use.

`st2-run-pack-tests` runs the tests inside StackStorm, with what requirements.txt and
requirements-tests.txt name. What needs the engine or the sandbox is left out there.
"""

import importlib.util
import re
from pathlib import Path

from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
NEEDS_MORE = re.compile(
    r"^\s*(?:from|import) (?:stormcell|sandbox|tests\.e2e|tomllib)\b", re.MULTILINE
)

if importlib.util.find_spec("stormcell"):
    pytest_plugins = ["tests.kube_fixtures"]
else:
    collect_ignore = ["e2e", "integration", "packs", "security"]
    for _file in sorted((HERE / "unit").rglob("*.py")):
        if NEEDS_MORE.search(_file.read_text(encoding="utf-8")):
            _path = _file.parent if _file.name == "conftest.py" else _file
            collect_ignore.append(str(_path.relative_to(HERE)))

# Machines that run the tests are shared and noisy: how long an example takes says nothing about the
# code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
