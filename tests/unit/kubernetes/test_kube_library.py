"""The official client without its models: light while nobody asks for more, whole as soon as
somebody does.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIB = Path(__file__).parents[3] / "lib"
_COUNT = "len([name for name in sys.modules if name.startswith('kubernetes.client.models.')])"


def _python(code: str) -> str:
    """What a fresh process prints that has loaded the client our way."""
    begin = (
        f"import sys; sys.path.insert(0, {str(LIB)!r})\n"
        "from kubestorm.clients import kube_library\n"
    )
    library = "library = kube_library.load()\n"
    done = subprocess.run(
        [sys.executable, "-c", begin + library + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_model_is_loaded() -> None:
    """Configuration, ApiClient and config are the client's own, and none of its models is executed
    for them.
    """
    printed = _python(
        f"print({_COUNT}, library.ApiClient.__module__, library.config.__name__, "
        "kube_library.load() == library)"
    )
    assert printed == "0 kubernetes.client.api_client kubernetes.config True"


@pytest.mark.parametrize(
    "code",
    [
        "from kubernetes.client import CoreV1Api; print(CoreV1Api.__name__)",
        (
            "from kubernetes.client.models import V1Pod; print('CoreV1Api' if V1Pod().to_dict() "
            "else '')"
        ),
        "from kubernetes.client import *; print(CoreV1Api.__name__)",
        (
            "from kubernetes import dynamic, watch; from kubernetes import client; "
            "print(client.CoreV1Api.__name__)"
        ),
        (
            "import kubernetes.dynamic; from kubernetes import client; "
            "print(client.CoreV1Api.__name__)"
        ),
        "import kubernetes; print('CoreV1Api' if kubernetes.__version__ else '')",
    ],
    ids=["name", "model", "star", "submodules", "submodule-alone", "version"],
)
def test_whoever_asks_for_more_gets_it(code: str) -> None:
    """Another library in the same process finds the whole client, with the same classes."""
    same = "\nfrom kubernetes import client as c; assert c.ApiClient is library.ApiClient"
    assert _python(code + same) == "CoreV1Api"


def test_a_client_that_is_there_already_is_taken() -> None:
    """Where somebody imported the client before, nothing is put in its place."""
    code = f"import sys; sys.path.insert(0, {str(LIB)!r}); import kubernetes.client as before\n"
    code += (
        "from kubestorm.clients import kube_library; print(kube_library.load().ApiClient is "
        "before.ApiClient)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
