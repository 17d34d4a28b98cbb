"""Load, before the first run, the libraries that a pack's actions will ask for.

The first import of a client library costs up to seconds, and whoever meets a fresh worker would
wait for it. An idle worker reads the pack's files instead (it does not run them), follows their
imports of one another, and imports what comes from elsewhere, also where the import stands inside a
function. Libraries stay loaded between runs anyway (see isolation), so a run finds nothing that an
earlier run could not have left.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import os
from typing import Dict, Iterator, List, Sequence, Tuple

from .isolation import is_installed


def preload(files: Sequence[str], folders: Sequence[str]) -> None:
    """Import the installed libraries that these files, and the pack's modules they use, name.

    `folders`: where the pack's own modules are looked for. What cannot be read or imported is left
    to the run that needs it: there the error belongs to somebody.
    """
    for name in libraries(files, folders):
        with contextlib.suppress(Exception, SystemExit):
            spec = importlib.util.find_spec(name.partition(".")[0])
            if spec is not None and is_installed(spec.origin or ""):
                importlib.import_module(name)


def libraries(files: Sequence[str], folders: Sequence[str]) -> List[str]:
    """Return the modules these files name, directly or through the pack's own modules, that are not
    the pack's.
    """
    found: Dict[str, None] = {}
    seen = set()
    waiting = list(reversed(files))
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for level, name, members in _imports(file):
            bases = [_parent(file, level)] if level else [*folders, os.path.dirname(file)]  # noqa: PTH120
            own = [path for base in bases for path in _files(base, name, members)]
            waiting += own
            if not own and not level:
                found[name] = None
    return list(found)


def _imports(file: str) -> Iterator[Tuple[int, str, List[str]]]:
    """Yield (dots in front, module, names taken from it) of every import but those for type
    checkers alone.
    """
    try:
        with open(file, "rb") as source:  # noqa: PTH123 - pathlib would be one more module to load
            todo: List[ast.AST] = [ast.parse(source.read())]
    except (OSError, SyntaxError, ValueError):
        return
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name, []
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", [alias.name for alias in node.names]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            todo += reversed(node.orelse)
        else:
            todo += reversed(
                [
                    child
                    for child in ast.iter_child_nodes(node)
                    if isinstance(child, _HOLD_STATEMENTS)
                ]
            )


_HOLD_STATEMENTS = (ast.stmt, ast.excepthandler)


def _parent(file: str, level: int) -> str:
    for _ in range(level):
        file = os.path.dirname(file)  # noqa: PTH120
    return file


def _files(base: str, name: str, members: Sequence[str]) -> List[str]:
    """Return the files below `base` that importing `name`, and `members` from it, would run."""
    paths, place = [], base
    if not name:
        paths.append(os.path.join(base, "__init__.py"))  # noqa: PTH118
    for part in filter(None, name.split(".")):
        place = os.path.join(place, part)  # noqa: PTH118
        paths += [place + ".py", os.path.join(place, "__init__.py")]  # noqa: PTH118
    paths += [os.path.join(place, member) + ".py" for member in members if member != "*"]  # noqa: PTH118
    return [path for path in paths if os.path.isfile(path)]  # noqa: PTH113
