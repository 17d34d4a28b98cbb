"""Parses a `default.json`, and checks it against its schema and then for what a schema cannot say.
Pure.

{
  "namespace": "shop",
  "application": {"name": "cart", "type": "java", "version": "1.4"},
  "build": {
    // variables of the build's environment
    "system_setup": {"buildfacts": {"java_version": "17"}},
    // each a line for the shell, or program and arguments
    "build_steps": ["./gradlew test"]
  },
  // the last step
  "build_command": "./gradlew debian",
  // what goes into the image; packages are installed
  "artifacts": ["build/distributions/*.deb"],
  "services": [
    {"name": "cart", "external_url": "https://cart.example.com/", "application": "cart",
     "instances": {"min": 2, "max": 6}}
  ]
}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union
from urllib.parse import urlsplit

import jsonschema

from kubestorm.kinds.build.descriptor.reading import DescriptorError, Document, Problem, read

NAME = {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 40}
TYPE_NAMES = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
}
STEP = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
    ]
}
SCHEMA: Dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "default.json",
    "description": "The build descriptor of a team.",
    "type": "object",
    "required": ["namespace", "application"],
    "additionalProperties": False,
    "properties": {
        "namespace": {
            "type": "string",
            "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            "maxLength": 63,
        },
        "application": {
            "type": "object",
            "required": ["name", "type"],
            "additionalProperties": False,
            "properties": {
                "name": NAME,
                "type": {"type": "string", "minLength": 1},
                "version": {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"},
            },
        },
        "build": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "system_setup": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "buildfacts": {
                            "type": "object",
                            "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
                            "additionalProperties": {"type": ["string", "number", "boolean"]},
                        }
                    },
                },
                "build_steps": {"type": "array", "items": STEP},
            },
        },
        "build_command": STEP,
        "artifacts": {"type": "array", "items": {"type": "string", "minLength": 1}},
        "services": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": {
                    "name": NAME,
                    "external_url": {"type": "string", "minLength": 1},
                    "application": NAME,
                    "instances": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "min": {"type": "integer", "minimum": 0},
                            "max": {"type": "integer", "minimum": 1},
                        },
                    },
                },
            },
        },
    },
}

Step = Union[str, Tuple[str, ...]]


@dataclass(frozen=True)
class Service:
    """One Application of the image."""

    name: str
    host: Optional[str] = None
    """Of `external_url`; None: reachable only within the cluster."""
    path: str = "/"
    tls: bool = True
    min_instances: int = 1
    max_instances: int = 1


@dataclass(frozen=True)
class Descriptor:
    namespace: str
    name: str
    type: str
    version: Optional[str] = None
    buildfacts: Mapping[str, str] = field(default_factory=dict)
    steps: Tuple[Step, ...] = ()
    """Each a shell command line, or a program with its arguments."""
    artifacts: Tuple[str, ...] = ()
    """Paths or patterns, relative to the repository's root."""
    services: Tuple[Service, ...] = ()


def parse(text: str, types: Sequence[str], file: str = "default.json") -> Descriptor:
    """Parse and check a descriptor; `types` are the names in `descriptor.types`.

    Raises DescriptorError with all problems, each with its line.
    """
    document = read(text, file)
    problems = _by_schema(document) or _by_meaning(document, types)
    if problems:
        raise DescriptorError(file, problems)
    return _descriptor(document.value)


def _by_schema(document: Document) -> List[Problem]:
    validator = jsonschema.Draft7Validator(SCHEMA)
    return [
        Problem(document.line_of(_place(error)), _dotted(error.absolute_path), _sentence(error))
        for error in validator.iter_errors(document.value)
    ]


def _place(error: Any) -> Sequence[Union[str, int]]:
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        return (*error.absolute_path, _extra(error)[0])
    return tuple(error.absolute_path)


def _extra(error: Any) -> List[str]:
    return [key for key in error.instance if key not in error.schema.get("properties", {})]


def _sentence(error: Any) -> str:
    """A schema error as a sentence with what would be right."""
    if error.validator == "additionalProperties":
        known = ", ".join(error.schema["properties"])
        return f"unknown field {', '.join(map(repr, _extra(error)))}; known fields are {known}"
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    if error.validator == "anyOf":
        return (
            f"must be a shell command line, or a list of program and arguments, not "
            f"{error.instance!r}"
        )
    if error.validator == "pattern":
        return f"must match {error.validator_value}, not {error.instance!r}"
    if error.validator == "type":
        types = error.validator_value
        kinds = [types] if isinstance(types, str) else types
        names = " or ".join(TYPE_NAMES[each] for each in kinds)
        return f"must be {names}, not {error.instance!r}"
    return str(error.message)


def _by_meaning(document: Document, types: Sequence[str]) -> List[Problem]:
    value = document.value
    problems: List[Problem] = []

    def wrong(path: Sequence[Union[str, int]], message: str) -> None:
        problems.append(Problem(document.line_of(path), _dotted(path), message))

    kind = value["application"]["type"]
    if kind not in types:
        offered = ", ".join(sorted(types)) or "none yet"
        wrong(("application", "type"), f"must be one of {offered} (descriptor.types), not {kind!r}")
    for index, pattern in enumerate(value.get("artifacts") or ()):
        if pattern.startswith("/") or ".." in pattern.split("/"):
            wrong(
                ("artifacts", index), f"must be a path below the repository's root, not {pattern!r}"
            )
    services = value.get("services") or ()
    names = [service["name"] for service in services]
    for index, service in enumerate(services):
        where = ("services", index)
        if names.index(service["name"]) < index:
            wrong((*where, "name"), f"{service['name']!r} is used twice")
        if service.get("application", value["application"]["name"]) != value["application"]["name"]:
            message = (
                f"must be {value['application']['name']!r}, the application of this file, not "
                f"{service['application']!r}"
            )
            wrong((*where, "application"), message)
        instances = service.get("instances") or {}
        least, most = instances.get("min", 1), instances.get("max")
        if most is not None and most < least:
            wrong((*where, "instances", "max"), f"must not be below min ({least}), is {most}")
        if "external_url" in service and _url(service["external_url"]) is None:
            message = (
                f"must be a URL such as https://cart.example.com/, not {service['external_url']!r}"
            )
            wrong((*where, "external_url"), message)
    return problems


def _url(text: str) -> Optional[Tuple[str, str, bool]]:
    """Host, path and whether it is TLS; a bare host counts as https."""
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        port = parts.port
    except ValueError:
        return None
    fits = (
        parts.scheme in ("http", "https")
        and parts.hostname
        and not parts.username
        and not parts.query
    )
    if not fits or port not in (None, 80, 443):
        return None
    return str(parts.hostname), parts.path or "/", parts.scheme == "https"


def _descriptor(value: Mapping[str, Any]) -> Descriptor:
    application = value["application"]
    build = value.get("build") or {}
    steps = list(build.get("build_steps") or ())
    if value.get("build_command"):
        steps.append(value["build_command"])
    facts = (build.get("system_setup") or {}).get("buildfacts") or {}
    return Descriptor(
        namespace=value["namespace"],
        name=application["name"],
        type=application["type"],
        version=application.get("version"),
        buildfacts={name: _text(fact) for name, fact in facts.items()},
        steps=tuple(step if isinstance(step, str) else tuple(step) for step in steps),
        artifacts=tuple(value.get("artifacts") or ()),
        services=tuple(_service(service) for service in value.get("services") or ()),
    )


def _text(fact: Any) -> str:
    return str(fact).lower() if isinstance(fact, bool) else str(fact)


def _service(value: Mapping[str, Any]) -> Service:
    instances = value.get("instances") or {}
    least = instances.get("min", 1)
    host, path, tls = (
        _url(value["external_url"]) or (None, "/", True)
        if "external_url" in value
        else (None, "/", True)
    )
    return Service(value["name"], host, path, tls, least, instances.get("max", max(least, 1)))


def _dotted(path: Sequence[Union[str, int]]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
