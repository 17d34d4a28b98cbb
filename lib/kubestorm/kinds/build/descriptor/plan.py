"""The Dockerfile, ImageBuild and Applications (one for each service) of a descriptor. Pure.

Values of the descriptor are written to the Dockerfile as JSON strings only, so that no step, path
or fact can become an instruction.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List

from kubestorm.core.naming import GROUP, VERSION
from kubestorm.kinds.build.descriptor.settings import DescriptorSettings, TypeSettings
from kubestorm.kinds.build.descriptor.spec import Descriptor, Service, Step
from kubestorm.kinds.build.tags import followed

DESCRIPTOR_ANNOTATION = "kubestorm.io/descriptor"
VERSION_ANNOTATION = "kubestorm.io/application-version"
SOURCE_FOLDER = "/source"
ARTIFACTS_FOLDER = "/artifacts/"
PACKAGE = ".deb"

Manifest = Dict[str, Any]


def dockerfile(descriptor: Descriptor, settings: DescriptorSettings) -> str:
    """Two stages: the build steps in the type's build image, then its base image with the
    artifacts.

    Packages among the artifacts (`*.deb`) are installed; without artifacts the whole source is
    copied into the image.
    """
    kind = settings.types[descriptor.type]
    lines = [
        f"FROM {kind.build_image or kind.base_image} AS build",
        f"WORKDIR {SOURCE_FOLDER}",
        "COPY . .",
    ]
    lines += [f"ENV {name}={_env(value)}" for name, value in sorted(descriptor.buildfacts.items())]
    lines += [f"RUN {json.dumps(_command(step, settings))}" for step in descriptor.steps]
    lines.append(f"FROM {kind.base_image}")
    if not descriptor.artifacts:
        lines.append(f"COPY --from=build {json.dumps([SOURCE_FOLDER + '/.', SOURCE_FOLDER + '/'])}")
    for path in descriptor.artifacts:
        lines.append(
            f"COPY --from=build {json.dumps([f'{SOURCE_FOLDER}/{path}', ARTIFACTS_FOLDER])}"
        )
    if any(path.endswith(PACKAGE) for path in descriptor.artifacts):
        install = f"dpkg --install {ARTIFACTS_FOLDER}*{PACKAGE} && rm {ARTIFACTS_FOLDER}*{PACKAGE}"
        lines.append(f"RUN {json.dumps([*settings.shell, install])}")
    return "\n".join(lines) + "\n"


def image_build(
    descriptor: Descriptor,
    settings: DescriptorSettings,
    *,
    url: str,
    branch: str,
    credentials_path: str,
    file: str,
) -> Manifest:
    """The ImageBuild of the descriptor's image, which follows the descriptor's branch."""
    source: Dict[str, Any] = {"url": url}
    if branch:
        source["branch"] = branch
    if credentials_path:
        source["credentials"] = {"vaultPath": credentials_path}
    image = {
        "name": descriptor.name,
        "repository": repository(descriptor),
        "dockerfileText": dockerfile(descriptor, settings),
    }
    return _object(
        "ImageBuild", descriptor, descriptor.name, file, {"source": source, "images": [image]}
    )


def applications(
    descriptor: Descriptor, settings: DescriptorSettings, *, branch: str, file: str
) -> List[Manifest]:
    """One Application for each service, which follows the images built from the branch."""
    return [
        _object(
            "Application",
            descriptor,
            service.name,
            file,
            _application(descriptor, service, settings, branch),
        )
        for service in descriptor.services
    ]


def repository(descriptor: Descriptor) -> str:
    """The image's repository, in the default registry, below the namespace's name."""
    return f"{descriptor.namespace}/{descriptor.name}"


def _application(
    descriptor: Descriptor, service: Service, settings: DescriptorSettings, branch: str
) -> Dict[str, Any]:
    kind: TypeSettings = settings.types[descriptor.type]
    spec: Dict[str, Any] = {
        "image": {"repository": repository(descriptor)},
        "port": kind.port,
        "health": dict(kind.health),
        "resources": dict(kind.resources),
        "replicas": {"min": service.min_instances, "max": service.max_instances},
    }
    if branch:
        spec["follow"] = {"branch": followed(branch)}
    if kind.command:
        spec["command"] = [part.replace("{name}", service.name) for part in kind.command]
    if service.host:
        spec["expose"] = {
            "type": "ingress",
            "hosts": [service.host],
            "path": service.path,
            "tls": service.tls,
        }
    return spec


def _object(
    kind: str, descriptor: Descriptor, name: str, file: str, spec: Dict[str, Any]
) -> Manifest:
    annotations = {DESCRIPTOR_ANNOTATION: file}
    if descriptor.version:
        annotations[VERSION_ANNOTATION] = descriptor.version
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": kind,
        "metadata": {"name": name, "namespace": descriptor.namespace, "annotations": annotations},
        "spec": spec,
    }


def _command(step: Step, settings: DescriptorSettings) -> List[str]:
    return [*settings.shell, step] if isinstance(step, str) else list(step)


def _env(value: str) -> str:
    """A value in double quotes, on one line, with `$` escaped."""
    flat = " ".join(value.splitlines())
    escaped = flat.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
