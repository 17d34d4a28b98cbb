"""From a CustomResourceDefinition of anybody's to a StackStorm rule and a description of what the
rule receives.

`python -m kubestorm.entrypoints.scaffold CRD` writes both; the action `kubestorm.scaffold_rule`
returns them.
No Python is needed to react to a kind of one's own: the rule names the kind, the sensor watches it,
and the payload's fields are those that the CRD's OpenAPI schema describes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from kubestorm.clients.kube import KubeClient, KubeSettings, Resource, connect
from kubestorm.core.errors import DefinitionError, Error

CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")
NO_ACTION = "core.noop"
MAX_DEPTH = 12
MAX_EXAMPLES = 4
_IDENTITY = ("cluster", "group", "version", "plural", "namespace", "name", "uid")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ACTION = re.compile(r"\w+\.[\w.-]+")


class Scaffold(NamedTuple):
    """The two texts; `rule_name` is the rule's name and, with .yaml and .md, the files' names."""

    rule_name: str
    rule: str
    description: str


class Field(NamedTuple):
    """One field of the schema by its path below the object (`spec.dnsNames[]`)."""

    path: str
    type: str
    required: bool
    description: str
    values: Sequence[Any] = ()


class Kind(NamedTuple):
    """What the rule and the description need of a CRD."""

    kind: str
    plural: str
    singular: str
    group: str
    version: str
    namespaced: bool
    schema: Mapping[str, Any]


def scaffold(
    crd: Any, *, version: str = "", pack: str = "default", action: str = NO_ACTION
) -> Scaffold:
    """Write a rule and a description for a CRD; DefinitionError says what is wrong with it. Safe to
    repeat.
    """
    if not _PLAIN.fullmatch(pack):
        raise DefinitionError(
            f"{pack!r} is not a pack name: use letters, digits and underscores", field="pack"
        )
    if not _ACTION.fullmatch(action):
        raise DefinitionError(f"{action!r} is not an action: write PACK.NAME", field="action")
    kind = read_kind(crd, version)
    fields = list(fields_of(kind.schema))
    name = f"{re.sub(r'[^a-z0-9_]', '_', kind.singular.lower())}_event"
    return Scaffold(name, _rule(kind, fields, name, pack, action), _description(kind, fields, name))


def read_kind(crd: Any, version: str = "") -> Kind:
    """Find the version (by default the stored one, if served) and its schema in a CRD, of v1 or of
    v1beta1.
    """
    if not isinstance(crd, dict) or crd.get("kind") != "CustomResourceDefinition":
        raise DefinitionError("not a CustomResourceDefinition: check its `kind`", field="kind")
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    for path, value in (
        ("spec.group", spec.get("group")),
        ("spec.names.plural", names.get("plural")),
    ):
        if not value:
            raise DefinitionError(f"the CustomResourceDefinition has no {path}", field=path)
    versions = [
        one
        for one in spec.get("versions") or []
        if isinstance(one, dict) and one.get("served", True)
    ]
    if not versions and spec.get("version"):
        versions = [{"name": spec["version"], "storage": True}]
    chosen = _choose(versions, version, names["plural"])
    schema = (chosen.get("schema") or spec.get("validation") or {}).get("openAPIV3Schema") or {}
    kind = names.get("kind") or names["plural"].capitalize()
    return Kind(
        kind=kind,
        plural=names["plural"],
        singular=names.get("singular") or kind.lower(),
        group=spec["group"],
        version=chosen["name"],
        namespaced=spec.get("scope", "Namespaced") == "Namespaced",
        schema=schema,
    )


def fields_of(schema: Mapping[str, Any]) -> Iterator[Field]:
    """Every field that a schema describes, outermost first, in the schema's order; metadata is
    Kubernetes' own.
    """
    for name, inner in (schema.get("properties") or {}).items():
        if name not in ("apiVersion", "kind", "metadata"):
            yield from _fields(_joined("", name), inner, name in (schema.get("required") or []), 1)


def _fields(path: str, schema: Any, required: bool, depth: int) -> Iterator[Field]:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return
    description = " ".join(str(schema.get("description") or "").split())
    yield Field(path, _type_of(schema), required, description, tuple(schema.get("enum") or ()))
    items = schema.get("items")
    if isinstance(items, dict) and items.get("properties"):
        path, schema = f"{path}[]", items
    for name, inner in (schema.get("properties") or {}).items():
        yield from _fields(
            _joined(path, name), inner, name in (schema.get("required") or []), depth + 1
        )


def _joined(path: str, name: str) -> str:
    step = name if _PLAIN.fullmatch(name) else f"['{' '.join(name.split())}']"
    return step if not path else f"{path}{'' if step.startswith('[') else '.'}{step}"


def _choose(versions: Sequence[Mapping[str, Any]], wanted: str, plural: str) -> Mapping[str, Any]:
    for one in versions:
        if (wanted and one.get("name") == wanted) or (not wanted and one.get("storage")):
            return one
    if versions and not wanted:
        return versions[0]
    served = ", ".join(str(one.get("name")) for one in versions) or "none"
    raise DefinitionError(
        f"{plural} has no version {wanted or 'at all'}; served are: {served}", field="version"
    )


def _type_of(schema: Mapping[str, Any]) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    kind = schema.get("type") or "any"
    if kind == "array":
        return f"array of {_type_of(schema.get('items') or {})}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map of {_type_of(schema['additionalProperties'])}"
    notes: List[str] = []
    if schema.get("enum"):
        notes.append(
            "one of " + ", ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
        )
    if schema.get("format"):
        notes.append(str(schema["format"]))
    if "default" in schema:
        notes.append("default " + json.dumps(schema["default"], ensure_ascii=False))
    return f"{kind} ({'; '.join(notes)})" if notes else str(kind)


def _examples(fields: Sequence[Field]) -> List[str]:
    """Criteria one might add, as comments: the required plain fields first, then those with few
    values.
    """
    plain = [
        one
        for one in fields
        if one.path.startswith("spec.")
        and "[" not in one.path
        and one.type.split(" ")[0] in ("string", "boolean")
    ]
    plain.sort(key=lambda one: (not one.required, not one.values))
    lines = ["  # To hear of some objects only, add criteria on what they are:"] if plain else []
    for one in plain[:MAX_EXAMPLES]:
        value = one.values[0] if one.values else (True if one.type.startswith("boolean") else "...")
        lines += [
            f"  # trigger.object.{one.path}:",
            "  #   type: equals",
            f"  #   pattern: {json.dumps(value)}",
        ]
    return lines


def _rule(kind: Kind, fields: Sequence[Field], name: str, pack: str, action: str) -> str:
    identity = [f'    {word}: "{{{{ trigger.{word} }}}}"' for word in _IDENTITY]
    lines = [
        "---",
        f"name: {name}",
        f"pack: {pack}",
        (
            "description: "
            f"{json.dumps(f'Something happened to a {kind.kind} ({kind.plural}.{kind.group}).')}"
        ),
        "enabled: true",
        "trigger:",
        "  type: kubestorm.resource_event",
        "  parameters:",
        f"    group: {json.dumps(kind.group)}",
        f"    version: {json.dumps(kind.version)}",
        f"    plural: {json.dumps(kind.plural)}",
        *(["    # namespace: only-this-one"] if kind.namespaced else []),
        "    # label_selector: team=shop",
        "    # resync: true  # also come back to objects that are not Ready, and hourly to all",
        "criteria:",
        *_examples(fields),
        "  trigger.change:",
        "    type: in",
        "    pattern: [created, updated, deleting, deleted]",
        "action:",
        f"  ref: {action}",
    ]
    if action == NO_ACTION:
        lines += [
            "  # An action of your own gets the identity, and reads the object as it is then:",
            "  # parameters:",
        ]
        lines += [f"  # {line[2:]}" for line in identity]
    else:
        lines += [
            "  # Identity only: the action reads the object as it is then.",
            "  parameters:",
            *identity,
        ]
    return "\n".join(lines) + "\n"


_PAYLOAD = (
    ("change", "string", "created, updated, deleting, deleted or resync"),
    ("cluster", "string", "name of the cluster, from the pack's configuration"),
    ("group, version, plural, kind", "string", "what kind of object"),
    (
        "namespace, name, uid",
        "string",
        "which object; namespace is empty for a cluster-scoped kind",
    ),
    ("generation", "integer", "count of changes to the desired state"),
    ("labels, annotations", "map of string", "the object's own"),
    (
        "changed_fields",
        "array of string",
        "with updated: the paths that differ, for example `spec.size`",
    ),
    ("object", "object", "the object as it was then, without managedFields; its fields are below"),
)


def _description(kind: Kind, fields: Sequence[Field], name: str) -> str:
    lines = [
        f"# What a rule on {kind.kind} receives",
        "",
        f"Trigger `kubestorm.resource_event` with group `{kind.group}`, version `{kind.version}`, "
        "plural "
        f"`{kind.plural}`; the rule is `{name}`.",
        "Criteria and action parameters name a field as `trigger.FIELD`.",
        "",
        "| field | type | meaning |",
        "|---|---|---|",
        *(f"| `{path}` | {text} | {meaning} |" for path, text, meaning in _PAYLOAD),
        "",
        (
            "A change of `status` alone dispatches nothing. "
            "Of an object that was deleted while nobody "
            "watched, `object` holds"
        ),
        "the identity and the labels.",
        "",
    ]
    for title, prefix in (("What is asked", ""), ("What is reported", "status")):
        rows = [one for one in fields if (one.path.split(".")[0] == "status") == bool(prefix)]
        if rows:
            lines += [
                f"## {title}",
                "",
                "| field | type | required | meaning |",
                "|---|---|---|---|",
            ]
            lines += [_row(one) for one in rows] + [""]
    if not fields:
        lines += ["The definition describes no fields: `trigger.object` may hold anything.", ""]
    return "\n".join(lines)


def _row(field: Field) -> str:
    cells = (
        f"`object.{field.path}`",
        field.type,
        "yes" if field.required else "",
        field.description,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def load_crd(path: Path) -> Any:
    """The one CustomResourceDefinition in a YAML or JSON file; DefinitionError when there is not
    exactly one.
    """
    # PyYAML comes with the kubernetes client.
    import yaml

    try:
        documents = [
            one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one is not None
        ]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DefinitionError(f"cannot read {path}: {error}") from error
    found = [
        one
        for one in documents
        if isinstance(one, dict) and one.get("kind") == "CustomResourceDefinition"
    ]
    if len(found) != 1:
        raise DefinitionError(
            f"{path} holds {len(found)} CustomResourceDefinitions; give a file with one"
        )
    return found[0]


def fetch_crd(client: KubeClient, name: str) -> Dict[str, Any]:
    """A CRD of the cluster by its name (`certificates.cert-manager.io`)."""
    return client.get(CRDS, name)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Write the two files and say where; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="kubestorm-scaffold",
        description="Write a rule and a payload description from a CustomResourceDefinition.",
    )
    parser.add_argument(
        "crd", help="a YAML or JSON file, or the CRD's name in the cluster (plural.group)"
    )
    parser.add_argument(
        "--version", default="", help="version of the kind (default: the one that is stored)"
    )
    parser.add_argument(
        "--pack", default="default", help="pack that the rule belongs to (default: %(default)s)"
    )
    parser.add_argument(
        "--action", default=NO_ACTION, help="what the rule runs (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="where to write (default: here)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    parser.add_argument("--kubeconfig", default="", help="kubeconfig for a CRD in the cluster")
    parser.add_argument("--context", default="", help="context within it")
    asked = parser.parse_args(arguments)
    try:
        path = Path(asked.crd)
        if path.is_file():
            crd = load_crd(path)
        elif "/" in asked.crd or path.suffix in (".yaml", ".yml", ".json"):
            raise DefinitionError(f"file {asked.crd} does not exist")
        else:
            crd = fetch_crd(
                connect(KubeSettings(kubeconfig=asked.kubeconfig, context=asked.context)), asked.crd
            )
        made = scaffold(crd, version=asked.version, pack=asked.pack, action=asked.action)
        for written in write(made, asked.output, force=asked.force):
            print(written)  # noqa: T201 (a program's output)
    except Error as error:
        print(f"kubestorm-scaffold: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def write(made: Scaffold, folder: Path, *, force: bool = False) -> List[Path]:
    """Write NAME.yaml and NAME.md; DefinitionError when one exists and `force` is not given, and
    nothing is written.
    """
    files = {
        folder / f"{made.rule_name}.yaml": made.rule,
        folder / f"{made.rule_name}.md": made.description,
    }
    for path in files:
        if path.exists() and not force:
            raise DefinitionError(f"{path} exists; add --force to overwrite it")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return list(files)


if __name__ == "__main__":
    sys.exit(main())
