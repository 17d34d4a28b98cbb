"""The manifests of the Jobs that build in the cluster, and of their Secrets. Pure.

No builder is privileged. An init container fetches the commit and unpacks the context alone; the
builder does not see the git credentials. A builder writes the image's digest as its termination
message, so that it is read from the pod's status. Sources:
examples/kubernetes/job.rootless.yaml of moby/buildkit, the man page buildah-build(1), and the
README of GoogleContainerTools/kaniko (archived in 2025).
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from typing import Any, Dict, List, Mapping, Optional, Sequence

from kubestorm.clients.git.address import is_commit
from kubestorm.clients.git.credentials import GitCredentials
from kubestorm.core import naming
from kubestorm.core.naming import Identity
from kubestorm.core.secrets import Secret
from kubestorm.kinds.build.builders import Order, buildah_options
from kubestorm.kinds.build.settings import BUILDAH, BUILDKIT, KANIKO, BuildSettings

Object = Dict[str, Any]
LABEL_UID = naming.IMAGE_BUILD_UID_LABEL
LABEL_NAMESPACE = naming.IMAGE_BUILD_NAMESPACE_LABEL
LABEL_NAME = naming.IMAGE_BUILD_LABEL
LABEL_CLUSTER = "kubestorm.io/cluster"
MANAGED_BY = {
    "app.kubernetes.io/managed-by": "kubestorm",
    "app.kubernetes.io/component": "image-build",
}
MANAGED_BY_SELECTOR = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())
WORKSPACE, GIT_SECRETS, REGISTRY_SECRETS = "/workspace", "/secrets/git", "/secrets/registry"
TERMINATION_LOG = "/dev/termination-log"
USER = 1000
LABEL_LENGTH = 63

# Untrusted values are in environment variables, never part of the script.
FETCH = """set -eu
umask 077
export HOME=/tmp GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
export GIT_TERMINAL_PROMPT=0 GIT_PROTOCOL_FROM_USER=0
if [ -f /secrets/git/ssh-key ]; then
  cp /secrets/git/ssh-key /tmp/ssh-key; cp /secrets/git/known_hosts /tmp/known_hosts
  export GIT_SSH_COMMAND="ssh -F /dev/null -i /tmp/ssh-key -o IdentitiesOnly=yes -o BatchMode=yes \
-o StrictHostKeyChecking=yes -o UserKnownHostsFile=/tmp/known_hosts \
-o GlobalKnownHostsFile=/dev/null"
fi
redirects=initial
if [ -f /secrets/git/password ]; then
  printf '#!/bin/sh\\ncase "$1" in Username*) cat /secrets/git/username ;; \
*) cat /secrets/git/password ;; esac\\n' \
    > /tmp/askpass
  chmod 700 /tmp/askpass
  export GIT_ASKPASS=/tmp/askpass
  redirects=false
fi
run() { git -c core.hooksPath=/dev/null -c credential.helper= -c submodule.recurse=false \
  -c http.followRedirects=$redirects --git-dir=/tmp/repository "$@"; }
git init --quiet --bare --template= /tmp/repository
run fetch --quiet --no-tags --no-recurse-submodules --depth=1 \
    -- "$SOURCE_URL" "+$SOURCE_COMMIT:refs/wanted" \
  || run fetch --quiet --no-tags --no-recurse-submodules -- "$SOURCE_URL" "+$SOURCE_REF:refs/wanted"
run --work-tree=/workspace -c core.bare=false read-tree "$SOURCE_COMMIT:$SOURCE_CONTEXT"
cd /workspace
umask 022
run --work-tree=/workspace -c core.bare=false checkout-index --all --force
if [ -n "${DOCKERFILE_TEXT:-}" ]; then
  printf '%s' "$DOCKERFILE_TEXT" > /workspace/.kubestorm.Dockerfile
fi
"""

BUILDKIT_SCRIPT = """set -eu
buildctl-daemonless.sh "$@" --metadata-file /tmp/metadata.json
sed -n 's/.*"containerimage.digest": *"\\([^"]*\\)".*/\\1/p' /tmp/metadata.json | \
  head -n 1 > /dev/termination-log
"""


def job_name(identity: Identity, image: str, number: int, attempt: int) -> str:
    """One name for each attempt of an image of a build, so that a repeated step finds the Job it
    created.
    """
    digest = hashlib.sha256(f"{identity.uid}/{image}/{number}/{attempt}".encode()).hexdigest()[:10]
    readable = re.sub(r"[^a-z0-9-]", "-", f"{identity.namespace}-{identity.name}-{image}".lower())[
        :40
    ].strip("-")
    return f"ib-{readable}-{number % 100000}-{digest}"[:LABEL_LENGTH].strip("-")


def labels_of(identity: Identity) -> Dict[str, str]:
    """The labels by which the objects of one ImageBuild, and of one namespace, are listed."""
    return {
        **MANAGED_BY,
        LABEL_UID: identity.uid,
        LABEL_NAMESPACE: identity.namespace,
        LABEL_NAME: label_value(identity.name),
        LABEL_CLUSTER: identity.cluster,
    }


def label_value(text: str) -> str:
    """A name as a label's value, which has at most 63 characters."""
    if len(text) <= LABEL_LENGTH:
        return text
    return f"{text[:52]}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def secret(
    order: Order, name: str, namespace: str, git: GitCredentials, registry: Secret
) -> Object:
    """The Secret of one Job. Each container mounts only the keys that it needs."""
    data = {"config.json": registry.reveal()}
    if git.password is not None:
        data.update({"username": git.username, "password": git.password.reveal()})
    if git.ssh_private_key is not None:
        data.update(
            {
                "ssh-key": git.ssh_private_key.reveal().rstrip("\n") + "\n",
                "known_hosts": git.known_hosts,
            }
        )
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": labels_of(order.identity)},
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def job(
    order: Order, builder: str, settings: BuildSettings, *, git_keys: Sequence[str] = ()
) -> Object:
    """The Job of one order. `git_keys` are the keys of the Secret that git needs."""
    cluster = settings.cluster
    name = job_name(order.identity, order.image.name, order.number, order.attempt)
    labels = {**labels_of(order.identity), "kubestorm.io/image": order.image.name}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": cluster.namespace,
            "labels": labels,
            "annotations": {
                "kubestorm.io/commit": order.commit,
                "kubestorm.io/build-number": str(order.number),
                "kubestorm.io/image-build": f"{order.identity.namespace}/{order.identity.name}",
            },
        },
        "spec": {
            "backoffLimit": 0,  # the pack retries, by the reason
            "activeDeadlineSeconds": order.timeout_seconds,
            "ttlSecondsAfterFinished": cluster.keep_seconds,
            "template": {
                "metadata": {"labels": labels, **_annotations(builder)},
                "spec": _pod(order, builder, settings, name, git_keys),
            },
        },
    }


def _annotations(builder: str) -> Object:
    """For Kubernetes before 1.30: AppArmor must not stop a user namespace's mounts."""
    if builder == KANIKO:
        return {}
    return {"annotations": {"container.apparmor.security.beta.kubernetes.io/build": "unconfined"}}


def _pod(
    order: Order, builder: str, settings: BuildSettings, name: str, git_keys: Sequence[str]
) -> Object:
    cluster = settings.cluster
    items = [{"key": key, "path": key} for key in git_keys]
    volumes: List[Object] = [
        {"name": "workspace", "emptyDir": {"sizeLimit": cluster.resources.disk_limit}},
        {"name": "scratch", "emptyDir": {"sizeLimit": cluster.resources.disk_limit}},
        {"name": "tmp", "emptyDir": {}},
        {
            "name": "registry",
            "secret": _items(name, [{"key": "config.json", "path": "config.json"}]),
        },
    ]
    if items:
        volumes.append({"name": "git", "secret": _items(name, items)})
    pod: Object = {
        "restartPolicy": "Never",
        "serviceAccountName": cluster.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"fsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [_fetch(order, settings, bool(items))],
        "containers": [_BUILDERS[builder](order, settings)],
        "volumes": volumes,
    }
    if cluster.node_selector:
        pod["nodeSelector"] = dict(cluster.node_selector)
    if cluster.image_pull_secret:
        pod["imagePullSecrets"] = [{"name": cluster.image_pull_secret}]
    return pod


def _items(name: str, items: Sequence[Mapping[str, str]]) -> Object:
    return {"secretName": name, "defaultMode": 0o440, "items": [dict(item) for item in items]}


def _fetch(order: Order, settings: BuildSettings, private: bool) -> Object:
    """The init container that unpacks the context."""
    source = order.source
    ref = f"refs/heads/{source.branch}" if source.branch else "HEAD"
    if source.revision:
        ref = source.revision if is_commit(source.revision) else f"refs/tags/{source.revision}"
    values = {
        "SOURCE_URL": source.address.url,
        "SOURCE_COMMIT": order.commit,
        "SOURCE_REF": ref,
        "SOURCE_CONTEXT": "" if order.image.context == "." else order.image.context,
        "GIT_ALLOW_PROTOCOL": source.address.protocol,
    }
    if order.image.dockerfile_text:
        # Kubernetes expands $(NAME) and $$ in values.
        values["DOCKERFILE_TEXT"] = order.image.dockerfile_text.replace("$", "$$")
    mounts = [{"name": "workspace", "mountPath": WORKSPACE}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    if private:
        mounts.append({"name": "git", "mountPath": GIT_SECRETS, "readOnly": True})  # type: ignore
    return {
        "name": "source",
        "image": settings.cluster.git_image,
        "command": ["sh", "-c", FETCH],
        "env": _env(values),
        "securityContext": {
            "runAsUser": USER,
            "runAsGroup": USER,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _container(
    settings: BuildSettings,
    image: str,
    *,
    command: Sequence[str],
    args: Sequence[str] = (),
    **more: Any,
) -> Object:
    resources = settings.cluster.resources
    limits = {"memory": resources.memory_limit}
    if resources.cpu_limit:
        limits["cpu"] = resources.cpu_limit
    return {
        "name": "build",
        "image": image,
        "command": list(command),
        "args": list(args),
        "resources": {
            "requests": {"cpu": resources.cpu_request, "memory": resources.memory_request},
            "limits": limits,
        },
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **more,
    }


def _rootless() -> Object:
    """A user other than root who may create user namespaces, which needs set-uid helpers and an
    unconfined seccomp profile.
    """
    return {
        "runAsUser": USER,
        "runAsGroup": USER,
        "runAsNonRoot": True,
        "privileged": False,
        "seccompProfile": {"type": "Unconfined"},
    }


def _mounts(config: str, scratch: str) -> List[Object]:
    return [
        {"name": "workspace", "mountPath": WORKSPACE, "readOnly": True},
        {"name": "registry", "mountPath": config, "readOnly": True},
        {"name": "scratch", "mountPath": scratch},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
    ]


def _buildkit(order: Order, settings: BuildSettings) -> Object:
    image = order.image
    insecure = _is_insecure(order, settings)
    args = ["build", "--progress", "plain", "--frontend", "dockerfile.v0"]
    args += ["--local", f"context={WORKSPACE}", "--local", f"dockerfile={WORKSPACE}"]
    args += ["--opt", f"filename={order.dockerfile}"]
    for key, value in image.build_args.items():
        args += ["--opt", f"build-arg:{key}={value}"]
    for key, value in sorted(order.labels.items()):
        args += ["--opt", f"label:{key}={value}"]
    if image.target:
        args += ["--opt", f"target={image.target}"]
    if image.platforms:
        args += ["--opt", f"platform={','.join(image.platforms)}"]
    names = ",".join(order.references)
    args += [
        "--output",
        f'type=image,"name={names}",push=true' + (",registry.insecure=true" if insecure else ""),
    ]
    if image.cache:
        args += ["--export-cache", f"type=registry,ref={image.cache},mode=max"]
        args += ["--import-cache", f"type=registry,ref={image.cache}"]
    return _container(
        settings,
        settings.cluster.buildkit_image,
        command=["sh", "-c", BUILDKIT_SCRIPT, "build"],
        args=args,
        env=_env(
            {
                "BUILDKITD_FLAGS": "--oci-worker-no-process-sandbox",
                "DOCKER_CONFIG": REGISTRY_SECRETS,
            }
        ),
        securityContext=_rootless(),
        volumeMounts=_mounts(REGISTRY_SECRETS, "/home/user/.local/share/buildkit"),
    )


def _buildah(order: Order, settings: BuildSettings) -> Object:
    return _container(
        settings,
        settings.cluster.buildah_image,
        command=["sh", "-c", buildah_script(order, settings)],
        env=_env(
            {
                "BUILDAH_ISOLATION": "chroot",
                "STORAGE_DRIVER": "vfs",
                "REGISTRY_AUTH_FILE": f"{REGISTRY_SECRETS}/config.json",
            }
        ),
        securityContext=_rootless(),
        volumeMounts=_mounts(REGISTRY_SECRETS, "/home/build/.local/share/containers"),
    )


def buildah_script(order: Order, settings: BuildSettings) -> str:
    """Build, test and push; every argument is quoted for the shell."""
    image = order.image
    tls = ["--tls-verify=false"] if _is_insecure(order, settings) else []
    several = len(image.platforms) > 1
    build = ["buildah", "build", "--format", "oci", *tls, *buildah_options(order, WORKSPACE)]
    build += ["localhost/built", "--", WORKSPACE]
    lines = ["set -eu", shlex.join(build)]
    if image.test_command:
        start = ["buildah", "from", "--pull-never", "--name", "test", "--", "localhost/built"]
        lines.append(shlex.join(start))
        test = ["timeout", str(image.test_timeout_seconds), "buildah", "unshare", "--"]
        test += ["unshare", "--net", "--"]
        lines.append(shlex.join([*test, "buildah", "run", "--", "test", *image.test_command]))
    for reference in order.references:
        verb = ["manifest", "push", "--all"] if several else ["push"]
        push = [
            "buildah",
            *verb,
            "--digestfile=/tmp/digest",
            *tls,
            "--",
            "localhost/built",
            f"docker://{reference}",
        ]
        lines.append(shlex.join(push))
    lines.append(f"cat /tmp/digest > {TERMINATION_LOG}")
    return "\n".join(lines) + "\n"


def _kaniko(order: Order, settings: BuildSettings) -> Object:
    image = order.image
    args = [f"--context=dir://{WORKSPACE}", f"--dockerfile={WORKSPACE}/{order.dockerfile}"]
    args += [f"--destination={reference}" for reference in order.references]
    args += [f"--digest-file={TERMINATION_LOG}", "--log-timestamp=false"]
    args += [f"--build-arg={key}={value}" for key, value in image.build_args.items()]
    args += [f"--label={key}={value}" for key, value in sorted(order.labels.items())]
    args += [f"--target={image.target}"] if image.target else []
    args += [f"--custom-platform={image.platforms[0]}"] if image.platforms else []
    args += ["--cache=true", f"--cache-repo={image.cache}"] if image.cache else []
    if _is_insecure(order, settings):
        args += [f"--insecure-registry={image.registry}"]
    return _container(
        settings,
        settings.cluster.kaniko_image,
        command=["/kaniko/executor"],
        args=args,
        env=_env({"DOCKER_CONFIG": REGISTRY_SECRETS}),
        # kaniko unpacks the image over its own root, so it is root there, with no capability more
        # than any container.
        securityContext={"runAsUser": 0, "privileged": False, "allowPrivilegeEscalation": False},
        volumeMounts=_mounts(REGISTRY_SECRETS, "/kaniko/scratch"),
    )


_BUILDERS = {BUILDKIT: _buildkit, BUILDAH: _buildah, KANIKO: _kaniko}


def _is_insecure(order: Order, settings: BuildSettings) -> bool:
    registry: Optional[Any] = settings.registry(order.image.registry)
    return bool(registry and registry.insecure_http)


def _env(values: Mapping[str, str]) -> List[Dict[str, str]]:
    return [{"name": key, "value": value} for key, value in values.items()]
