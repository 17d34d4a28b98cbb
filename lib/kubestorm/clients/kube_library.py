"""The official Kubernetes client without its 700 models.

`import kubernetes` executes a module for every kind of every API group: half a second and 55 MB in
each process that talks to a cluster, for classes that `kube.KubeClient` never uses (it reads and
writes plain objects). Here the packages whose `__init__` does that are put in place unexecuted;
what is used of them is imported from its own module. They stay real: whoever asks them for anything
else, in this process or by another library, has them executed then.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any, NamedTuple, Tuple

_LAZY: Tuple[str, ...] = ("kubernetes", "kubernetes.client", "kubernetes.client.models")
_loading = threading.Lock()


class Library(NamedTuple):
    """The parts of it that we use."""

    Configuration: Any
    ApiClient: Any
    config: Any


def load() -> Library:
    """Import what is used of the client. Safe to repeat and from any thread. ImportError where it
    is not installed.
    """
    with _loading:
        for name in _LAZY:
            if name not in sys.modules:
                _put_in_place(name)
        client = sys.modules["kubernetes.client"]
        for name, module in (("Configuration", "configuration"), ("ApiClient", "api_client")):
            if name not in vars(client):
                setattr(
                    client,
                    name,
                    getattr(importlib.import_module(f"kubernetes.client.{module}"), name),
                )
        config = importlib.import_module("kubernetes.config")
        return Library(vars(client)["Configuration"], vars(client)["ApiClient"], config)


def _put_in_place(name: str) -> None:
    """Make a package known without executing it; it executes itself when it is asked for what it
    does not have.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ImportError(f"The package {name} is not installed.", name=name)
    module = importlib.util.module_from_spec(spec)
    executing = threading.RLock()

    def missing(attribute: str) -> Any:
        if attribute == "__version__":
            return importlib.metadata.version(
                "kubernetes"
            )  # its own modules ask while they are imported
        if attribute.startswith("__") and attribute != "__all__":
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        if importlib.util.find_spec(f"{name}.{attribute}") is not None:
            return importlib.import_module(f"{name}.{attribute}")
        with executing:
            if vars(module).pop("__getattr__", None) is not None:
                spec.loader.exec_module(module)  # type: ignore
        return getattr(module, attribute)

    vars(module)["__getattr__"] = missing
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(_known(parent), child, module)


def _known(name: str) -> ModuleType:
    return sys.modules[name]
