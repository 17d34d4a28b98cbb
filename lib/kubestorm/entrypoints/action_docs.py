"""docs/actions.md out of the pack's actions: `python -m kubestorm.entrypoints.action_docs`.

Every action that people run is in it. Steps of the pack's own rules and workflows have the tag
`internal` and a description that begins with "Internal:".
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

PACK = Path(__file__).resolve().parents[3]
PAGE = PACK / "docs" / "actions.md"
TAG = "internal"
HEAD = """# Actions

Generated from `actions/*.yaml` by `python -m kubestorm.entrypoints.action_docs`.

These are the actions for people and for rules of other packs; chat runs them by the commands in
[chatops.md](chatops.md). The pack's own steps have the tag `internal` and are not listed here.
Parameters in bold are required. An action that fails has a result with `reason` and `message`.
"""
EXAMPLES = {
    "cluster": "prod",
    "group": "example.com",
    "version": "v1",
    "plural": "widgets",
    "namespace": "shop",
    "name": "cart",
    "uid": "0b5c7a1e-6d2f-4c1b-9f0e-3a8d5e7c9b21",
    "owner": "ann",
    "reason": "audit",
    "image": "1.2.1",
    "replicas": "3",
    "number": "3fa9c1d",
    "engine": "postgres",
    "url": "https://git.example.com/shop/cart.git",
    "prefix": "kubestorm/prod/shop/orders/",
    "path": "kubestorm/prod/shop/orders",
    "identifier": "ks-prod-shop-orders",
    "repository": "shop/cart",
    "type": "Tested",
    "crd": "certificates.cert-manager.io",
}
"""Values of required parameters in the examples."""
OF_DATABASES = {"name": "orders"}

Action = Mapping[str, Any]


def load_actions(folder: Path) -> List[Action]:
    """The actions of a pack, by name."""
    import yaml  # comes with the kubernetes client

    found = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in folder.glob("*.yaml")]
    return sorted(found, key=lambda action: str(action["name"]))


def is_internal(action: Action) -> bool:
    """Whether only the pack itself runs an action."""
    return any(tag["name"] == TAG for tag in action.get("tags") or ())


def page(actions: Sequence[Action]) -> str:
    """The whole page. Pure."""
    return HEAD + "".join("".join(_section(one)) for one in actions if not is_internal(one))


def _section(action: Action) -> Iterator[str]:
    name, parameters = str(action["name"]), action.get("parameters") or {}
    rows = [(key, one) for key, one in parameters.items() if not one.get("immutable")]
    yield f"\n## {name}\n\n{_line(action['description'])}\n"
    if rows:
        yield "\n| parameter | type | default | |\n|---|---|---|---|\n"
        yield from (f"| {' | '.join(_row(key, one))} |\n" for key, one in rows)
    yield f"\n```console\n$ {example(action)}\n```\n"


def _row(name: str, parameter: Mapping[str, Any]) -> Sequence[str]:
    is_required = bool(parameter.get("required"))
    kind = " or ".join(f"`{each}`" for each in parameter.get("enum") or ()) or parameter["type"]
    default = parameter.get("default")
    shown = "" if default in (None, "", [], {}) else f"`{str(default).lower()}`"
    if isinstance(default, str) and default:
        shown = f"`{default}`"
    described = _line(str(parameter.get("description", ""))).replace("|", r"\|")
    return (f"**{name}**" if is_required else name, kind, shown, described)


def example(action: Action) -> str:
    """A command that runs an action with its required parameters."""
    own: Dict[str, str] = OF_DATABASES if action["name"].startswith("database_") else {}
    words = [
        f"{name}={own.get(name) or (parameter.get('enum') or [EXAMPLES.get(name, 'VALUE')])[0]}"
        for name, parameter in (action.get("parameters") or {}).items()
        if parameter.get("required")
    ]
    return " ".join(["st2 run", f"kubestorm.{action['name']}", *words])


def _line(text: str) -> str:
    return " ".join(text.split())


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Write the page; with `--check`, return 1 where it is not current."""
    text = page(load_actions(PACK / "actions"))
    if "--check" in (sys.argv[1:] if arguments is None else arguments):
        is_current = PAGE.read_text(encoding="utf-8") == text
        if not is_current:
            print(f"{PAGE} is not current: python -m kubestorm.entrypoints.action_docs")  # noqa: T201
        return 0 if is_current else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
