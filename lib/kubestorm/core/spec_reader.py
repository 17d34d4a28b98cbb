"""Reading a resource's `spec` kind by kind of value, collecting everything that is wrong on the
way. Pure.
"""

from __future__ import annotations

from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from kubestorm.core.errors import DefinitionError
from kubestorm.core.untrusted import shown


class Problem(NamedTuple):
    """One thing that is wrong: the field's path and a sentence with what would be right."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class InvalidSpecError(DefinitionError):
    """The resource asks for what cannot be. `problems` holds all that was found; `str` names them
    all.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems), field=problems[0].field)
        self.problems = tuple(problems)


class SpecReader:
    """Values of one `spec` by dotted path. What is wrong goes into `problems`, and the default is
    returned.
    """

    def __init__(self, spec: Any) -> None:
        self._spec: Mapping[str, Any] = spec if isinstance(spec, Mapping) else {}
        self.problems: List[Problem] = []

    def has_problem_at(self, path: str) -> bool:
        """Whether anything at or below a path was wrong."""
        return any(problem.field.startswith(f"spec.{path}") for problem in self.problems)

    def get(self, path: str) -> Any:
        value: Any = self._spec
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def wrong(self, path: str, message: str) -> None:
        self.problems.append(Problem(f"spec.{path}", message))

    def integer(self, path: str, default: Optional[int], low: int, high: int) -> Optional[int]:
        value = self.get(path)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(path, f"must be an integer, not {shown(value)}")
            return default
        if not low <= value <= high:
            self.wrong(path, f"{value} is not between {low} and {high}")
        return int(value)

    def whole(self, path: str, default: int, low: int, high: int) -> int:
        value = self.integer(path, default, low, high)
        return default if value is None else value

    def boolean(self, path: str, default: bool) -> bool:
        value = self.get(path)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.wrong(path, f"must be true or false, not {shown(value)}")
        return default

    def text(self, path: str, default: Optional[str] = None) -> Optional[str]:
        value = self.get(path)
        if value is None or value == "":
            return default
        if not isinstance(value, str):
            self.wrong(path, f"must be a string, not {shown(value)}; put it in quotes")
            return default
        return value

    def mapping(self, path: str) -> Mapping[str, Any]:
        value = self.get(path)
        if value is None or isinstance(value, Mapping):
            return value or {}
        self.wrong(path, f"must be an object, not {shown(value)}")
        return {}

    def items(self, path: str) -> Sequence[Any]:
        value = self.get(path)
        if value is None or isinstance(value, list):
            return value or ()
        self.wrong(path, f"must be a list, not {shown(value)}")
        return ()

    def objects(self, path: str) -> Sequence[Tuple[str, Mapping[str, Any]]]:
        found = []
        for index, item in enumerate(self.items(path)):
            if isinstance(item, Mapping):
                found.append((f"{path}[{index}]", item))
            else:
                self.wrong(f"{path}[{index}]", f"must be an object, not {shown(item)}")
        return found

    def texts(self, path: str) -> Tuple[str, ...]:
        items = self.items(path)
        if all(isinstance(item, str) for item in items):
            return tuple(items)
        self.wrong(path, "must be a list of strings; put numbers in quotes")
        return ()

    def choice(self, path: str, allowed: Sequence[str], default: str) -> str:
        value = self.get(path)
        if value is None:
            return default
        if value not in allowed:
            self.wrong(path, f"{shown(value)} is not known; there are {', '.join(allowed)}")
            return default
        return str(value)
